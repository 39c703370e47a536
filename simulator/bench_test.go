package simulator_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

// bench is a simulator for benchmarks.
type bench struct {
	*simulator.Server
	b     *testing.B
	token string
}

func startBench(b *testing.B, o simulator.Options) *bench {
	b.Helper()
	o.ExternalIDFields = []string{"Contact.CatalogUserId__c"}
	s, err := simulator.Start(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return &bench{s, b, s.AccessToken()}
}

func (x *bench) do(method, path, contentType string, body io.Reader, sink io.Writer) (http.Header, int64) {
	x.b.Helper()
	req, err := http.NewRequest(method, x.URL+base+path, body)
	if err != nil {
		x.b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+x.token)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept-Encoding", "identity")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		x.b.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(sink, res.Body)
	if err != nil || res.StatusCode >= 300 {
		x.b.Fatal(res.Status, err, path)
	}
	return res.Header, n
}

func (x *bench) text(method, path, body string) string {
	x.b.Helper()
	var s strings.Builder
	x.do(method, path, "application/json", strings.NewReader(body), &s)
	return s.String()
}

func (x *bench) id(body string) string {
	_, rest, _ := strings.Cut(body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

func (x *bench) wait(kind, id string) {
	x.b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(x.text("GET", "/jobs/"+kind+"/"+id, ""), `"JobComplete"`) {
		<-tick.C
	}
}

// people makes rows of ten columns.
func people(from, n int) string {
	var s strings.Builder
	s.WriteString("CatalogUserId__c,FirstName,LastName,Email,Phone,Title,Department,MailingCity,MailingCountry,Birthdate\n")
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&s, "user-%07d,First%d,Last %d,person%d@company%d.example,+1 555 %07d,Engineer,Department %d,Springfield,USA,1980-%02d-%02d\n", i, i%1000, i, i, i%500, i, i%50, i%12+1, i%28+1)
	}
	return s.String()
}

func (x *bench) load(csv string) {
	x.b.Helper()
	id := x.id(x.text("POST", "/jobs/ingest", upsertJob))
	x.do("PUT", "/jobs/ingest/"+id+"/batches", "text/csv", strings.NewReader(csv), io.Discard)
	x.text("PATCH", "/jobs/ingest/"+id, `{"state":"UploadComplete"}`)
	x.wait("ingest", id)
	if n := x.text("GET", "/jobs/ingest/"+id, ""); !strings.Contains(n, `"numberRecordsFailed":0`) {
		x.b.Fatal(n)
	}
	x.do("GET", "/jobs/ingest/"+id+"/successfulResults?maxRecords=1000000", "application/json", nil, io.Discard)
	x.do("DELETE", "/jobs/ingest/"+id, "application/json", nil, io.Discard)
}

// BenchmarkIngest uploads, processes and reads the results of 100,000 rows of ten columns.
func BenchmarkIngest(b *testing.B) {
	csv := people(0, 100_000)
	for b.Loop() {
		x := startBench(b, simulator.Options{})
		x.load(csv)
		if x.Count("Contact") != 100_000 {
			b.Fatal(x.Count("Contact"))
		}
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkMillion fills an org with 1,000,000 Contacts, tells its memory, and measures queries on it.
func BenchmarkMillion(b *testing.B) {
	x := startBench(b, simulator.Options{})
	const n = 1_000_000
	for i := 0; i < n; i += 100_000 {
		x.load(people(i, 100_000))
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	heap := float64(m.HeapAlloc) / (1 << 20)
	b.Run("BulkQuery", func(b *testing.B) {
		for b.Loop() {
			id := x.id(x.text("POST", "/jobs/query", `{"operation":"query","query":"SELECT Id, FirstName, LastName, Email, Phone, Title, Department, MailingCity, CatalogUserId__c, SystemModstamp FROM Contact"}`))
			x.wait("query", id)
			for locator := ""; ; {
				h, _ := x.do("GET", "/jobs/query/"+id+"/results?maxRecords=100000"+locator, "application/json", nil, io.Discard)
				if h.Get("Sforce-Locator") == "null" {
					break
				}
				locator = "&locator=" + h.Get("Sforce-Locator")
			}
			x.do("DELETE", "/jobs/query/"+id, "application/json", nil, io.Discard)
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(heap, "org-MiB")
	})
	one := x.text("GET", "/query?q="+url.QueryEscape("SELECT Id FROM Contact WHERE CatalogUserId__c = 'user-0500000'"), "")
	_, rest, _ := strings.Cut(one, `"Id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	for name, where := range map[string]string{
		"ByExternalID": "WHERE CatalogUserId__c = 'USER-0123456'", "ByEmail": "WHERE Email = 'Person777777@company277.example'", "ByID": "WHERE Id = '" + id + "'",
		"Scan": "WHERE FirstName = 'nobody'", "Modified": "WHERE SystemModstamp > 2999-01-01T00:00:00Z ORDER BY SystemModstamp, Id", "Order": "ORDER BY LastName DESC LIMIT 10", "Count": "WHERE MailingCity = 'x' AND Department LIKE 'Y%'",
	} {
		b.Run(name, func(b *testing.B) {
			q := "/query?q=" + url.QueryEscape("SELECT Id, Name FROM Contact "+where)
			for b.Loop() {
				x.do("GET", q, "application/json", nil, io.Discard)
			}
		})
	}
}

// BenchmarkNew is what a test pays for an org of its own.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		s, err := simulator.New(simulator.Options{ExternalIDFields: []string{"Contact.CatalogUserId__c"}})
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}
