// Package rest owns the REST API below /services/data/vNN.0, the Bulk jobs excepted: it reads requests, hands records to
// the save pipeline and queries to package query, and answers in Salesforce's shapes.
package rest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/oauth"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// OldestVersion is the first version that is not retired.
const OldestVersion = 31

// API answers REST calls of one org. Its methods may be called at the same time.
type API struct {
	DB       *store.DB
	Pipeline *save.Pipeline
	OrgID    string
	Newest   int // newest version: 67
	Limit    int // API requests per 24 hours
	Used     atomic.Int64

	mu       sync.Mutex
	cursors  map[string]*cursor
	cursorNo uint32
	state    uint64    // of the schema when it was last looked at
	changed  time.Time // of the schema
	etag     string
	views    map[string]view // of the schema, by user
}

// New makes the REST side of an org.
func New(db *store.DB, p *save.Pipeline, orgID string, newest, limit int) *API {
	a := &API{DB: db, Pipeline: p, OrgID: orgID, Newest: newest, Limit: limit, cursors: map[string]*cursor{}, views: map[string]view{}}
	a.noticeSchema()
	return a
}

// Call is one request below a version root.
type Call struct {
	W         http.ResponseWriter
	R         *http.Request
	Version   string   // "67.0"
	Base      string   // "/services/data/v67.0"
	Path      []string // unescaped segments below Base
	Session   *oauth.Session
	RequestID string
	Origin    string
	Schema    *schema.Schema // as the session's user sees it
	Tx        *save.Tx       // of a composite request that stands or falls as one
}

// Caller is who saves on behalf of the call.
func (c *Call) Caller() save.Caller {
	h := strings.ToLower(strings.ReplaceAll(c.R.Header.Get("Sforce-Duplicate-Rule-Header"), " ", ""))
	return save.Caller{UserID: c.Session.UserID, RequestID: c.RequestID, CallOptions: c.R.Header.Get("Sforce-Call-Options"), Schema: c.Schema, AllowSave: strings.Contains(h, "allowsave=true"), Tx: c.Tx}
}

// Number is the call's version as a number: 67.
func (c *Call) Number() int {
	n, _, _ := strings.Cut(c.Version, ".")
	v, _ := strconv.Atoi(n)
	return v
}

// ParseVersion reads "v67.0" if the org serves that version; retired tells a version that once was.
func (a *API) ParseVersion(s string) (version string, retired, ok bool) {
	digits, cut := strings.CutPrefix(strings.ToLower(s), "v")
	whole, frac, dot := strings.Cut(digits, ".")
	n, err := strconv.Atoi(whole)
	if !cut || err != nil || !dot || frac != "0" || n < 1 || n > a.Newest {
		return "", false, false
	}
	return digits, n < OldestVersion, true
}

// Segments splits an escaped path into unescaped segments, empty ones left out.
func Segments(escaped string) []string {
	var out []string
	for _, s := range strings.Split(escaped, "/") {
		if s == "" {
			continue
		}
		if u, err := url.PathUnescape(s); err == nil {
			s = u
		}
		out = append(out, s)
	}
	return out
}

// Versions answers GET /services/data.
func (a *API) Versions(w http.ResponseWriter) {
	type version struct {
		Label   string `json:"label"`
		URL     string `json:"url"`
		Version string `json:"version"`
	}
	var out []version
	for v := OldestVersion; v <= a.Newest; v++ {
		season := [...]string{"Summer", "Winter", "Spring"}[(v-OldestVersion)%3]
		mark := "'"
		if v == 42 {
			mark = "’"
		}
		n := strconv.Itoa(v) + ".0"
		out = append(out, version{season + " " + mark + strconv.Itoa(14+(v-OldestVersion+2)/3), "/services/data/v" + n, n})
	}
	reply.JSON(w, http.StatusOK, out)
}

// Serve answers a call to anything but the Bulk jobs.
func (a *API) Serve(c *Call) {
	if len(c.Path) == 0 {
		a.resources(c)
		return
	}
	rest := c.Path[1:]
	switch strings.ToLower(c.Path[0]) {
	case "sobjects":
		a.sobjects(c, rest)
	case "query", "queryall":
		a.query(c, rest)
	case "limits":
		a.limits(c, rest)
	case "composite":
		a.composite(c, rest)
	case "recent":
		reply.JSON(c.W, http.StatusOK, []string{})
	case "analytics":
		a.analytics(c, rest)
	case "tooling":
		a.tooling(c, rest)
	case "search":
		a.search(c)
	case "parameterizedsearch":
		reply.Raw(c.W, http.StatusOK, []byte(`{"searchRecords":[]}`))
	default:
		reply.NotFound(c.W)
	}
}

// method refuses other methods than those allowed; HEAD goes wherever GET does.
func (c *Call) method(allowed ...string) bool {
	m := c.R.Method
	if m == http.MethodPost && c.R.URL.Query().Get("_HttpMethod") != "" {
		m = strings.ToUpper(c.R.URL.Query().Get("_HttpMethod"))
	}
	for _, a := range allowed {
		if m == a || m == http.MethodHead && a == http.MethodGet {
			return true
		}
	}
	list := append([]string(nil), allowed...)
	for i, a := range list {
		if a == http.MethodGet {
			list = append(list[:i+1], append([]string{http.MethodHead}, list[i+1:]...)...)
			break
		}
	}
	reply.MethodNotAllowed(c.W, m, strings.Join(list, ","))
	return false
}

// verb is the request's method after ?_HttpMethod=.
func (c *Call) verb() string {
	if c.R.Method == http.MethodPost {
		if m := c.R.URL.Query().Get("_HttpMethod"); m != "" {
			return strings.ToUpper(m)
		}
	}
	return c.R.Method
}

func (a *API) resources(c *Call) {
	if !c.method(http.MethodGet) {
		return
	}
	type kv struct{ k, v string }
	list := []kv{
		{"tooling", ""},
		{"metadata", ""},
		{"eclair", ""},
		{"folders", ""},
		{"jsonxform", ""},
		{"chatter", ""},
		{"payments", ""},
		{"scheduling", ""},
		{"tabs", ""},
		{"appMenu", ""},
		{"quickActions", ""},
		{"queryAll", ""},
		{"commerce", ""},
		{"wave", ""},
		{"iot", ""},
		{"analytics", ""},
		{"search", ""},
		{"smartdatadiscovery", ""},
		{"identity", "id"},
		{"composite", ""},
		{"parameterizedSearch", ""},
		{"theme", ""},
		{"nouns", ""},
		{"sobjects", ""},
		{"event", ""},
		{"serviceTemplates", ""},
		{"recent", ""},
		{"connect", ""},
		{"licensing", ""},
		{"limits", ""},
		{"process", ""},
		{"async-queries", ""},
		{"query", ""},
		{"jobs", ""},
		{"match", ""},
		{"localizedvalue", ""},
		{"mobile", ""},
		{"emailConnect", ""},
		{"knowledgeManagement", ""},
		{"support", ""},
		{"actions", ""},
		{"sfdc_survey_subscription", ""},
	}
	var b []byte
	b = append(b, '{')
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		v := c.Base + "/" + e.k
		if e.v == "id" {
			v = c.Origin + "/id/" + a.OrgID + "/" + c.Session.UserID
		}
		b = append(b, strconv.Quote(e.k)+":"+strconv.Quote(v)...)
	}
	reply.Raw(c.W, http.StatusOK, append(b, '}'))
}

// fail answers the errors of a single-record save.
func (c *Call) fail(errs []save.Error) {
	status := http.StatusBadRequest
	out := make([]reply.Error, len(errs))
	for i, e := range errs {
		if e.Status != 0 {
			status = e.Status
		}
		out[i] = reply.Error{Code: e.Code, Message: e.Message, Detail: withBase(e.Detail, c.Base)}
		if !e.Bare {
			out[i].Fields = append([]string{}, e.Fields...)
		}
	}
	if len(errs) == 1 && errs[0].Code == "INVALID_CROSS_REFERENCE_KEY" && status == http.StatusNotFound {
		reply.NotFound(c.W)
		return
	}
	reply.Errors(c.W, status, out...)
}

// withBase completes the record URLs of a duplicate-rule detail with the version asked.
func withBase(detail any, base string) any {
	if d, ok := detail.(interface{ WithBase(string) any }); ok {
		return d.WithBase(base)
	}
	return detail
}
