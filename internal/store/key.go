package store

import (
	"fmt"
	"strings"

	"github.com/catalogsync/catalogsync/internal/errs"
)

const hexDigits = "0123456789ABCDEF"

// Key makes a key from parts, joined by ".". Every string is allowed as a part, the empty one included: bytes other than
// letters, digits, "_" and "-" are written as "=XX". Different parts make different keys; [Parts] is the inverse.
func Key(parts ...string) string {
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		if part == "" {
			b.WriteByte('=') // an empty token is not allowed
		}
		for j := range len(part) {
			if c := part[j]; plain(c) {
				b.WriteByte(c)
			} else {
				b.WriteByte('=')
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&15])
			}
		}
	}
	return b.String()
}

// Parts returns the parts that [Key] was given.
func Parts(key string) ([]string, error) {
	tokens := strings.Split(key, ".")
	for i, token := range tokens {
		part, err := unescape(token)
		if err != nil {
			return nil, err
		}
		tokens[i] = part
	}
	return tokens, nil
}

func unescape(token string) (string, error) {
	if token == "=" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		c := token[i]
		switch {
		case plain(c):
		case c == '=' && i+2 < len(token) && hexValue(token[i+1]) >= 0 && hexValue(token[i+2]) >= 0:
			c = byte(hexValue(token[i+1])<<4 | hexValue(token[i+2]))
			i += 2
		default:
			return "", badKey(token)
		}
		b.WriteByte(c)
	}
	if token == "" {
		return "", badKey(token)
	}
	return b.String(), nil
}

// plain reports whether a byte stands for itself in a key.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

func hexValue(c byte) int { return strings.IndexByte(hexDigits, c) }

// check refuses keys that [Key] does not make.
func check(key string) error {
	_, err := Parts(key)
	return err
}

func badKey(token string) error {
	return errs.Wrap(fmt.Errorf("token %q", token), errs.Invalid, "bad_key", "the key is not valid; keys are made by store.Key")
}
