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

// CollectionsDelete moves up to 200 records of one object to the recycle bin, each on its own. One API call. The results
// are in the order of ids; answers are as for CollectionsUpdate. A record that is gone already is an error of its row.
func (c *Client) CollectionsDelete(ctx context.Context, ids []string) ([]RowResult, error) {
	if len(ids) == 0 || len(ids) > MaxCollection {
		return nil, fmt.Errorf("salesforce: delete: %d records, 1 to %d are taken", len(ids), MaxCollection)
	}
	rows := make([]CollectionRow, len(ids))
	for i, id := range ids {
		whole, err := ID18(id)
		if err != nil {
			return nil, fmt.Errorf("salesforce: delete: record %d: %w", i, err)
		}
		rows[i].ID = whole
		ids[i] = whole
	}
	const op = "collections.delete"
	return c.saveRows(ctx, &request{
		op: op, method: http.MethodDelete, path: "composite/sobjects", write: true, saves: true,
		query: url.Values{"allOrNone": {"false"}, "ids": {strings.Join(ids, ",")}},
	}, rows)
}

// ErrUnsavable says that a row cannot go by itself: its key would not stand in an address.
var ErrUnsavable = errors.New("salesforce: the key of the row cannot stand in an address")

// Save saves one record by itself, as CollectionsUpdate and CollectionsUpsert would: by its id, or by keyField where the
// row has none. One API call. What Collections does not say this does: which records a duplicate rule matched.
//
// A refusal of the row is a result, not an error; when the answer is lost the error is an *UnknownOutcomeError.
func (c *Client) Save(ctx context.Context, object, keyField string, row CollectionRow) (RowResult, error) {
	if err := Identifier(object); err != nil {
		return RowResult{}, err
	}
	path := "sobjects/" + object + "/"
	id := row.ID
	if id != "" {
		whole, err := ID18(id)
		if err != nil {
			return RowResult{}, err
		}
		id, path = whole, path+whole
	} else {
		if err := Identifier(keyField); err != nil {
			return RowResult{}, err
		}
		key, ok := row.key(keyField)
		if !ok || key == "" || strings.ContainsAny(key, "/\\?#%") || strings.Trim(key, ". ") == "" {
			return RowResult{}, ErrUnsavable
		}
		path += keyField + "/" + key
	}
	body := []byte{'{'}
	for _, f := range row.Fields {
		if err := Identifier(f.Name); err != nil || strings.Contains(f.Name, ".") {
			return RowResult{}, ErrUnsavable
		}
		if id == "" && strings.EqualFold(f.Name, keyField) {
			continue // it stands in the address, and must not stand here
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(append(append(body, '"'), f.Name...), `":`...)
		var err error
		if body, err = f.appendValue(body); err != nil {
			return RowResult{}, fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	r := &request{
		op: "save", method: http.MethodPatch, path: path, body: append(body, '}'), write: true, saves: true,
		header: map[string]string{"Sforce-Auto-Assign": "FALSE"},
	}
	if c.opt.AllowDuplicateAlerts {
		r.header["Sforce-Duplicate-Rule-Header"] = "allowSave=true"
	}
	resp, err := c.do(ctx, r)
	if e, ok := errors.AsType[*Error](err); ok && e.Status >= 400 && e.Status < 500 && !e.MayHaveApplied && rowsOwn(e) {
		return RowResult{RowError: RowError{
			Code: e.Code, Message: e.Message, Fields: e.Fields, Action: ClassifyRow(e.Code, e.Message), Others: e.Others,
		}}, nil
	}
	if err != nil {
		return RowResult{}, err
	}
	if resp.status == http.StatusNoContent {
		resp.close(nil)
		return RowResult{ID: id, Success: true}, nil
	}
	var saved saveResult
	d := newJSONReader(resp.body)
	err = d.value(&saved)
	if broken := resp.broken(err); broken != nil {
		err = broken
	}
	resp.close(err)
	if err == nil {
		var result RowResult
		if result, err = saved.result(); err == nil {
			return result, nil
		}
	}
	return RowResult{}, &UnknownOutcomeError{Op: r.op, Err: err}
}

// rowsOwn reports whether an error of a call that saves one row is that row's, and not the call's.
func rowsOwn(e *Error) bool {
	switch ClassifyRow(e.Code, e.Message) {
	case ActionRow, ActionRetryRow:
		return e.Action == ActionRow || e.Action == ActionRetryRow
	}
	return false
}

// matches reads the ids of the records that a duplicate rule matched. The platform misspells the key.
type matches struct {
	MatchResults []struct {
		MatchRecords []struct {
			Record struct {
				ID string `json:"Id"`
			} `json:"record"`
		} `json:"matchRecords"`
	} `json:"matchResults"`
}

// most is how many matched records are kept.
const most = 10

func matched(raw json.RawMessage) []string {
	var m matches
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	var ids []string
	for _, result := range m.MatchResults {
		for _, r := range result.MatchRecords {
			if id, err := ID18(r.Record.ID); err == nil && len(ids) < most {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
