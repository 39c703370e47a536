package directory

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/flatjson"
)

// EncodeAttributes returns the attributes as the JSON object in which they are stored; empty where there are none.
func EncodeAttributes(as []Attribute) string {
	if len(as) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteByte('{')
	for i := range as {
		if i > 0 {
			b.WriteByte(',')
		}
		quote(&b, as[i].Name)
		b.WriteByte(':')
		if as[i].Null {
			b.WriteString("null")
		} else {
			quote(&b, as[i].Value)
		}
	}
	b.WriteByte('}')
	return b.String()
}

func quote(b *strings.Builder, s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			q, _ := json.Marshal(s) // a string can always be marshalled
			b.Write(q)
			return
		}
	}
	b.WriteByte('"')
	b.WriteString(s)
	b.WriteByte('"')
}

// DecodeAttributes reads what EncodeAttributes wrote.
func DecodeAttributes(text string) ([]Attribute, error) {
	if text == "" {
		return nil, nil
	}
	members, err := flatjson.Parse(text, make([]flatjson.Member, 0, 8))
	if err != nil {
		return nil, fmt.Errorf("stored attributes: %w", err)
	}
	as := make([]Attribute, len(members))
	for i, m := range members {
		as[i] = Attribute{Name: m.Name, Value: m.Text, Null: m.Kind == flatjson.Null}
	}
	return as, nil
}
