package flatjson_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/flatjson"
)

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := flatjson.Parse(` {"a" : "x\ty\u00e9\ud83d\ude00\/", "n":-1.50e+3,"t":true , "f":false,"z":null,`+
		`"g":["p","q\"r"],"e":[ ],"m":["p",1],"o":{"x":"}\"]","y":[{}]},"a":"again","":"nameless"} `, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []flatjson.Member{
		{Name: "a", Text: "x\tyé😀/"},
		{Name: "n", Kind: flatjson.Number, Text: "-1.50e+3"},
		{Name: "t", Kind: flatjson.Bool, Text: "true"},
		{Name: "f", Kind: flatjson.Bool, Text: "false"},
		{Name: "z", Kind: flatjson.Null},
		{Name: "g", Kind: flatjson.Texts, Items: []string{"p", `q"r`}},
		{Name: "e", Kind: flatjson.Texts},
		{Name: "m", Kind: flatjson.Nested, Text: `["p",1]`},
		{Name: "o", Kind: flatjson.Nested, Text: `{"x":"}\"]","y":[{}]}`},
		{Name: "a", Text: "again"},
		{Name: "", Text: "nameless"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                 "unexpected end of JSON input at character 1",
		`{"é":"x",}`:       "invalid character '}' looking for beginning of object key string at character 10",
		`{"a":"b"`:         "unexpected end of JSON input at character 8",
		`{"a":"b"} x`:      "invalid character 'x' after top-level value at character 11",
		`["a"]`:            "not a JSON object",
		`"a"`:              "not a JSON object",
		"{\"a\":\"\x01\"}": `invalid character '\x01' in string literal at character 7`,
	} {
		_, err := flatjson.Parse(text, nil)
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{`{"a":"\ud800"}`, `{"a":"\ud800\u0041"}`, `{"a":"\udc00x"}`, `{"a":["\ud800"]}`, `{"\ud800":1}`} {
		got, err := flatjson.Parse(text, nil)
		if err != nil || len(got) != 1 || got[0].Err == nil {
			t.Errorf("Parse(%s) = %v, %v; want a member with an error", text, got, err)
		}
	}
}

// FuzzParse compares with encoding/json: the same lines are objects, and names have the same values.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":"b","c":[1,{"d":null}],"e":["x"]}`, `{"a":"\ud83d\ude00\u0000"}`, `{"a":1e9,"a":-0.0}`, `[]`, `{`, `{"":""}`, " {}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := flatjson.Parse(text, nil)
		var want map[string]any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		isObject := json.Valid([]byte(text)) && d.Decode(&want) == nil && want != nil
		if isObject != (err == nil) {
			t.Fatalf("err = %v, an object: %v", err, isObject)
		}
		if err != nil || !utf8.ValidString(text) {
			return
		}
		last := map[string]flatjson.Member{}
		for _, m := range got {
			if m.Err != nil {
				return
			}
			last[m.Name] = m
		}
		if len(last) != len(want) {
			t.Fatalf("%d names, want %d", len(last), len(want))
		}
		for name, w := range want {
			m, ok := last[name]
			if !ok {
				t.Fatalf("name %q is missing", name)
			}
			switch w := w.(type) {
			case string:
				if m.Kind != flatjson.Text || m.Text != w {
					t.Fatalf("%q = %+v, want %q", name, m, w)
				}
			case json.Number:
				if m.Kind != flatjson.Number || m.Text != string(w) {
					t.Fatalf("%q = %+v, want %s", name, m, w)
				}
			case bool:
				if m.Kind != flatjson.Bool || (m.Text == "true") != w {
					t.Fatalf("%q = %+v, want %v", name, m, w)
				}
			case nil:
				if m.Kind != flatjson.Null {
					t.Fatalf("%q = %+v, want null", name, m)
				}
			case []any:
				texts := true
				for _, e := range w {
					_, isText := e.(string)
					texts = texts && isText
				}
				if texts != (m.Kind == flatjson.Texts) || texts && len(m.Items) != len(w) {
					t.Fatalf("%q = %+v, want %v", name, m, w)
				}
				for i := range m.Items {
					if m.Items[i] != w[i] {
						t.Fatalf("%q = %+v, want %v", name, m, w)
					}
				}
			default:
				if m.Kind != flatjson.Nested {
					t.Fatalf("%q = %+v, want nested", name, m)
				}
			}
		}
	})
}
