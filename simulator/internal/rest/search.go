package rest

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/simulator/internal/query"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

func (a *API) search(c *Call) {
	q := c.R.URL.Query().Get("q")
	switch {
	case !c.method(http.MethodGet):
	case q == "":
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "MALFORMED_SEARCH", Message: "A search string has to be specified"})
	case !strings.Contains(q, "{") || !strings.Contains(q, "}"):
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "MALFORMED_SEARCH", Message: "No search term found. The search term must be enclosed in braces."})
	case reserved(q) >= 0:
		c.malformedSearch(q, reserved(q))
	default:
		a.find(c, q)
	}
}

// reserved is the place of the first character of the search term that has to be escaped and is not, or -1.
func reserved(q string) int {
	start := strings.IndexByte(q, '{') + 1
	for i := start; i < len(q) && q[i] != '}'; i++ {
		switch q[i] {
		case '\\':
			i++
		case '&', '|', '!', '^', '~', '[', ']', '{':
			return i
		}
	}
	return -1
}

// malformedSearch answers with the caret below the character that stands where the term should end.
func (c *Call) malformedSearch(q string, at int) {
	col := utf8.RuneCountInString(q[:at])
	reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "MALFORMED_SEARCH", Message: fmt.Sprintf(
		"\n%s\n%s^\nERROR at Row:1:Column:%d\nline 1:%d mismatched character '%c' expecting '}'", q, strings.Repeat(" ", max(col-1, 0)), col, col, q[at])})
}

// find answers FIND {text} over the names and e-mail addresses of people and accounts.
func (a *API) find(c *Call, q string) {
	quoted := q[strings.IndexByte(q, '{')+1 : max(strings.LastIndexByte(q, '}'), strings.IndexByte(q, '{')+1)]
	term := strings.ReplaceAll(strings.ToLower(strings.Trim(quoted, " \"*")), `\`, "")
	a.DB.RLock()
	defer a.DB.RUnlock()
	b := []byte(`{"searchRecords":[`)
	found := 0
	for _, name := range []string{"Account", "Contact", "Lead", "User"} {
		if i := strings.Index(strings.ToUpper(q), "RETURNING"); i >= 0 && !strings.Contains(strings.ToLower(q[i:]), strings.ToLower(name)) {
			continue
		}
		t := a.DB.MustTable(name)
		email := t.Object.Field("Email")
		for n := uint32(1); n <= t.Count() && found < 2000; n++ {
			r := t.Row(n)
			if r.State != store.Live {
				continue
			}
			text := t.Value(n, r, t.Object.NameField)
			if email != nil {
				text += " " + t.Value(n, r, email)
			}
			if !strings.Contains(strings.ToLower(text), term) {
				continue
			}
			if found++; found > 1 {
				b = append(b, ',')
			}
			b = query.AppendAttributes(b, c.Base, t, n)
			b = append(b, fmt.Sprintf(`,"Id":"%s"}`, t.ID(n))...)
		}
	}
	reply.Raw(c.W, http.StatusOK, append(b, "]}"...))
}
