package salesforcetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// sessionExpires: a token that dies between two calls costs one repeat and one new token.
func sessionExpires(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	for i := range 3 {
		if i > 0 {
			org.ExpireSessions()
		}
		got, err := c.CollectionsUpsert(t.Context(), "Contact", Key, people(2))
		if err != nil || !got[0].Success {
			t.Fatalf("call %d: %v, %v", i, got, err)
		}
	}
	if n := c.Tokens.Fetched(); n != 3 {
		t.Errorf("%d tokens, want 3", n)
	}
	if n := org.EffectCount(); n > 6 {
		t.Errorf("%d effects of 6 rows", n)
	}
	id := open(t, c, "Contact")
	org.ExpireSessions()
	rows := upload(1, func(i int) []salesforce.Cell { return []salesforce.Cell{set(key(i)), set("x")} }, Key, "LastName")
	if err := c.UploadCSV(t.Context(), id, rows); salesforce.ActionOf(err) != salesforce.ActionRefresh {
		t.Fatalf("upload with a dead token: %v, want ActionRefresh and no repeat", err)
	}
	if err := c.UploadCSV(t.Context(), id, rows); err != nil {
		t.Fatalf("second upload, with the new token: %v", err)
	}
	org.ExpireSessions()
	if _, err := c.CloseJob(t.Context(), id); salesforce.ActionOf(err) != salesforce.ActionRefresh {
		t.Fatalf("close with a dead token: %v, want ActionRefresh and no repeat", err)
	}
	if _, err := c.CloseJob(t.Context(), id); err != nil {
		t.Fatalf("second close, with the new token: %v", err)
	}
}

func limits(t *testing.T, start Start) {
	org := start(t, simulator.Options{DailyLimit: 100})
	c := Connect(t, org)
	org.Faults().MustAdd(fault.Rule{Kind: fault.Concurrent, Path: "/composite/*", Count: 2})
	if got, err := c.CollectionsUpsert(t.Context(), "Contact", Key, people(1)); err != nil || !got[0].Success {
		t.Errorf("too many long calls: %v, %v; want a repeat", got, err)
	}
	if n := org.EffectCount(); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
	c.Calls()
	org.SetAPIUsed(100)
	_, err := c.CollectionsUpsert(t.Context(), "Contact", Key, people(1))
	if salesforce.ActionOf(err) != salesforce.ActionStopUntilWindow {
		t.Errorf("the allocation is used up: %v, want ActionStopUntilWindow", err)
	}
	if calls := c.Calls(); len(calls) != 1 {
		t.Errorf("%d calls against a used-up allocation, want 1", len(calls))
	}
	if a := c.Allocation(); a.Used < 100 || a.Max != 100 {
		t.Errorf("allocation %+v", a)
	}
}

// lostAnswers: a write whose answer is lost, with its effect or without, is reported as unknown and never
// repeated, so that each row is applied once at most.
func lostAnswers(t *testing.T, start Start) {
	for i, rule := range []fault.Rule{
		{Kind: fault.ResetAfter},
		{Kind: fault.ResetBefore},
		{Kind: fault.Truncate},
		{Kind: fault.HTML},
		{Kind: fault.HTML, Status: 503},
		{Kind: fault.Error},
		{Kind: fault.Empty},
		{Kind: fault.HangAfter},
		{Kind: fault.HangBefore},
		{Kind: fault.Late},
	} {
		t.Run(fmt.Sprint(i, " ", rule.Kind), func(t *testing.T) {
			t.Parallel()
			org := start(t, simulator.Options{})
			c := Connect(t, org, func(o *salesforce.Options) { o.WriteTimeout = 2 * time.Second })
			if _, err := c.Limits(t.Context()); err != nil { // the token, and a connection to reuse
				t.Fatal(err)
			}
			c.Calls()
			rule.Method, rule.Path, rule.Count = http.MethodPatch, "/composite/sobjects/Contact/*", 1
			org.Faults().MustAdd(rule)
			_, err := c.CollectionsUpsert(t.Context(), "Contact", Key, people(200))
			if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); !unknown {
				t.Errorf("%v, want an unknown outcome", err)
			}
			if calls := c.Calls(); len(calls) != 1 {
				t.Errorf("%d calls, want 1", len(calls))
			}
			if fired := org.Faults().Fired(); len(fired) != 1 {
				t.Errorf("faults %v, want one", fired)
			}
			if n := org.EffectCount(); n > 200 { // what applies late may still be on its way
				t.Errorf("%d effects of 200 rows", n)
			}
			if n := org.Counters().Routes["PATCH /composite/sobjects/Contact/"+Key]; n != 1 {
				t.Errorf("the org saw %d requests, want 1", n)
			}
		})
	}
}

// lostClose: the fenced call under a short deadline. Whatever was lost, the job says what happened.
func lostClose(t *testing.T, start Start) {
	for _, kind := range []fault.Kind{fault.ResetAfter, fault.ResetBefore, fault.HangAfter, fault.HangBefore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			org := start(t, simulator.Options{})
			c := Connect(t, org)
			id := open(t, c, "Contact")
			if err := c.UploadCSV(t.Context(), id, upload(100, func(i int) []salesforce.Cell { return []salesforce.Cell{set(key(i)), set("x")} }, Key, "LastName")); err != nil {
				t.Fatal(err)
			}
			org.Faults().MustAdd(fault.Rule{Kind: kind, Method: http.MethodPatch, Path: "/jobs/ingest/*", Count: 1})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := c.CloseJob(ctx, id)
			if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); !unknown {
				t.Fatalf("%v, want an unknown outcome", err)
			}
			j, err := c.JobInfo(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if applied := kind == fault.ResetAfter || kind == fault.HangAfter; applied == (j.State == salesforce.JobOpen) {
				t.Errorf("job %+v after %s", j, kind)
			}
			if j.State == salesforce.JobOpen {
				if j, err = c.CloseJob(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			if j, err = finish(t.Context(), c.JobInfo, id, 100); err != nil || j.Processed != 100 || org.EffectCount() != 100 {
				t.Errorf("job %+v, %d effects, %v", j, org.EffectCount(), err)
			}
		})
	}
}

// brokenDownloads: result files and query pages that break off are resumed, each row arrives once.
func brokenDownloads(t *testing.T, start Start) {
	org := start(t, simulator.Options{SeedRecords: map[string]int{"Contact": 5000}})
	c := Connect(t, org)
	j, err := c.CreateQueryJob(t.Context(), "SELECT Id FROM Contact", false)
	if err != nil {
		t.Fatal(err)
	}
	if j, err = finish(t.Context(), c.QueryJobInfo, j.ID, 5000); err != nil {
		t.Fatal(err)
	}
	org.Faults().MustAdd(
		fault.Rule{Kind: fault.Truncate, Path: "/jobs/query/*/results", Count: 2},
		fault.Rule{Kind: fault.HTML, Path: "/jobs/query/*/results", After: 2, Count: 1, Status: 200},
		fault.Rule{Kind: fault.Truncate, Path: "/query*", Count: 2},
		fault.Rule{Kind: fault.ResetBefore, Path: "/query*", After: 2, Count: 1})
	for name, read := range map[string]func(func(*salesforce.Record) error) error{
		"Bulk": func(fn func(*salesforce.Record) error) error {
			_, err := c.QueryResults(t.Context(), j.ID, salesforce.Columns("Id"), 2000, fn)
			return err
		},
		"REST": func(fn func(*salesforce.Record) error) error {
			return c.Query(t.Context(), "SELECT Id FROM Contact ORDER BY Id", salesforce.Columns("Id"), fn)
		},
	} {
		seen := make(map[string]int)
		if err := read(func(r *salesforce.Record) error { seen[r.Values[0]]++; return nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(seen) != 5000 {
			t.Errorf("%s: %d records, want 5000", name, len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				t.Fatalf("%s: %s arrived %d times", name, id, n)
			}
		}
	}
	if n := len(org.Faults().Fired()); n != 6 {
		t.Errorf("%d faults fired, want 6", n)
	}
}

func expiredCursor(t *testing.T, start Start) {
	org := start(t, simulator.Options{SeedRecords: map[string]int{"Contact": 5000}})
	c := Connect(t, org)
	org.Faults().MustAdd(fault.Rule{Kind: fault.ExpiredLocator, After: 1, Count: 1})
	n := 0
	read := func() error {
		n = 0
		return c.Query(t.Context(), "SELECT Id FROM Contact", salesforce.Columns("Id"), func(*salesforce.Record) error { n++; return nil })
	}
	if err := read(); salesforce.ActionOf(err) != salesforce.ActionRestartQuery || n != 4000 {
		t.Errorf("%v after %d rows, want ActionRestartQuery after 4000", err, n)
	}
	if err := read(); err != nil || n != 5000 {
		t.Errorf("started again: %d rows, %v", n, err)
	}
}

// troubledReads: whatever goes wrong with a read, it is asked for again.
func troubledReads(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org, func(o *salesforce.Options) { o.HeaderTimeout = 300 * time.Millisecond })
	for _, rule := range []fault.Rule{
		{Kind: fault.Error},
		{Kind: fault.Error, Status: 500, Code: "UNKNOWN_EXCEPTION"},
		{Kind: fault.HTML},
		{Kind: fault.HTML, Status: 420},
		{Kind: fault.HTML, Status: 502},
		{Kind: fault.Empty},
		{Kind: fault.ResetBefore},
		{Kind: fault.ResetAfter},
		{Kind: fault.Truncate},
		{Kind: fault.HangBefore},
		{Kind: fault.Session},
		{Kind: fault.Concurrent},
		{Kind: fault.Trickle, Bytes: 200, Delay: fault.Duration(time.Millisecond)},
	} {
		org.Faults().Clear()
		rule.Path, rule.Count = "/limits", 2
		if rule.Kind == fault.Session {
			rule.Count = 1
		}
		org.Faults().MustAdd(rule)
		if all, err := c.Limits(t.Context()); err != nil || all["DailyApiRequests"].Max == 0 {
			t.Errorf("%s %d: %v", rule.Kind, rule.Status, err)
		}
	}
}
