package salesforce

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// ResultRow is one row of a result file. It is used again for the next row; its strings may be kept.
type ResultRow struct {
	RowResult
	// Values are the uploaded values of the columns asked for, as Salesforce writes them back: numbers
	// come as 9.12260031E8. The order of rows is not that of the upload: find a row by its key column.
	Values []string
}

// SuccessfulResults hands out the saved rows of an ingest job that is over, with the values of columns,
// and returns their number. Created or updated stands in Created. One API call, or one for each page
// where the org splits the file.
//
// A file that breaks off is asked for again and resumed at the row where it stopped. An error of fn ends
// it and is returned as it is.
func (c *Client) SuccessfulResults(ctx context.Context, jobID string, columns []string, fn func(*ResultRow) error) (int64, error) {
	return c.results(ctx, "ingest.successful", jobID, "successfulResults", "sf__Created", columns, fn)
}

// FailedResults hands out the refused rows, as SuccessfulResults. Why stands in the RowError.
func (c *Client) FailedResults(ctx context.Context, jobID string, columns []string, fn func(*ResultRow) error) (int64, error) {
	return c.results(ctx, "ingest.failed", jobID, "failedResults", "sf__Error", columns, fn)
}

// UnprocessedRecords hands out the rows that Salesforce did not get to, as SuccessfulResults. Only Values
// are set.
func (c *Client) UnprocessedRecords(ctx context.Context, jobID string, columns []string, fn func(*ResultRow) error) (int64, error) {
	return c.results(ctx, "ingest.unprocessed", jobID, "unprocessedrecords", "", columns, fn)
}

// results reads one of the three files. extra is its second sf__ column; the third file has none.
func (c *Client) results(ctx context.Context, op, jobID, resource, extra string, columns []string, fn func(*ResultRow) error) (int64, error) {
	if err := checkJobID(jobID); err != nil {
		return 0, err
	}
	var own []Column
	if extra != "" {
		own = Columns("sf__Id", extra)
	}
	all := append(own, Columns(columns...)...)
	row := new(ResultRow)
	var total int64
	for locator := ""; ; {
		rows := newReplay(func(r *Record) error {
			*row = ResultRow{Values: r.Values[len(own):]}
			if err := row.interpret(extra, r.Values); err != nil {
				return err
			}
			return fn(row)
		})
		r := &request{op: op, path: ingestJobs + "/" + jobID + "/" + resource, query: pageQuery(locator, 0), accept: "csv"}
		next, err := c.csvRows(ctx, r, all, rows)
		total += rows.delivered
		if err != nil {
			return total, err
		}
		// Salesforce does not document pages here. A file that says that it goes on must not be taken
		// for the whole all the same.
		if next == "" || next == lastLocator {
			return total, nil
		}
		if next == locator {
			return total, fmt.Errorf("salesforce: %s: %w", op, malformed("a page links to itself"))
		}
		locator = next
	}
}

func (r *ResultRow) interpret(extra string, v []string) error {
	if extra == "" {
		return nil
	}
	if v[0] != "" {
		id, err := ID18(v[0])
		if err != nil {
			return malformed("sf__Id is no record id")
		}
		r.ID = id
	}
	if extra == "sf__Error" {
		r.RowError = ParseRowError(v[1])
		return nil
	}
	r.Success = true
	switch {
	case r.ID == "":
		return malformed("a saved row without sf__Id")
	case strings.EqualFold(v[1], "true"):
		r.Created = true
	case !strings.EqualFold(v[1], "false"):
		return malformed("sf__Created is neither true nor false")
	}
	return nil
}

// ParseRowError reads an sf__Error cell: CODE:message:Field1,Field2 --. The message may hold colons and
// the fields may be missing.
func ParseRowError(s string) RowError {
	s = strings.TrimSpace(s)
	s = strings.TrimRight(strings.TrimSuffix(s, "--"), " \n\t\r")
	code, rest, ok := strings.Cut(s, ":")
	if !ok || !isCode(code) {
		return RowError{Code: CodeNone, Message: cut(s), Action: ActionRow}
	}
	var fields []string
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		if list, ok := fieldList(rest[i+1:]); ok {
			rest, fields = rest[:i], list
		}
	}
	message := cut(rest)
	return RowError{Code: code, Message: message, Fields: fields, Action: ClassifyRow(code, message)}
}

func isCode(s string) bool {
	for i := range len(s) {
		b := s[i]
		if (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '_' {
			return false
		}
	}
	return s != ""
}

// fieldList reads what follows the last colon. It is the end of the message, not a list, when it does not
// look like names: "...for the type xsd:date:CloseDate" has a list, "no match: try again" has none.
func fieldList(s string) ([]string, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, true
	}
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if Identifier(part) != nil {
			return nil, false
		}
		out = append(out, part)
	}
	return out, true
}

// csvRows reads a CSV reply into rows, again when it breaks off, and returns the reply's headers by way of
// next, the locator of the following page.
func (c *Client) csvRows(ctx context.Context, r *request, columns []Column, rows *replay) (next string, err error) {
	var failure error
	err = c.read(ctx, r, func(resp *response) error {
		rows.start()
		next = resp.header.Get("Sforce-Locator")
		err := readCSV(resp.body, columns, rows.row)
		if rows.failed {
			failure = err
			return errStopped
		}
		if err == nil {
			err = rows.end()
		}
		if err == nil {
			err = checkCount(resp.header.Get("Sforce-NumberOfRecords"), rows.seen)
		}
		return err
	})
	if failure != nil {
		err = failure
	}
	return next, err
}

// checkCount compares the rows of a page with the number that its header states, where it does.
func checkCount(header string, got int64) error {
	if header == "" {
		return nil
	}
	if want, err := strconv.ParseInt(header, 10, 64); err != nil || want != got {
		return malformed("%d rows arrived, the header says %q", got, cut(header))
	}
	return nil
}

// readCSV reads a header and rows. Columns are found by name, ignoring case; one that is missing is an
// error, others are passed over. A reply without a byte has no rows.
func readCSV(body io.Reader, columns []Column, fn func(*Record) error) error {
	a := &allowance{r: &cleaned{r: body}}
	r := csv.NewReader(a)
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return csvError(err)
	}
	at, err := positions(header, columns)
	if err != nil {
		return err
	}
	rec := newRecord(len(columns))
	for {
		a.done = r.InputOffset()
		cells, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return csvError(err)
		}
		for i := range columns {
			if err := rec.set(i, &columns[i], cells[at[i]]); err != nil {
				return err
			}
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
}

func positions(header []string, columns []Column) ([]int, error) {
	byName := make(map[string]int, len(header))
	for i, name := range header {
		byName[strings.ToLower(name)] = i
	}
	at := make([]int, len(columns))
	for i, c := range columns {
		p, ok := byName[strings.ToLower(c.Name)]
		if !ok {
			return nil, malformed("no column %s in the file", c.Name)
		}
		at[i] = p
	}
	return at, nil
}

// csvError leaves out what the parser quotes. A file that ends inside quotes broke off.
func csvError(err error) error {
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		if errors.Is(p.Err, csv.ErrQuote) && p.StartLine != p.Line {
			return fmt.Errorf("%w: row at line %d: %w", ErrMalformed, p.StartLine, p.Err)
		}
		return fmt.Errorf("%w: line %d: %w", ErrMalformed, p.Line, p.Err)
	}
	return err
}

// cleaned drops NUL bytes, which have been seen in result files, and a byte-order mark at the start.
type cleaned struct {
	r       io.Reader
	started bool
}

var byteOrderMark = []byte{0xef, 0xbb, 0xbf}

func (c *cleaned) Read(b []byte) (int, error) {
	if !c.started && len(b) >= len(byteOrderMark) {
		c.started = true
		n, err := io.ReadFull(c.r, b[:len(byteOrderMark)])
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		if n == len(byteOrderMark) && bytes.Equal(b[:n], byteOrderMark) {
			n = 0
		}
		return dropNUL(b[:n]), err
	}
	n, err := c.r.Read(b)
	return dropNUL(b[:n]), err
}

func dropNUL(b []byte) int {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return len(b)
	}
	n := i
	for _, c := range b[i:] {
		if c != 0 {
			b[n] = c
			n++
		}
	}
	return n
}

// lastLocator is the word that Salesforce sends as the locator when there are no more pages.
const lastLocator = "null"

// pageQuery is the query of a page of a result file.
func pageQuery(locator string, maxRecords int) url.Values {
	q := url.Values{}
	if locator != "" {
		q.Set("locator", locator)
	}
	if maxRecords > 0 {
		q.Set("maxRecords", strconv.Itoa(maxRecords))
	}
	return q
}
