package rest

import (
	_ "embed"
	"net/http"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
)

//go:embed limits.txt
var limitTable string

// limits serves /limits and /limits/recordCount.
func (a *API) limits(c *Call, path []string) {
	if !c.method(http.MethodGet) {
		return
	}
	switch {
	case len(path) == 0:
		reply.Raw(c.W, http.StatusOK, a.limitBody())
	case len(path) == 1 && strings.EqualFold(path[0], "recordCount"):
		a.recordCount(c)
	default:
		reply.NotFound(c.W)
	}
}

// limitBody writes the table `name max remaining`; an indented line nests in the one above.
func (a *API) limitBody() []byte {
	b := []byte{'{'}
	open := false
	for _, line := range strings.Split(strings.TrimSpace(limitTable), "\n") {
		nested := strings.HasPrefix(line, " ")
		f := strings.Fields(line)
		maximum, remaining := f[1], f[2]
		if f[0] == "DailyApiRequests" {
			maximum, remaining = strconv.Itoa(a.Limit), strconv.FormatInt(max(int64(a.Limit)-a.Used.Load(), 0), 10)
		}
		switch {
		case open && !nested:
			b = append(b, "},"...)
		case nested:
			b = append(b, ',')
		}
		b = append(b, `"`+f[0]+`":{"Max":`+maximum+`,"Remaining":`+remaining...)
		if nested {
			b = append(b, '}')
		}
		open = true
	}
	return append(b, "}}"...)
}

func (a *API) recordCount(c *Call) {
	type count struct {
		Count int    `json:"count"`
		Name  string `json:"name"`
	}
	out := []count{}
	a.DB.RLock()
	names := split(c.R.URL.Query().Get("sObjects"))
	if len(names) == 0 {
		names = c.Schema.Names()
	}
	for _, name := range names {
		if o := c.Schema.Object(name); o != nil {
			if n := a.DB.Table(o.Name).Live(); n > 0 {
				out = append(out, count{n, o.Name})
			}
		}
	}
	a.DB.RUnlock()
	reply.JSON(c.W, http.StatusOK, map[string][]count{"sObjects": out})
}
