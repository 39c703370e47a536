package values

import (
	"strings"

	"github.com/rivo/uniseg"
)

// Units counts a text as Salesforce measures it: in UTF-16 units, which is the stricter of the ways in which it may
// count characters.
func Units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// cut shortens a text of n units to the field's length, between two characters as people see them: no surrogate, no
// accent and no joined emoji is torn. The note tells it; it is a problem where not even one character fits.
func (c *Converter) cut(s string, n int) (string, *Problem) {
	end, used, state := 0, 0, -1
	for rest := s; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used += Units(cluster); used > c.spec.Length {
			break
		}
		end += len(cluster)
	}
	out := strings.TrimSpace(s[:end])
	if out == "" || out == clearMark {
		return "", c.problem(CodeTooLong, "the value has %d characters, the field takes %d, and nothing that makes sense is left when it is cut (%s): shorten it in the Catalog", n, c.spec.Length, Clip(s))
	}
	note := c.problem(CodeCut, "the value has %d characters and the field takes %d (%s): it is cut to %d, as the pair says", n, c.spec.Length, Clip(s), Units(out))
	note.Scope = ScopeNote
	return out, note
}

// Cuttable reports whether a text of the field type still makes sense when it is cut.
func Cuttable(fieldType string) bool {
	switch fieldType {
	case "string", "textarea", "combobox", "encryptedstring":
		return true
	}
	return false
}
