package rest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/query"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

const (
	cursorLife = 15 * time.Minute // idle
	maxCursors = 10               // open, per session
)

// cursor is an open query of a session.
type cursor struct {
	id      string
	token   string // of the session that opened it
	plan    *query.Plan
	serials []uint32
	batch   int
	used    time.Time
	all     bool
	child   bool // of one record's children: it lives beside the cursor of the records
}

// query serves /query, /queryAll and their locators.
func (a *API) query(c *Call, path []string) {
	if !c.method(http.MethodGet) {
		return
	}
	if len(path) > 0 {
		a.queryMore(c, path[0])
		return
	}
	q := c.R.URL.Query()
	all := strings.EqualFold(c.Path[0], "queryAll")
	if q.Has("explain") {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "FUNCTIONALITY_NOT_ENABLED", Message: "the simulator does not explain queries"})
		return
	}
	if !q.Has("q") {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "MALFORMED_QUERY", Message: "A query string has to be specified"})
		return
	}
	parsed, err := soql.Parse(q.Get("q"))
	if err != nil {
		c.queryError(err)
		return
	}
	a.DB.RLock()
	plan, err := query.Compile(a.DB, c.Schema, parsed, all, a.zone(c.Session.UserID))
	if err != nil {
		a.DB.RUnlock()
		c.queryError(err)
		return
	}
	defer a.DB.RUnlock()
	if strings.EqualFold(q.Get("columns"), "true") {
		reply.JSON(c.W, http.StatusOK, plan.Metadata())
		return
	}
	if plan.Grouped() {
		a.groups(c, plan)
		return
	}
	serials := plan.Find()
	if parsed.CountOnly() {
		reply.Raw(c.W, http.StatusOK, []byte(`{"totalSize":`+strconv.Itoa(len(serials))+`,"done":true,"records":[]}`))
		return
	}
	cur := &cursor{token: c.Session.Token, plan: plan, serials: serials, batch: c.batchSize(plan), all: all}
	a.page(c, cur, 0)
}

func (c *Call) queryError(err *soql.Error) {
	reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: err.Code, Message: err.Message})
}

// zone is a user's time zone; the caller holds the read lock.
func (a *API) zone(userID string) *time.Location {
	t := a.DB.MustTable("User")
	if n := t.Serial(userID); n != 0 {
		if loc, err := time.LoadLocation(t.Value(n, t.Row(n), t.Object.Field("TimeZoneSidKey"))); err == nil {
			return loc
		}
	}
	return time.UTC
}

// batchSize is the page that the client asked for, or the server's choice: smaller with long texts.
func (c *Call) batchSize(plan *query.Plan) int {
	size := 2000
	if _, fields, _ := plan.Columns(); slices.ContainsFunc(fields, query.Long) {
		size = 1000
	}
	for _, part := range strings.Split(c.R.Header.Get("Sforce-Query-Options"), ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(k, "batchSize") {
			if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
				size = min(max(n, 200), 2000)
			}
		}
	}
	return size
}

func (a *API) groups(c *Call, plan *query.Plan) {
	rows, n := plan.AppendGroups(nil)
	if n > 2000 {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "EXCEEDED_ID_LIMIT", Message: "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch"})
		return
	}
	b := append([]byte(`{"totalSize":`), strconv.Itoa(n)...)
	b = append(b, `,"done":true,"records":[`...)
	b = append(b, rows...)
	reply.Raw(c.W, http.StatusOK, append(b, "]}"...))
}

// page answers the rows from offset on; the caller holds the read lock.
func (a *API) page(c *Call, cur *cursor, offset int) {
	end := min(offset+cur.batch, len(cur.serials))
	b := make([]byte, 0, 4096)
	b = append(b, `{"totalSize":`...)
	b = strconv.AppendInt(b, int64(len(cur.serials)), 10)
	if end < len(cur.serials) {
		if cur.id == "" {
			a.open(cur)
		}
		route := "/query/"
		b = append(b, `,"done":false,"nextRecordsUrl":"`...)
		b = append(b, c.Base+route+cur.id+"-"+strconv.Itoa(end)...)
		b = append(b, `","records":[`...)
	} else {
		b = append(b, `,"done":true,"records":[`...)
	}
	out := &query.Output{Base: c.Base, Page: cur.batch, Open: func(children *query.Plan, serials []uint32) string {
		sub := &cursor{token: cur.token, plan: children, serials: serials, batch: cur.batch, all: cur.all, child: true}
		a.open(sub)
		return sub.id
	}}
	first := true
	for _, n := range cur.serials[offset:end] {
		if cur.plan.Table.Row(n).State == store.Purged {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = cur.plan.AppendRecord(b, out, n)
	}
	reply.Raw(c.W, http.StatusOK, append(b, "]}"...))
}

// open gives a cursor its locator; the session's oldest goes when it has too many.
func (a *API) open(cur *cursor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.DB.Now()
	var mine []*cursor
	for id, c := range a.cursors {
		if now.Sub(c.used) > cursorLife {
			delete(a.cursors, id)
		} else if c.token == cur.token && !c.child {
			mine = append(mine, c)
		}
	}
	slices.SortFunc(mine, func(x, y *cursor) int { return x.used.Compare(y.used) })
	for len(mine) >= maxCursors && !cur.child {
		delete(a.cursors, mine[0].id)
		mine = mine[1:]
	}
	a.cursorNo++
	cur.id = a.DB.FixedID("0r8", a.cursorNo)
	cur.used = now
	a.cursors[cur.id] = cur
}

func (a *API) queryMore(c *Call, locator string) {
	id, offset, ok := strings.Cut(locator, "-")
	n, err := strconv.Atoi(offset)
	a.mu.Lock()
	cur := a.cursors[id]
	now := a.DB.Now()
	alive := ok && err == nil && cur != nil && now.Sub(cur.used) <= cursorLife && n >= 0 && n < len(cur.serials)
	if alive {
		cur.used = now
	}
	a.mu.Unlock()
	switch {
	case cur != nil && cur.token != c.Session.Token:
		reply.Errors(c.W, http.StatusUnauthorized, reply.Error{Code: "INVALID_SESSION_ID", Message: "Session expired or invalid"})
		return
	case !alive:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "INVALID_QUERY_LOCATOR", Message: "invalid query locator"})
		return
	}
	a.DB.RLock()
	defer a.DB.RUnlock()
	one := *cur // the page writes id and batch only on a first page
	a.page(c, &one, n)
}
