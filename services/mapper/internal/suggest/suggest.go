// Package suggest owns the guess which Catalog field belongs into which Salesforce field: from names and what they are
// also called, from labels, and from what the values of some people look like. It is pure, and the same input gives the
// same suggestions.
package suggest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
)

// least is the confidence below which nothing is suggested.
const least = 0.4

// Mandatory are the sources of the targets that every field map of an object has, by target.
type Mandatory map[string]*mapperv1.Pair

// Pairs returns the suggestions for an object, best first: at most one per target, and one target per source.
func Pairs(object *salesforcev1.ObjectDescribe, people *rowv1.Batch, mandatory Mandatory, supported func(fieldType string) bool) []*mapperv1.Suggestion {
	sources := sourcesOf(people)
	var all []candidate
	for i, f := range object.GetFields() {
		if p := mandatory[f.GetName()]; p != nil && writable(f) {
			all = append(all, candidate{field: i, source: -1, score: 1, pair: p, reason: "every field map of " + object.GetName() + " has it"})
			continue
		}
		for j, s := range sources {
			if c, ok := judge(object, f, s, supported); ok {
				c.field, c.source = i, j
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.field, b.field), cmp.Compare(a.source, b.source))
	})
	var out []*mapperv1.Suggestion
	targets, taken := map[int]bool{}, map[string]bool{}
	for _, c := range all {
		if targets[c.field] || taken[c.pair.GetSource()] {
			continue
		}
		targets[c.field], taken[c.pair.GetSource()] = true, true
		out = append(out, &mapperv1.Suggestion{Pair: c.pair, Confidence: math.Round(c.score*100) / 100, Reason: c.reason})
	}
	return out
}

// candidate is one pair that may fit.
type candidate struct {
	field, source int
	score         float64
	pair          *mapperv1.Pair
	reason        string
}

func writable(f *salesforcev1.FieldDescribe) bool {
	return f.GetCreateable() && f.GetUpdateable() && !f.GetCalculated()
}

// judge says how well a source fits a field.
func judge(object *salesforcev1.ObjectDescribe, f *salesforcev1.FieldDescribe, s source, supported func(string) bool) (candidate, bool) {
	if !writable(f) || !supported(f.GetType()) {
		return candidate{}, false
	}
	c := candidate{pair: &mapperv1.Pair{Source: s.name, Target: f.GetName()}}
	if s.name == "id" {
		return external(f, c)
	}
	if f.GetType() == "reference" {
		return account(f, s, c)
	}
	if f.GetExternalId() && f.GetUnique() {
		return candidate{}, false // it tells people apart: only their id does
	}
	c.score, c.reason = byName(object.GetName(), f, s)
	fits, looks := fit(f, s)
	if len(s.samples) > 0 {
		if fits < 0.5 {
			return candidate{}, false
		}
		switch {
		case c.score == 0:
			c.score = byValue(f, s, fits)
			c.reason = looks
		case looks != "" && fits > 0.9:
			c.score += 0.03
			c.reason += "; " + looks
		case fits < 1:
			c.score -= 0.3 * (1 - fits)
		}
		if long := tooLong(f, s); long > 0 && c.score > 0 {
			c.score -= 0.1
			c.reason += fmt.Sprintf("; %d of %d values are longer than its %d characters", long, len(s.samples), f.GetLength())
		}
	}
	c.score = min(c.score, 0.99)
	return c, c.score >= least
}

// external suggests the people's id for fields that can tell them apart.
func external(f *salesforcev1.FieldDescribe, c candidate) (candidate, bool) {
	if !f.GetExternalId() || !f.GetUnique() || f.GetType() != "string" {
		return c, false
	}
	c.score, c.reason = 0.6, "an external id that is unique can tell people apart"
	for _, t := range tokens(f.GetName()) {
		if slices.Contains([]string{"catalog", "user", "person", "member", "learner", "student"}, t) {
			c.score, c.reason = 0.95, c.reason+", and its name says that it does"
			break
		}
	}
	return c, true
}

// account suggests the organization for the lookup of an account.
func account(f *salesforcev1.FieldDescribe, s source, c candidate) (candidate, bool) {
	if s.concept != "organization" || !slices.Contains(f.GetReferenceTo(), "Account") || f.GetName() != "AccountId" {
		return c, false
	}
	c.pair.Lookup = &mapperv1.Lookup{Object: "Account", Field: "Name"}
	c.score, c.reason = 0.55, "the account is found by its name, and people without one are rejected"
	return c, true
}

// byName compares names and labels.
func byName(object string, f *salesforcev1.FieldDescribe, s source) (float64, string) {
	name, label := fold(f.GetName()), fold(f.GetLabel())
	// The mailing address of a Contact is the address of a person; the other one is not.
	own := name
	if object == "Contact" {
		own = strings.TrimPrefix(name, "mailing")
	}
	concept := conceptOf(own)
	switch {
	case name == s.folded:
		return 0.95, "it has the same name"
	case own == s.folded:
		return 0.94, "it has the same name, of the mailing address"
	case s.concept != "" && concept == s.concept:
		return 0.9, fmt.Sprintf("%s means %s", f.GetName(), s.name)
	case label == s.folded:
		return 0.85, fmt.Sprintf("its label is %q", f.GetLabel())
	case s.concept != "" && conceptOf(label) == s.concept:
		return 0.8, fmt.Sprintf("its label %q means %s", f.GetLabel(), s.name)
	}
	shared, whole := overlap(s.tokens, tokens(f.GetName()))
	if n, w := overlap(s.tokens, tokens(f.GetLabel())); w > 0 && (whole == 0 || n*whole > shared*w) {
		shared, whole = n, w
	}
	// One word of three says nothing: OtherCity is no city, AssistantPhone nobody's phone.
	if whole == 0 || 2*shared < whole || shared == 1 && whole == 2 && prefixed(f.GetName()) {
		return 0, ""
	}
	return 0.4 + 0.3*float64(shared)/float64(whole), fmt.Sprintf("its name has %d of %d words in common", shared, whole)
}

// prefixed reports whether a standard field is a kind of another: OtherPhone, AssistantName.
func prefixed(name string) bool {
	for _, p := range []string{"Other", "Assistant", "Home", "Mailing", "Billing", "Shipping", "Jigsaw", "EmailBounced"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// byValue is how much values say alone.
func byValue(f *salesforcev1.FieldDescribe, s source, fits float64) float64 {
	if fits < 0.9 || !strings.HasPrefix(s.name, "attributes.") || !f.GetCustom() || len(s.samples) < 3 {
		return 0
	}
	switch f.GetType() {
	case "picklist", "multipicklist":
		if s.distinct() > 1 {
			return 0.5 + 0.1*fits
		}
	case "email":
		return 0.45
	case "phone", "url":
		return least
	}
	return 0
}
