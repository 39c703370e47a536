package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

// org is a simulator with a logged-in client.
type org struct {
	*simulator.Server
	t     *testing.T
	token string
}

const base = "/services/data/v67.0"

func start(t *testing.T, o simulator.Options) *org {
	t.Helper()
	if o.ExternalIDFields == nil {
		o.ExternalIDFields = []string{"Contact.CatalogUserId__c", "Lead.CatalogUserId__c"}
	}
	s, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	x := &org{Server: s, t: t}
	_, body := x.form("/services/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {s.ClientID()}, "client_secret": {s.ClientSecret()}})
	x.token = field(t, body, "access_token")
	return x
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

func (o *org) send(req *http.Request) reply {
	o.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 30 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		o.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

func (o *org) request(method, path, body string, header ...string) *http.Request {
	o.t.Helper()
	if !strings.HasPrefix(path, "/services") && !strings.HasPrefix(path, "//") {
		path = base + path
	}
	req, err := http.NewRequest(method, o.URL+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	if o.token != "" {
		req.Header.Set("Authorization", "Bearer "+o.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (o *org) do(method, path, body string, header ...string) reply {
	o.t.Helper()
	return o.send(o.request(method, path, body, header...))
}

func (o *org) form(path string, v url.Values) (int, string) {
	o.t.Helper()
	res, err := http.PostForm(o.URL+path, v)
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// want checks status and body; the body may hold one * for any run of characters.
func (o *org) want(r reply, status int, body string) {
	o.t.Helper()
	if r.status != status || !like(r.body, body) {
		o.t.Errorf("got  %d %s\nwant %d %s", r.status, r.body, status, body)
	}
}

func like(s, pattern string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return s == pattern
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		_, rest, ok := strings.Cut(s, p)
		if !ok {
			return false
		}
		s = rest
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

func field(t *testing.T, body, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	s, _ := m[name].(string)
	if s == "" {
		t.Fatalf("no %s in %s", name, body)
	}
	return s
}

func (o *org) create(object string, fields map[string]string) string {
	o.t.Helper()
	id, err := o.Create(object, fields)
	if err != nil {
		o.t.Fatal(err)
	}
	return id
}

func (o *org) query(q string) reply {
	o.t.Helper()
	return o.do("GET", "/query?q="+url.QueryEscape(q), "")
}

// ingest runs a Bulk ingest job to its end and gives its id and last info.
func (o *org) ingest(create, csv string) (id, info string) {
	o.t.Helper()
	id = o.open(create, csv)
	o.want(o.do("PATCH", "/jobs/ingest/"+id, `{"state":"UploadComplete"}`), 200, `*"state":"UploadComplete"*`)
	return id, o.ended("ingest", id)
}

// open makes an ingest job and uploads its rows.
func (o *org) open(create, csv string) string {
	o.t.Helper()
	r := o.do("POST", "/jobs/ingest", create)
	if r.status != 200 {
		o.t.Fatalf("create job: %d %s", r.status, r.body)
	}
	id := field(o.t, r.body, "id")
	o.want(o.do("PUT", "/jobs/ingest/"+id+"/batches", csv, "Content-Type", "text/csv; charset=UTF-8"), 201, "")
	return id
}

// ended polls a job until it ends.
func (o *org) ended(kind, id string) string {
	o.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		r := o.do("GET", "/jobs/"+kind+"/"+id, "")
		switch field(o.t, r.body, "state") {
		case "JobComplete", "Failed", "Aborted":
			return r.body
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("job did not end: %s", r.body)
		}
	}
}

// eventually waits for what a job does in the background.
func (o *org) eventually(done func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			o.t.Fatal("it did not come to be")
		}
	}
}
