package fieldmap

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/services/mapper/internal/similar"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

func (c *checker) rules() {
	if len(c.m.Rules) > maxRules {
		c.add(CodeInvalidRule, "", "the field map has %d rules and may have %d: join some by any or all", len(c.m.Rules), maxRules)
		return
	}
	names := map[string]bool{}
	for i, r := range c.m.Rules {
		where := fmt.Sprintf("rule %d (%s)", i+1, values.Clip(r.Name))
		bad := func(format string, args ...any) {
			c.add(CodeInvalidRule, "", "%s: %s", where, fmt.Sprintf(format, args...))
		}
		switch {
		case strings.TrimSpace(r.Name) == "":
			bad("it has no name: give it one, for plans and outcomes cite it")
		case utf8.RuneCountInString(r.Name) > maxRuleName || strings.ContainsAny(r.Name, "\r\n"):
			bad("its name is longer than %d characters, or than a line: shorten it", maxRuleName)
		case names[fold(r.Name)]:
			bad("another rule has that name: give it one of its own")
		}
		names[fold(r.Name)] = true
		if r.Effect != Include && r.Effect != Skip {
			bad("it neither includes nor skips: choose one")
		}
		if slices.Contains(trimmed(r.Subaccounts), "") {
			bad("it names a subaccount without a name: remove it")
		}
		if len(r.Subaccounts) > 0 && c.m.Direction == Import {
			bad("an import has no subaccounts: remove them")
		}
		c.condition(r.Condition, where, CodeInvalidRule)
	}
}

// condition checks a condition of a rule or a filter.
func (c *checker) condition(root Condition, where, code string) {
	n := 0
	var walk func(Condition, int)
	bad := func(format string, args ...any) *values.Problem {
		return c.add(code, "", "%s: %s", where, fmt.Sprintf(format, args...))
	}
	tooDeep := false
	walk = func(one Condition, depth int) {
		if n++; n > maxConditions || tooDeep {
			return
		}
		group := one.All
		if len(group) == 0 {
			group = one.Any
		}
		switch {
		case one.Test != nil:
			c.test(*one.Test, bad)
		case depth >= maxDepth:
			tooDeep = true
			bad("its groups are more than %d deep: flatten them", maxDepth)
		case one.Not != nil:
			walk(*one.Not, depth+1)
		case len(group) > 0:
			for _, member := range group {
				walk(member, depth+1)
			}
		default:
			bad("it has an empty group or no condition: give it a test")
		}
	}
	if walk(root, 0); n > maxConditions {
		bad("it has more than %d tests and groups: use the operator \"in\" with many values", maxConditions)
	}
}

func (c *checker) test(t Test, bad func(string, ...any) *values.Problem) {
	switch t.Side {
	case SideUnset, Catalog:
		switch {
		case c.m.Direction == Import:
			bad("it tests the Catalog field %s, but an import has no person yet: test Salesforce fields", values.Clip(t.Field))
		case !isSource(t.Field, c.org.Attributes, c.drift):
			p := bad("the Catalog has no field %s: name %s", values.Clip(t.Field), c.oneOfSources())
			if nearest, ok := similar.Nearest(t.Field, slices.Concat(sources, c.org.Attributes)); ok {
				p.Repair = "take " + nearest
			}
		}
	case Salesforce:
		if f, ok := c.o.field(t.Field); !ok {
			p := bad("%s has no field %s that the connected user may see: correct the API name, or give the user access to the field", c.o.Name, brief(t.Field))
			p.Field, p.Repair = brief(t.Field), "remove the test, or give the connected user access to the field"
			if nearest, ok := similar.Nearest(t.Field, fieldsFor(c.m, c.org, true).Record); ok {
				p.Repair = fmt.Sprintf("if it was renamed, test %s; else %s", nearest, p.Repair)
			}
		} else if !readable(f) {
			bad("%s is of type %s, which cannot be tested: test its parts", f.Name, f.Type).Field = f.Name
		}
	default:
		bad("it tests neither a Catalog field nor a Salesforce field: choose one")
	}
	if _, err := matcher(t, time.Unix(0, 0)); err != nil {
		bad("the test of %s: %s", values.Clip(t.Field), err)
	}
}

func (c *checker) overrides() {
	seen := map[string]bool{}
	for i := range c.m.Overrides {
		o := &c.m.Overrides[i]
		where := fmt.Sprintf("override %d (%s)", i+1, values.Clip(o.Subaccount))
		bad := func(format string, args ...any) {
			c.add(CodeInvalidOverride, "", "%s: %s", where, fmt.Sprintf(format, args...))
		}
		switch key := foldSubaccount(o.Subaccount); {
		case c.m.Direction == Import:
			bad("an import has no subaccounts: remove it")
			continue
		case key == "":
			bad("it names no subaccount: name one")
		case seen[key]:
			bad("another override is for the same subaccount: join them")
		default:
			seen[key] = true
		}
		if o.Excluded && (len(o.Pairs) > 0 || o.Filter != nil) {
			bad("it excludes everybody, so that its pairs and its filter have nothing to do: remove them, or do not exclude")
		}
		if !o.Excluded && len(o.Pairs) == 0 && o.Filter == nil {
			bad("it says nothing: give it pairs, a filter, or let it exclude everybody")
		}
		if o.Filter != nil {
			c.condition(*o.Filter, where+", filter", CodeInvalidOverride)
		}
		c.pairs(o.Pairs, where+", ", o)
	}
}
