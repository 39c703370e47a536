package rest

import (
	"encoding/json"
	"testing"
)

// FuzzJSON checks that bodies are read exactly where encoding/json reads an object or a list, but for nesting too deep.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\u00e9",null,true,{"b":{}}]}`, `[]`, `{"a":1}x`, `{"a":`, `"x"`, `{"a":1,"a":2}`, "\xef\xbb\xbf{}", `[[[[]]]]`, `{"\ud800":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseJSON(data)
		if (v == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", data, v, err)
		}
		if err == nil && !json.Valid(data) {
			t.Errorf("%q was read and is no JSON", data)
		}
	})
}
