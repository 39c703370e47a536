package salesforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Query runs a SOQL query by REST, one API call for each page of at most 2,000 rows, and hands each row to
// fn in the order of columns. A reply that breaks off is asked for again and resumed at the row where it
// stopped; a first page whose second copy differs ends with ErrReplyChanged. An expired cursor is an
// *Error with ActionRestartQuery. A query that delivers another number of rows than it announced ends
// with an *IncompleteError. An error of fn ends the query and is returned as it is.
func (c *Client) Query(ctx context.Context, soql string, columns []Column, fn func(*Record) error) error {
	return c.query(ctx, "query", soql, columns, fn)
}

// QueryAll is Query over deleted and archived records too.
func (c *Client) QueryAll(ctx context.Context, soql string, columns []Column, fn func(*Record) error) error {
	return c.query(ctx, "queryAll", soql, columns, fn)
}

// page is the envelope of one page.
type page struct {
	total int64
	done  bool
	next  string
}

func (c *Client) query(ctx context.Context, resource, soql string, columns []Column, fn func(*Record) error) error {
	root, err := newTree(columns)
	if err != nil {
		return err
	}
	r := &request{
		op: resource, path: resource, query: url.Values{"q": {soql}},
		header: map[string]string{"Sforce-Query-Options": "batchSize=2000"},
	}
	var got int64
	rec := newRecord(len(columns))
	for {
		p, n, err := c.page(ctx, r, &rowDecoder{columns: columns, root: root, rec: rec}, fn)
		if err != nil {
			return err
		}
		got += n
		switch {
		case p.done || p.next == "":
			if !p.done {
				return fmt.Errorf("salesforce: %s: %w", resource, malformed("a page is not the last and has no link to the next"))
			}
			if got != p.total {
				return &IncompleteError{Want: p.total, Got: got}
			}
			return nil
		case p.next == r.link:
			return fmt.Errorf("salesforce: %s: %w", resource, malformed("a page links to itself"))
		}
		r = &request{op: resource + ".more", link: p.next, header: r.header}
	}
}

func (c *Client) page(ctx context.Context, r *request, d *rowDecoder, fn func(*Record) error) (page, int64, error) {
	var p page
	rows := newReplay(fn)
	var failure error
	err := c.readJSON(ctx, r, func(j *jsonReader) error {
		rows.start()
		p = page{total: -1}
		d.j = j
		err := j.object(func(key string) (err error) {
			switch key {
			case "totalSize":
				p.total, err = j.int64()
			case "done":
				p.done, err = j.bool()
			case "nextRecordsUrl":
				p.next, err = j.text()
			case "records":
				err = j.array(func() error {
					if err := j.delim('{'); err != nil {
						return err
					}
					if err := d.record(); err != nil {
						return err
					}
					return rows.row(d.rec)
				})
			default:
				err = j.skip()
			}
			return err
		})
		if rows.failed {
			failure = err
			return errStopped
		}
		if err == nil {
			err = rows.end()
		}
		if err == nil && p.total < 0 {
			err = malformed("no totalSize")
		}
		return err
	})
	if failure != nil {
		return p, rows.delivered, failure
	}
	return p, rows.delivered, err
}

// errStopped ends the reading of a reply because the caller's function returned an error.
var errStopped = errors.New("stopped by the caller")

// Count returns the number of rows of "SELECT COUNT() FROM " + from, for example "Contact WHERE Email != null".
func (c *Client) Count(ctx context.Context, from string) (int64, error) {
	var total int64 = -1
	r := &request{op: "count", path: "query", query: url.Values{"q": {"SELECT COUNT() FROM " + from}}}
	err := c.readJSON(ctx, r, func(j *jsonReader) error {
		return j.object(func(key string) (err error) {
			if key == "totalSize" {
				total, err = j.int64()
				return err
			}
			return j.skip()
		})
	})
	if err != nil {
		return 0, err
	}
	if total < 0 {
		return 0, fmt.Errorf("salesforce: count: %w", malformed("no totalSize"))
	}
	return total, nil
}

// Organization describes the org behind a connection.
type Organization struct {
	ID        string // 18 characters
	Name      string
	IsSandbox bool
	Type      string // "Developer Edition", "Enterprise Edition", ...
	Instance  string // "NA139"
	TimeZone  string // IANA name
}

// Organization reads the org's own record.
func (c *Client) Organization(ctx context.Context) (Organization, error) {
	columns := []Column{
		{"Id", TypeID},
		{"Name", ""},
		{"IsSandbox", TypeBoolean},
		{"OrganizationType", ""},
		{"InstanceName", ""},
		{"TimeZoneSidKey", ""},
	}
	soql, err := Select(columns, "Organization", "")
	if err != nil {
		return Organization{}, err
	}
	var o Organization
	err = c.Query(ctx, soql, columns, func(r *Record) error {
		v := r.Values
		o = Organization{ID: v[0], Name: v[1], IsSandbox: v[2] == "true", Type: v[3], Instance: v[4], TimeZone: v[5]}
		return nil
	})
	if err == nil && o.ID == "" {
		err = errors.New("salesforce: the org shows no Organization record to this user")
	}
	return o, err
}

// maxRetrieve is the number of ids that one retrieve call takes.
const maxRetrieve = 2000

// RetrieveByIDs reads records by id, one API call for each 2,000, and calls fn for each id in order. The
// record is nil when there is none or the user may not see it. Ids must have 15 or 18 characters and may
// not repeat.
func (c *Client) RetrieveByIDs(ctx context.Context, object string, ids []string, columns []Column, fn func(id string, r *Record) error) error {
	if err := Identifier(object); err != nil {
		return err
	}
	for len(ids) > 0 {
		n := min(len(ids), maxRetrieve)
		if err := c.retrieve(ctx, object, ids[:n], columns, fn); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (c *Client) retrieve(ctx context.Context, object string, ids []string, columns []Column, fn func(string, *Record) error) error {
	// The id is read with the values: an answer in another order must not be believed.
	all, idAt := columns, -1
	for i, col := range columns {
		if strings.EqualFold(col.Name, "Id") {
			idAt = i
		}
	}
	if idAt < 0 {
		idAt = len(columns)
		all = append(columns[:len(columns):len(columns)], Column{"Id", TypeID})
	}
	body := struct {
		IDs    []string `json:"ids"`
		Fields []string `json:"fields"`
	}{IDs: ids}
	for _, col := range all {
		if err := Identifier(col.Name); err != nil {
			return err
		}
		body.Fields = append(body.Fields, col.Name)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	root, err := newTree(all)
	if err != nil {
		return err
	}
	next := 0 // ids answered
	d := &rowDecoder{columns: all, root: root, rec: newRecord(len(all))}
	r := &request{op: "retrieve", method: http.MethodPost, path: "composite/sobjects/" + object, body: raw}
	var failure error
	err = c.readJSON(ctx, r, func(j *jsonReader) error {
		d.j = j
		at := 0
		err := j.array(func() error {
			if at == len(ids) {
				return malformed("more answers than ids")
			}
			id := ids[at]
			at++
			rec, err := d.optional()
			if err != nil {
				return err
			}
			if rec != nil {
				if !sameID(rec.Values[idAt], id) {
					return malformed("answer %d is about another record", at)
				}
				rec = &Record{Values: rec.Values[:len(columns)], Null: rec.Null[:len(columns)]}
			}
			if at <= next {
				return nil // handed out before the reply broke off
			}
			next = at
			if failure = fn(id, rec); failure != nil {
				return errStopped
			}
			return nil
		})
		if err == nil && at != len(ids) {
			err = malformed("%d answers to %d ids", at, len(ids))
		}
		return err
	})
	if failure != nil {
		return failure
	}
	return err
}

// optional reads a record or null.
func (d *rowDecoder) optional() (*Record, error) {
	t, err := d.j.token()
	if err != nil {
		return nil, err
	}
	switch t {
	case nil:
		return nil, nil
	case json.Delim('{'):
		return d.rec, d.record()
	}
	return nil, malformed("%v where a record was expected", kindOf(t))
}

// sameID compares ids of 15 or 18 characters.
func sameID(a, b string) bool {
	return len(a) >= 15 && len(b) >= 15 && a[:15] == b[:15]
}
