package salesforce_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

func TestResultFiles(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"successfulResults": "\"sf__Id\",\"sf__Created\",Key__c,LastName\n\"0035g00000AbCdE\",\"true\",\"k1\",\"x\"\n\"0035g00000AbCdFAAV\",\"false\",\"k2\",\"a\"\"b\nc\"\n",
		"failedResults": "\"sf__Id\",\"sf__Error\",LastName,Key__c\n" +
			"\"\",\"INVALID_FIELD:Failed to deserialize field at col 3. Due to, '2003-04-98' is not a valid value for the type xsd:date:CloseDate --\",\"x\",\"k3\"\n" +
			"\"0035g00000AbCdGAAV\",\"UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 2 records: 001A,001B:--\",\"y\",\"k4\"\n",
		"unprocessedrecords": "Key__c,LastName\nk5,z\n",
	}
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		replyCSV(w, "", "", files[q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:]])
	})
	var got []salesforce.ResultRow
	collect := func(row *salesforce.ResultRow) error {
		c := *row
		c.Values = append([]string(nil), row.Values...)
		got = append(got, c)
		return nil
	}
	for i, read := range []func(context.Context, string, []string, func(*salesforce.ResultRow) error) (int64, error){r.SuccessfulResults, r.FailedResults, r.UnprocessedRecords} {
		if n, err := read(t.Context(), jobID, []string{"key__c"}, collect); err != nil || n != []int64{2, 2, 1}[i] {
			t.Errorf("file %d: %d rows, %v", i, n, err)
		}
	}
	want := []salesforce.ResultRow{
		{RowResult: salesforce.RowResult{ID: idOne, Success: true, Created: true}, Values: []string{"k1"}},
		{RowResult: salesforce.RowResult{ID: idTwo, Success: true}, Values: []string{"k2"}},
		{RowResult: salesforce.RowResult{RowError: salesforce.RowError{
			Code: "INVALID_FIELD", Fields: []string{"CloseDate"}, Action: salesforce.ActionRow,
			Message: "Failed to deserialize field at col 3. Due to, '2003-04-98' is not a valid value for the type xsd:date",
		}}, Values: []string{"k3"}},
		{RowResult: salesforce.RowResult{ID: "0035g00000AbCdGAAV", RowError: salesforce.RowError{
			Code: "UNABLE_TO_LOCK_ROW", Action: salesforce.ActionRetryRow,
			Message: "unable to obtain exclusive access to this record or 2 records: 001A,001B",
		}}, Values: []string{"k4"}},
		{Values: []string{"k5"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestResultFilesInPages: a file that names a next page is read to its end.
func TestResultFilesInPages(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Query().Get("locator") {
		case "":
			replyCSV(w, "MQ", "1", "\"sf__Id\",\"sf__Created\",Key__c\n\""+idOne+"\",\"true\",\"a\"\n")
		case "MQ":
			replyCSV(w, "null", "1", "\"sf__Id\",\"sf__Created\",Key__c\n\""+idTwo+"\",\"true\",\"b\"\n")
		}
	})
	var got []string
	n, err := r.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, func(row *salesforce.ResultRow) error {
		got = append(got, row.Values[0])
		return nil
	})
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" || n != 2 || err != nil {
		t.Errorf("%d rows, %v (-want +got):\n%s", n, err, diff)
	}
	endless := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		replyCSV(w, "MQ", "1", "\"sf__Id\",\"sf__Created\",Key__c\n\""+idOne+"\",\"true\",\"a\"\n")
	})
	if _, err := endless.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, func(*salesforce.ResultRow) error { return nil }); !errors.Is(err, salesforce.ErrMalformed) {
		t.Errorf("error %v, want ErrMalformed", err)
	}
}

func TestParseRowError(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]salesforce.RowError{
		"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --": {Code: "REQUIRED_FIELD_MISSING", Message: "Required fields are missing: [LastName]", Fields: []string{"LastName"}, Action: salesforce.ActionRow},
		"INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--":                  {Code: "INVALID_CROSS_REFERENCE_KEY", Message: "invalid cross reference id", Action: salesforce.ActionRow},
		"INVALID_FIELD:Foreign key external ID: a-1 not found for field Ext__c in entity Account --": {
			Code:    "INVALID_FIELD",
			Message: "Foreign key external ID: a-1 not found for field Ext__c in entity Account", Action: salesforce.ActionRow,
		},
		"DUPLICATE_VALUE:duplicate value found: Ext__c duplicates value on record with id: 0035g00000AbCdE:--": {
			Code:    "DUPLICATE_VALUE",
			Message: "duplicate value found: Ext__c duplicates value on record with id: 0035g00000AbCdE", Action: salesforce.ActionRow,
		},
		"DUPLICATE_EXTERNAL_ID:Key: more than one record found for external id field: [003A, 003B]:--": {
			Code:    "DUPLICATE_EXTERNAL_ID",
			Message: "Key: more than one record found for external id field: [003A, 003B]", Action: salesforce.ActionRow,
		},
		"MISSING_ARGUMENT:Ext__c not specified:--":    {Code: "MISSING_ARGUMENT", Message: "Ext__c not specified", Action: salesforce.ActionRow},
		"FIELD_INTEGRITY_EXCEPTION:bad:City,State --": {Code: "FIELD_INTEGRITY_EXCEPTION", Message: "bad", Fields: []string{"City", "State"}, Action: salesforce.ActionRow},
		"a text without code":                         {Code: salesforce.CodeNone, Message: "a text without code", Action: salesforce.ActionRow},
		"":                                            {Code: salesforce.CodeNone, Action: salesforce.ActionRow},
		"--":                                          {Code: salesforce.CodeNone, Action: salesforce.ActionRow},
	} {
		if diff := cmp.Diff(want, salesforce.ParseRowError(in)); diff != "" {
			t.Errorf("ParseRowError(%q) (-want +got):\n%s", in, diff)
		}
	}
}

func TestResultFilesFailClosed(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"no key column":   "\"sf__Id\",\"sf__Created\",LastName\n",
		"no sf__ column":  "Key__c\nk\n",
		"ragged row":      "\"sf__Id\",\"sf__Created\",Key__c\n\"0035g00000AbCdE\",\"true\"\n",
		"open quote":      "\"sf__Id\",\"sf__Created\",Key__c\n\"0035g00000AbCdE\",\"true\",\"k\n",
		"no record id":    "\"sf__Id\",\"sf__Created\",Key__c\n\"\",\"true\",\"k\"\n",
		"neither created": "\"sf__Id\",\"sf__Created\",Key__c\n\"0035g00000AbCdE\",\"maybe\",\"k\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, "", "", file) })
			_, err := r.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, func(*salesforce.ResultRow) error { return nil })
			if !errors.Is(err, salesforce.ErrMalformed) {
				t.Errorf("error %v, want ErrMalformed", err)
			}
		})
	}
	for name, file := range map[string]string{"header only": "\"sf__Id\",\"sf__Created\",Key__c\n", "nothing": ""} {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, "", "", file) })
		if n, err := r.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, nil); n != 0 || err != nil {
			t.Errorf("%s: %d rows, %v; want none", name, n, err)
		}
	}
}

func TestBulkQuery(t *testing.T) {
	t.Parallel()
	header := "\"Id\",\"Account.Name\",\"DoNotCall\",\"SystemModstamp\"\n"
	pages := map[string]string{
		"":        header + "\"0035g00000AbCdE\",\"\",\"true\",\"2026-11-21T19:25:27.000Z\"\n\"0035g00000AbCdFAAV\",\"A\x00cme\",\"false\",\"2026-11-21T19:25:27.000Z\"\n",
		"MTAwMDA": header + "\"0035g00000AbCdGAAV\",\"x\",\"false\",\"2026-11-21T19:25:28.000Z\"\n",
	}
	var broken atomic.Bool
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			b, err := io.ReadAll(q.Body)
			if want := `{"columnDelimiter":"COMMA","contentType":"CSV","lineEnding":"LF","operation":"queryAll","query":"SELECT \u003c"}`; err != nil || string(b) != want {
				t.Errorf("body %s, want %s", b, want)
			}
			reply(w, 200, job("UploadComplete", ""))
			return
		}
		l := q.URL.Query().Get("locator")
		page := pages[l]
		if q.URL.Query().Get("maxRecords") != "2" {
			t.Errorf("query %q", q.URL.RawQuery)
		}
		if l == "" && broken.CompareAndSwap(false, true) { // the first copy breaks off in the second row
			w.Header().Set("Content-Length", fmt.Sprint(len(page)))
			replyCSV(w, "MTAwMDA", "2", page[:len(page)-30])
			breakOff(w)
		}
		next := map[string]string{"": "MTAwMDA", "MTAwMDA": "null"}[l]
		replyCSV(w, next, fmt.Sprint(strings.Count(page, "\n")-1), page)
	})
	if _, err := r.CreateQueryJob(t.Context(), "SELECT <", true); err != nil {
		t.Fatal(err)
	}
	columns := []salesforce.Column{{Name: "SystemModstamp", Type: salesforce.TypeDateTime}, {Name: "id", Type: salesforce.TypeID}, {Name: "Account.Name"}, {Name: "DoNotCall", Type: salesforce.TypeBoolean}}
	var got [][]string
	n, err := r.QueryResults(t.Context(), jobID, columns, 2, rows(&got))
	if err != nil || n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
	want := [][]string{
		{"2026-11-21T19:25:27.000Z", idOne, "<null>", "true"},
		{"2026-11-21T19:25:27.000Z", idTwo, "Acme", "false"},
		{"2026-11-21T19:25:28.000Z", "0035g00000AbCdGAAV", "x", "false"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestBulkQueryFailsClosed(t *testing.T) {
	t.Parallel()
	page := "\"Id\"\n\"a\"\n"
	for name, c := range map[string]struct {
		locator, rows, body string
		want                string
	}{
		"no locator":    {"", "1", page, "without Sforce-Locator"},
		"same locator":  {"x", "1", page, "links to itself"},
		"fewer rows":    {"null", "2", page, "1 rows arrived"},
		"more rows":     {"null", "0", page, "1 rows arrived"},
		"count no text": {"null", "many", page, "1 rows arrived"},
		"other column":  {"null", "1", "\"Name\"\n\"a\"\n", "no column Id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, c.locator, c.rows, c.body) })
			_, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Id"), 0, func(*salesforce.Record) error { return nil })
			if !errors.Is(err, salesforce.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, "", "", "\"Id\"\n") })
	if n, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Id"), 0, nil); n != 0 || err != nil {
		t.Errorf("no rows and no locator: %d, %v; want the end", n, err)
	}
}

// TestRepliesAreBounded feeds values and files that would fill the memory of a reader that trusts them.
func TestRepliesAreBounded(t *testing.T) {
	t.Parallel()
	endless := func(kind string, start string, zip bool) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", kind)
			var out io.Writer = w
			if zip {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				defer func() { _ = z.Close() }()
				out = z
			}
			_, err := io.WriteString(out, start)
			for block := bytes.Repeat([]byte("a"), 1<<20); err == nil && q.Context().Err() == nil; {
				_, err = out.Write(block)
			}
		}
	}
	csvRead := func(r *rig) error {
		_, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Id"), 0, func(*salesforce.Record) error { return nil })
		return err
	}
	query := func(r *rig) error {
		return r.Query(t.Context(), "SELECT x", salesforce.Columns("Id"), func(*salesforce.Record) error { return nil })
	}
	describe := func(r *rig) error {
		_, _, err := r.Describe(t.Context(), "Contact", time.Time{})
		return err
	}
	limits := func(r *rig) error { return read(t.Context(), r) }
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		call func(*rig) error
	}{
		"CSV value":           {endless("text/csv", "\"Id\"\n\"", false), csvRead},
		"CSV value, packed":   {endless("text/csv", "\"Id\"\n\"", true), csvRead},
		"CSV header":          {endless("text/csv", "", true), csvRead},
		"JSON value":          {endless("application/json", `{"totalSize":1,"done":true,"records":[{"Id":"`, true), query},
		"JSON key":            {endless("application/json", `{"`, true), query},
		"a field of describe": {endless("application/json", `{"name":"Contact","fields":[{"name":"`, true), describe},
		"small JSON":          {endless("application/json", `{"x":{"Max":"`, true), limits},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.h)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := c.call(r)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, salesforce.ErrTooLarge) {
				t.Errorf("error %v, want ErrTooLarge", err)
			}
			if grown := int64(after.Sys) - int64(before.Sys); grown > 128<<20 {
				t.Errorf("the process grew by %d MiB", grown>>20)
			}
		})
	}
}

// TestBigResultsStream reads many rows with little memory.
func TestBigResultsStream(t *testing.T) {
	const n = 200_000
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sforce-NumberOfRecords", fmt.Sprint(n))
		replyCSV(w, "null", "", "\"Id\",\"Email\"\n")
		var b []byte
		for i := range n {
			b = fmt.Appendf(b[:0], "\"0035g0000%06dAAA\",\"person%d@example.com\"\n", i, i)
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}, func(o *salesforce.Options) { o.NoCompression = true })
	var peak uint64
	var m runtime.MemStats
	rows := 0
	got, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Email", "Id"), 0, func(*salesforce.Record) error {
		if rows++; rows%20_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		return nil
	})
	if err != nil || got != n {
		t.Fatalf("%d rows, %v", got, err)
	}
	if peak > 64<<20 {
		t.Errorf("%d MiB in use, the file has 9", peak>>20)
	}
}
