package save

import (
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// DuplicateRule refuses a create (or, with Block, even one that asks to save all the same) that matches a live record
// of the object in all of its Fields, ignoring case; the first field is better indexed.
type DuplicateRule struct {
	Name, MatchRule string
	Fields          []string
	Message         string
	Block           bool
	Engine          string // of the match in the refusal's body, default "FuzzyMatchEngine"
}

// DuplicateRules are the active rules by object.
type DuplicateRules map[string]DuplicateRule

// SetDuplicateRules replaces the active rules.
func (p *Pipeline) SetDuplicateRules(r DuplicateRules) {
	p.db.Lock()
	defer p.db.Unlock()
	p.dup = r
}

// duplicate is the body that Salesforce sends with DUPLICATES_DETECTED; the key names and their order are Salesforce's.
type duplicate struct {
	AllowSave   bool    `json:"allowSave"`
	Rule        string  `json:"duplicateRule"`
	Entity      string  `json:"duplicateRuleEntityType"`
	Message     string  `json:"errorMessage"`
	MatchResult []match `json:"matchResults"`
}

// WithBase gives the detail with record URLs below base, "/services/data/v67.0".
func (d duplicate) WithBase(base string) any {
	out := d
	out.MatchResult = append([]match(nil), d.MatchResult...)
	for i := range out.MatchResult {
		m := &out.MatchResult[i]
		m.Records = append([]record(nil), m.Records...)
		for j := range m.Records {
			r := &m.Records[j].Record
			r.Attributes.URL = base + "/sobjects/" + r.Attributes.Type + "/" + r.ID
		}
	}
	return out
}

type match struct {
	Entity  string   `json:"entityType"`
	Errors  []string `json:"errors"`
	Engine  string   `json:"matchEngine"`
	Records []record `json:"matchRecords"`
	Rule    string   `json:"rule"`
	Size    int      `json:"size"`
	Success bool     `json:"success"`
}

type record struct {
	Information []string       `json:"additionalInformation"`
	Diffs       []string       `json:"fieldDiffs"`
	Confidence  confidence     `json:"matchConfidence"`
	Record      DuplicateMatch `json:"record"`
}

type confidence struct{}

// MarshalJSON writes 100.0 as Salesforce does.
func (confidence) MarshalJSON() ([]byte, error) { return []byte("100.0"), nil }

// DuplicateMatch is the record found; WithBase sets its URL.
type DuplicateMatch struct {
	Attributes struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"attributes"`
	ID string `json:"Id"`
}

func (b *batch) duplicates(t *store.Table, op Op, serial uint32) *Error {
	rule, ok := b.dup[t.Object.Name]
	if !ok || op != Insert || b.caller.AllowSave && !rule.Block {
		return nil
	}
	first := t.Object.Field(rule.Fields[0])
	if b.values[first.Slot] == "" {
		return nil
	}
	for n := range t.Lookup(first, b.values[first.Slot]) {
		row := t.Row(n)
		if row.State != store.Live || n == serial || !b.matches(t, row, rule.Fields[1:]) {
			continue
		}
		d := duplicate{AllowSave: !rule.Block, Rule: rule.Name, Entity: t.Object.Name, Message: rule.Message}
		r := record{Information: []string{}, Diffs: []string{}}
		r.Record.Attributes.Type, r.Record.ID = t.Object.Name, t.ID(n)
		engine := rule.Engine
		if engine == "" {
			engine = "FuzzyMatchEngine"
		}
		d.MatchResult = []match{{Entity: t.Object.Name, Errors: []string{}, Engine: engine, Records: []record{r}, Rule: rule.MatchRule, Size: 1, Success: true}}
		return &Error{Code: "DUPLICATES_DETECTED", Message: rule.Message, Detail: d}
	}
	return nil
}

func (b *batch) matches(t *store.Table, row *store.Row, fields []string) bool {
	for _, name := range fields {
		f := t.Object.Field(name)
		if !strings.EqualFold(row.Get(f.Slot), b.values[f.Slot]) {
			return false
		}
	}
	return true
}
