package salesforce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// MaxCollection is the number of rows that one Collections call takes.
const MaxCollection = 200

// CollectionRow is one record to save.
type CollectionRow struct {
	ID     string // of the record to update; empty for an upsert by another key
	Fields []FieldValue
}

// FieldValue is one value to save. Name may be Parent.Key, which sets a lookup by a key of the parent.
type FieldValue struct {
	Name  string
	Value string // canonical
	Null  bool   // clear the field
	Type  FieldType
}

// RowError is why a row was refused.
type RowError struct {
	Code    string // Salesforce's code, NO_CODE when there was none
	Message string // Salesforce's text; several errors joined by "; ". It can quote data
	Fields  []string
	Action  Action
	Others  []string // records that a duplicate rule matched, ten at the most; Collections and Bulk do not say
}

// RowResult is what became of one row.
type RowResult struct {
	ID       string // of the record, when it was saved
	Success  bool
	Created  bool // upsert only. A repeated upsert finds its own record: trust the plan, not this
	RowError      // when not Success
}

// CollectionsUpdate updates up to 200 records of one object by id, each on its own. One API call. The
// results are in the order of rows.
//
// When the answer is lost or does not fit the rows the error is an *UnknownOutcomeError and no row may be
// taken as saved or not. An *Error means that no row was saved.
func (c *Client) CollectionsUpdate(ctx context.Context, object string, rows []CollectionRow) ([]RowResult, error) {
	for i := range rows {
		if rows[i].ID == "" {
			return nil, fmt.Errorf("salesforce: update of %s: row %d has no record id", object, i)
		}
	}
	return c.collection(ctx, "collections.update", object, "", rows)
}

// CollectionsUpsert creates or updates up to 200 records of one object by keyField: an external id, an
// idLookup field such as Email, or Id. Each row must hold the key and no key may repeat, ignoring case.
// Answers are as for CollectionsUpdate.
func (c *Client) CollectionsUpsert(ctx context.Context, object, keyField string, rows []CollectionRow) ([]RowResult, error) {
	if err := Identifier(keyField); err != nil {
		return nil, err
	}
	keys := make(map[string]int, len(rows))
	for i := range rows {
		key, ok := rows[i].key(keyField)
		if !ok || key == "" && !strings.EqualFold(keyField, "Id") {
			return nil, fmt.Errorf("salesforce: upsert of %s: row %d has no %s", object, i, keyField)
		}
		if key == "" {
			continue
		}
		folded := strings.ToLower(key)
		if first, ok := keys[folded]; ok {
			return nil, fmt.Errorf("salesforce: upsert of %s: rows %d and %d have the same %s", object, first, i, keyField)
		}
		keys[folded] = i
	}
	return c.collection(ctx, "collections.upsert", object, keyField, rows)
}

func (r *CollectionRow) key(field string) (string, bool) {
	if strings.EqualFold(field, "Id") {
		return r.ID, true
	}
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, field) {
			return f.Value, !f.Null
		}
	}
	return "", false
}

func (c *Client) collection(ctx context.Context, op, object, keyField string, rows []CollectionRow) ([]RowResult, error) {
	if err := Identifier(object); err != nil {
		return nil, err
	}
	if len(rows) == 0 || len(rows) > MaxCollection {
		return nil, fmt.Errorf("salesforce: %s of %s: %d rows, 1 to %d are taken", op, object, len(rows), MaxCollection)
	}
	body := []byte(`{"allOrNone":false,"records":[`)
	for i := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = rows[i].append(body, object); err != nil {
			return nil, fmt.Errorf("salesforce: %s of %s: row %d: %w", op, object, i, err)
		}
	}
	body = append(body, "]}"...)
	path := "composite/sobjects"
	if keyField != "" {
		path += "/" + object + "/" + keyField
	}
	r := &request{
		op: op, method: http.MethodPatch, path: path, body: body, write: true, saves: true,
		// Without it assignment rules would move the owner of Leads here and not in Bulk.
		header: map[string]string{"Sforce-Auto-Assign": "FALSE"},
	}
	if c.opt.AllowDuplicateAlerts {
		r.header["Sforce-Duplicate-Rule-Header"] = "allowSave=true"
	}
	return c.saveRows(ctx, r, rows)
}

// saveRows sends a request that saves rows and reads what became of each.
func (c *Client) saveRows(ctx context.Context, r *request, rows []CollectionRow) ([]RowResult, error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	results, err := parseCollection(resp, rows)
	if broken := resp.broken(err); broken != nil {
		err = broken
	}
	resp.close(err)
	if err != nil {
		// The rows were saved or refused, we cannot tell which.
		return nil, &UnknownOutcomeError{Op: r.op, Err: err}
	}
	return results, nil
}

// append writes the row as a JSON object. The type stands first: a nested parent asks for that.
func (r *CollectionRow) append(b []byte, object string) ([]byte, error) {
	b = append(b, `{"attributes":{"type":"`...)
	b = append(b, object...)
	b = append(b, `"}`...)
	if r.ID != "" {
		id, err := ID18(r.ID)
		if err != nil {
			return nil, err
		}
		b = append(b, `,"id":"`...)
		b = append(b, id...)
		b = append(b, '"')
	}
	for _, f := range r.Fields {
		if err := Identifier(f.Name); err != nil {
			return nil, err
		}
		parent, name, nested := strings.Cut(f.Name, ".")
		if nested && strings.Contains(name, ".") {
			return nil, fmt.Errorf("field %s: a parent's key is one step away, not more", f.Name)
		}
		b = append(b, `,"`...)
		if nested {
			b = append(b, parent...)
			b = append(b, `":{"`...)
			b = append(b, name...)
		} else {
			b = append(b, f.Name...)
		}
		b = append(b, `":`...)
		var err error
		if b, err = f.appendValue(b); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if nested {
			b = append(b, '}')
		}
	}
	return append(b, '}'), nil
}

func (f *FieldValue) appendValue(b []byte) ([]byte, error) {
	if f.Null || f.Value == "" {
		return append(b, "null"...), nil
	}
	v, err := Canonical(f.Type, f.Value)
	if err != nil {
		return nil, err
	}
	if f.Type.IsNumber() || f.Type == TypeBoolean {
		return append(b, v...), nil
	}
	q, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(b, q...), nil
}

// saveResult is an entry of a Collections reply.
type saveResult struct {
	ID      string `json:"id"`
	Success *bool  `json:"success"`
	Created bool   `json:"created"`
	Errors  []struct {
		StatusCode string   `json:"statusCode"`
		ErrorCode  string   `json:"errorCode"`
		Message    string   `json:"message"`
		Fields     []string `json:"fields"`

		DuplicateResut  json.RawMessage `json:"duplicateResut"`
		DuplicateResult json.RawMessage `json:"duplicateResult"`
	} `json:"errors"`
}

// parseCollection reads the results and checks that they fit the rows, one by one.
func parseCollection(resp *response, rows []CollectionRow) ([]RowResult, error) {
	j := newJSONReader(resp.body)
	results := make([]RowResult, 0, len(rows))
	err := j.array(func() error {
		n := len(results)
		if n == len(rows) {
			return malformed("more results than the %d rows sent", len(rows))
		}
		var s saveResult
		if err := j.value(&s); err != nil {
			return err
		}
		r, err := s.result()
		if err != nil {
			return fmt.Errorf("result %d: %w", n, err)
		}
		if r.Success && rows[n].ID != "" && !sameID(r.ID, rows[n].ID) {
			return malformed("result %d is about another record", n)
		}
		results = append(results, r)
		return nil
	})
	if err == nil {
		err = j.end()
	}
	if err == nil && len(results) != len(rows) {
		err = malformed("%d results for %d rows", len(results), len(rows))
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (s *saveResult) result() (RowResult, error) {
	switch {
	case s.Success == nil:
		return RowResult{}, malformed("it does not say whether the row was saved")
	case *s.Success:
		id, err := ID18(s.ID)
		if err != nil {
			return RowResult{}, malformed("saved without a record id")
		}
		return RowResult{ID: id, Success: true, Created: s.Created}, nil
	}
	var e RowError
	for _, x := range s.Errors {
		code := firstNonEmpty(x.StatusCode, x.ErrorCode, CodeNone)
		message := cut(x.Message)
		e.add(code, message, x.Fields)
		e.Others = append(e.Others, append(matched(x.DuplicateResut), matched(x.DuplicateResult)...)...)
	}
	if len(s.Errors) == 0 {
		e.add(CodeNone, "Salesforce gave no reason", nil)
	}
	return RowResult{RowError: e}, nil
}

// add joins one more error of the same row. A row is worth another try only if each of its errors is.
func (e *RowError) add(code, message string, fields []string) {
	action := ClassifyRow(code, message)
	if e.Code == "" {
		*e = RowError{Code: code, Message: message, Fields: fields, Action: action}
		return
	}
	e.Message = cut(e.Message + "; " + code + ": " + message)
	e.Fields = append(e.Fields, fields...)
	if e.Action == ActionRetryRow {
		e.Action = action
	}
}
