package fieldmap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/similar"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Codes of problems with a field map. They are stable.
const (
	CodeObject            = "unsupported_object"
	CodeWrongDescribe     = "wrong_describe"
	CodeTooManyPairs      = "too_many_pairs"
	CodeNoSource          = "no_source"
	CodeSeveralSources    = "several_sources"
	CodeUnknownSource     = "unknown_source"
	CodeNoSuchField       = "no_such_field"
	CodeNotWritable       = "not_writable"
	CodeDuplicateTarget   = "duplicate_target"
	CodeInvalidDefault    = "invalid_default"
	CodeInvalidConstant   = "invalid_constant"
	CodeInvalidExpression = "invalid_expression"
	CodeInvalidTable      = "invalid_table"
	CodeInvalidSetting    = "invalid_setting"
	CodeInvalidPolicy     = "invalid_policy"
	CodeInvalidGuard      = "invalid_guard"
	CodeInvalidRule       = "invalid_rule"
	CodeInvalidOverride   = "invalid_override"
	CodeNotExternalID     = "not_external_id"
	CodeNoMatchField      = "no_match_field"
	CodeRequiredField     = "required_field_unmapped"
	CodeTypeChanged       = "type_changed"
	CodeFieldShorter      = "field_shorter"
)

// Check returns everything that stands against saving the map, in the order of its pairs, rules, overrides and policies.
// Problems of scope PERSON or NOTE stop no save. The map is one that [Complete] returned.
func Check(m Map, org Org) []values.Problem { return examine(m, org, false) }

// Drift returns what stands against a saved map since it was saved. A problem of scope MAP means that the map cannot be
// used, one of scope PAIR that its target has to be left alone.
func Drift(m Map, org Org) []values.Problem { return examine(m, org, true) }

// checker collects problems.
type checker struct {
	m        Map
	org      Org
	o        Object
	drift    bool
	problems []values.Problem
	listed   bool // the Catalog's fields have been listed: once is enough
}

func examine(m Map, org Org, drift bool) []values.Problem {
	c := checker{m: m, org: org, o: org.Object, drift: drift}
	if p := c.object(); p != nil {
		return []values.Problem{*p}
	}
	pairs := len(m.Pairs)
	for _, o := range m.Overrides {
		pairs += len(o.Pairs)
	}
	if org.MaxPairs > 0 && pairs > org.MaxPairs {
		return []values.Problem{{Code: CodeTooManyPairs, Scope: values.ScopeMap, Message: fmt.Sprintf(
			"the field map has %d pairs and may have %d: leave some out", pairs, org.MaxPairs)}}
	}
	c.pairs(m.Pairs, "", nil)
	if m.Direction == Import {
		c.importKey()
	} else {
		c.matchField()
		c.externalID()
		c.requiredFields()
	}
	c.rules()
	c.overrides()
	c.identity()
	c.guards()
	return c.problems
}

func (c *checker) object() *values.Problem {
	switch {
	case c.m.Object == "":
		return &values.Problem{Code: CodeObject, Scope: values.ScopeMap, Message: "the field map names no object: name one of the org, such as Contact or Lead"}
	case c.m.Direction < DirectionUnset || c.m.Direction > Import:
		return &values.Problem{Code: CodeInvalidSetting, Scope: values.ScopeMap, Message: "the field map has an unknown direction: write or import"}
	case c.o.Name == "":
		return &values.Problem{Code: CodeObject, Scope: values.ScopeMap, Message: fmt.Sprintf(
			"the org has no object %s that the connected user may see: correct the name, or give the user access", values.Clip(c.m.Object))}
	case c.o.Name != c.m.Object:
		return &values.Problem{Code: CodeWrongDescribe, Scope: values.ScopeMap, Message: fmt.Sprintf(
			"the field map is for %s and the describe is of %s: send the describe of %s", values.Clip(c.m.Object), values.Clip(c.o.Name), values.Clip(c.m.Object))}
	}
	return nil
}

// add adds a problem of the map.
func (c *checker) add(code, field, format string, args ...any) *values.Problem {
	c.problems = append(c.problems, values.Problem{Code: code, Field: brief(field), Scope: values.ScopeMap, Message: fmt.Sprintf(format, args...)})
	return &c.problems[len(c.problems)-1]
}

// brief cuts a name that no field can have.
func brief(name string) string {
	if len(name) <= 80 {
		return name
	}
	return strings.ToValidUTF8(name[:80], "") + "..."
}

// matchField checks that people can be told apart.
func (c *checker) matchField() {
	if c.m.pair(c.m.matchField()) >= 0 {
		return
	}
	if c.m.ExternalIDField != "" {
		c.add(CodeMissingMatchKey, c.m.ExternalIDField, "people are matched by %s and no pair writes it: save the field map again", brief(c.m.ExternalIDField))
		return
	}
	if f, ok := c.o.field(emailField); !ok || f.Type != "email" {
		c.add(CodeNoMatchField, "", "%s has no e-mail field Email to match people by: name an external id field", c.o.Name)
		return
	}
	c.add(CodeMissingMatchKey, emailField, "people are matched by Email and no pair writes it: add a pair for it, or name an external id field")
}

// importKey checks that the Catalog can tell whom a record is about.
func (c *checker) importKey() {
	if c.m.pair("id") < 0 && c.m.pair("email") < 0 {
		c.add(CodeNoMatchField, "", "nothing says whom a record is about: add a pair that writes id or email")
	}
	if c.m.ExternalIDField != "" {
		c.add(CodeInvalidSetting, c.m.ExternalIDField, "an import writes nothing to Salesforce: leave the external id field out, or read it by a pair that writes id")
	}
}

// externalID checks the field that the map names as external id. That it exists and can be written is checked with its
// pair.
func (c *checker) externalID() {
	if c.m.ExternalIDField == "" {
		return
	}
	f, ok := c.o.field(c.m.ExternalIDField)
	if !ok || !f.writable() {
		return
	}
	var lacks []string
	if !f.ExternalID {
		lacks = append(lacks, "is not an external id")
	}
	if !f.Unique {
		lacks = append(lacks, "is not unique")
	}
	if f.Type != "string" && f.Type != "email" {
		lacks = append(lacks, "is of type "+f.Type+" and not of text")
	}
	if len(lacks) > 0 {
		p := c.add(CodeNotExternalID, f.Name, "external id field %s %s: choose a text field that is marked External ID and Unique, or leave it out to match by e-mail", f.Name, strings.Join(lacks, " and "))
		p.Repair = fmt.Sprintf("in Salesforce, mark %s.%s as External ID and Unique", c.o.Name, f.Name)
	}
}

// requiredFields finds fields without which Salesforce takes no new record.
func (c *checker) requiredFields() {
	for _, f := range c.o.Fields {
		if f.required() && values.Supported(f.Type) && c.m.pair(f.Name) < 0 {
			p := c.add(CodeRequiredField, f.Name, "%s requires %s when a record is created and no pair writes it: add a pair for it, with a default value for people without one", c.o.Name, f.Name)
			p.Repair = fmt.Sprintf("add a pair for %s, or make the field optional in Salesforce", f.Name)
		}
	}
}

// essential reports whether a map is of no use without the pair for a target.
func (c *checker) essential(target string) bool {
	if c.m.Direction == Import {
		return false
	}
	if strings.EqualFold(target, c.m.matchField()) || slices.ContainsFunc(mandatory[c.m.Object], func(p Pair) bool { return strings.EqualFold(p.Target, target) }) {
		return true
	}
	f, ok := c.o.field(target)
	return ok && f.required()
}

// renamed proposes what a field that is gone may be called now.
func (c *checker) renamed(name, fieldType string) string {
	byLabel, candidates := map[string]string{}, []string{}
	for _, f := range c.o.Fields {
		usable := c.m.Direction == Import || f.writable() && c.m.pair(f.Name) < 0
		if usable && (fieldType == "" || values.Compatible(fieldType, f.Type)) {
			candidates = append(candidates, f.Name)
		}
	}
	for _, f := range c.o.Fields {
		if slices.Contains(candidates, f.Name) && f.Label != "" && byLabel[f.Label] == "" {
			byLabel[f.Label] = f.Name
		}
	}
	best, ok := similar.Nearest(name, candidates)
	if !ok {
		labels := make([]string, 0, len(byLabel))
		for _, f := range c.o.Fields { // in the describe's order, so that the answer is the same each time
			if byLabel[f.Label] == f.Name {
				labels = append(labels, f.Label)
			}
		}
		label, found := similar.Nearest(name, labels)
		if !found {
			return ""
		}
		best = byLabel[label]
	}
	f, _ := c.o.field(best)
	if f.Label != "" && f.Label != f.Name {
		return fmt.Sprintf("%s (%s)", f.Name, f.Label)
	}
	return f.Name
}
