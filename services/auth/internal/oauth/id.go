package oauth

import (
	"fmt"
	"strings"
)

func orgID(s string) (string, error)  { return id18(s, "00D") }
func userID(s string) (string, error) { return id18(s, "005") }

// id18 returns the 18-character form of a Salesforce id that begins with prefix. The three characters that the form
// adds say which of the others are capitals, five to each: where the id brings them they must agree.
func id18(s, prefix string) (string, error) {
	if len(s) != 15 && len(s) != 18 || !strings.HasPrefix(s, prefix) {
		return "", fmt.Errorf("%q is no Salesforce id that begins with %s", scrub(s, 40), prefix)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
	check := make([]byte, 0, 3)
	for block := 0; block < 15; block += 5 {
		bits := 0
		for i := range 5 {
			switch c := s[block+i]; {
			case c >= 'A' && c <= 'Z':
				bits |= 1 << i
			case (c < 'a' || c > 'z') && (c < '0' || c > '9'):
				return "", fmt.Errorf("%q is no Salesforce id", scrub(s, 40))
			}
		}
		check = append(check, alphabet[bits])
	}
	if len(s) == 18 && !strings.EqualFold(s[15:], string(check)) {
		return "", fmt.Errorf("%q is no Salesforce id: its last three characters do not fit", s)
	}
	return s[:15] + string(check), nil
}
