package save

import (
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// states keeps the texts and codes of countries and states together, where the org has picklists of them: either sets the
// other, and a text that is not in the list is refused.
func (b *batch) states(t *store.Table, row *Row) *Error {
	for i := range row.Columns {
		f := row.Columns[i].Field
		if row.Values[i].Kind == Ignore || f.Compound == "" {
			continue
		}
		if text := t.Object.Field(strings.TrimSuffix(f.Name, "Code")); strings.HasSuffix(f.Name, "Code") && text != nil && isPlace(text) {
			b.values[text.Slot] = ""
			for _, v := range f.Values {
				if v.Value == b.values[f.Slot] {
					b.values[text.Slot] = v.Label
				}
			}
			continue
		}
		code := t.Object.Field(f.Name + "Code")
		if code == nil || !isPlace(f) {
			continue
		}
		if err := b.codeOf(f, code); err != nil {
			return err
		}
	}
	return nil
}

func isPlace(f *schema.Field) bool {
	return strings.HasSuffix(f.Name, "Country") || strings.HasSuffix(f.Name, "State")
}

// codeOf sets the code that belongs to a text; a code in place of the text is taken too.
func (b *batch) codeOf(f, code *schema.Field) *Error {
	text := b.values[f.Slot]
	b.values[code.Slot] = ""
	if text == "" {
		return nil
	}
	for _, v := range code.Values {
		if strings.EqualFold(v.Label, text) || strings.EqualFold(v.Value, text) {
			b.values[f.Slot], b.values[code.Slot] = v.Label, v.Value
			return nil
		}
	}
	what, from := "country", "country/territory from the list of valid countries."
	if strings.HasSuffix(f.Name, "State") {
		what, from = "state", "state/province from the list of valid states."
	}
	return &Error{
		Code: "FIELD_INTEGRITY_EXCEPTION", Fields: []string{f.Name},
		Message: "There's a problem with this " + what + ", even though it may appear correct. Please select a " + from + ": " + f.Label,
	}
}
