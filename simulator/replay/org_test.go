package replay_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

// org is a simulator with a logged-in client, and the API version that a capture was made with.
type org struct {
	*simulator.Server
	t       *testing.T
	dir     string // of the captures
	token   string
	version string
}

func start(t *testing.T, dir, version string, options simulator.Options) *org {
	t.Helper()
	options.DailyLimit = 15_000
	options.ExternalIDFields = append(options.ExternalIDFields, "Opportunity.external_id__c", "Contact.CatalogUserId__c")
	s, err := simulator.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &org{Server: s, t: t, dir: dir, token: s.AccessToken(), version: version}
}

// capture is the text of a captured file.
func (o *org) capture(file string) string {
	o.t.Helper()
	text, err := os.ReadFile(filepath.Join(o.dir, file))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(text)
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// do makes a request; a path that starts with a slash is taken whole, others stand below the version.
func (o *org) do(method, path, body string, header ...string) reply {
	o.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/services/data/v" + o.version + "/" + path
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
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

func (o *org) get(path string) reply { o.t.Helper(); return o.do("GET", path, "") }

func (o *org) query(q string) reply { o.t.Helper(); return o.get("query?q=" + url.QueryEscape(q)) }

func (o *org) form(path string, pairs ...string) reply {
	o.t.Helper()
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	o.token = ""
	return o.do("POST", path, v.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// create makes a record behind the client's back from names and values in turn.
func (o *org) create(object string, pairs ...string) string {
	o.t.Helper()
	fields := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i]] = pairs[i+1]
	}
	id, err := o.Create(object, fields)
	if err != nil {
		o.t.Fatal(err)
	}
	return id
}

// like makes a record with the values of a captured one, as far as a client may set them: lookups and what the org
// itself sets are left out. More names and values in turn are added, or stand instead of captured ones.
func (o *org) like(object string, captured *node, more ...string) string {
	o.t.Helper()
	var d struct {
		Fields []struct {
			Name, Type string
			Createable bool
		}
	}
	if err := json.Unmarshal([]byte(o.get("sobjects/"+object+"/describe").body), &d); err != nil {
		o.t.Fatal(err)
	}
	var pairs []string
	for _, f := range d.Fields {
		v := captured.at(f.Name)
		if v == nil || v.kind == "null" || !f.Createable || f.Type == "reference" {
			continue
		}
		pairs = append(pairs, f.Name, v.text)
	}
	return o.create(object, append(pairs, more...)...)
}

// id is the id in a reply.
func (o *org) id(r reply) string {
	o.t.Helper()
	n := parse(o.t, "reply", r.body).at("id")
	if n == nil {
		o.t.Fatalf("no id in %d %s", r.status, r.body)
	}
	return n.text
}

// upload opens an ingest job and sends its rows.
func (o *org) upload(create, csv string) string {
	o.t.Helper()
	id := o.id(o.do("POST", "jobs/ingest", create))
	if r := o.do("PUT", "jobs/ingest/"+id+"/batches", csv, "Content-Type", "text/csv"); r.status != http.StatusCreated {
		o.t.Fatalf("upload: %d %s", r.status, r.body)
	}
	return id
}

// run uploads rows, closes the job, and waits until it is in one of the states.
func (o *org) run(create, csv string, states ...string) string {
	o.t.Helper()
	id := o.upload(create, csv)
	if r := o.do("PATCH", "jobs/ingest/"+id, `{"state":"UploadComplete"}`); r.status != http.StatusOK {
		o.t.Fatalf("close: %d %s", r.status, r.body)
	}
	o.await("jobs/ingest/"+id, states...)
	return id
}

func (o *org) await(path string, states ...string) {
	o.t.Helper()
	if len(states) == 0 {
		states = []string{"JobComplete"}
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		r := o.get(path)
		for _, s := range states {
			if strings.Contains(r.body, `"state":"`+s+`"`) {
				return
			}
		}
	}
	o.t.Fatalf("%s did not get to %v: %s", path, states, o.get(path).body)
}
