//go:build bench

// Package bench_test measures the write run against the floor of the bare API calls, and what a run is made of against
// floors of its own, on one machine, and writes docs/benchmarks.md. `make bench` runs it.
package bench_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

var (
	sizes = flag.String("people", "10000,100000,1000000", "numbers of people, separated by commas")
	out   = flag.String("out", "../../docs/benchmarks.md", "file to write; empty: none")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

const externalID = "CatalogUserId__c"

// row is one line of the page.
type row struct {
	People                   int
	Shape                    string
	Rate                     string
	FloorFirst, First        time.Duration
	FloorNightly, Nightly    time.Duration
	FirstCalls, NightlyCalls int64
	WorkerPeak               int64 // bytes
	Unchanged, Updated       int64
}

func TestBench(t *testing.T) {
	var rows []row
	for _, text := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("-people: %v", err)
		}
		for _, rate := range []int{5000, 0} {
			if rate > 0 && n > 100_000 {
				continue // at an org's rate a million rows take as long as they take: the ratio is that of 100,000
			}
			rows = append(rows, measure(t, n, rate))
		}
	}
	// The parts, and what people wrote below, stay.
	_, parts, budgets := sections()
	page := render(rows) + parts + budgets
	t.Log("\n" + page)
	if *out != "" {
		if err := os.WriteFile(*out, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func org(t *testing.T, rate int) *simulator.Server {
	t.Helper()
	o, err := simulator.Start(simulator.Options{ExternalIDFields: []string{"Contact." + externalID}, DailyLimit: 1_000_000, BulkRate: rate})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func measure(t *testing.T, people, rate int) row {
	r := row{People: people, Shape: "apart", Rate: "unlimited"}
	if rate > 0 {
		r.Rate = fmt.Sprintf("%d rows/s", rate)
	}
	t.Run(fmt.Sprintf("%d at %s", people, r.Rate), func(t *testing.T) {
		var first, second bytes.Buffer
		for b, o := range map[*bytes.Buffer]sample.Options{&first: {People: people, Seed: 1}, &second: {People: people, Seed: 1, Changed: 0.01, ChangeSeed: 2}} {
			if err := sample.WriteCSV(b, o); err != nil {
				t.Fatal(err)
			}
		}
		upload := prepared(t, first.Bytes())
		floor := org(t, rate)
		r.FloorFirst = bareUpload(t, floor, upload)
		r.FloorNightly = bareQuery(t, floor)
		_ = floor.Close()
		runtime.GC()

		o := org(t, rate)
		defer func() { _ = o.Close() }()
		s := harness.FiveProcesses(t, harness.Apart{Workers: 1, Schedulers: 1}, o.URL)
		x := s.Tenant(t, "bench")
		x.Link(t, o)
		x.SaveMap(t, "Contact", externalID)
		x.Import(t, first.Bytes(), directoryv1.ImportMode_IMPORT_MODE_FULL)
		run := timed(t, x, &r.First)
		r.FirstCalls = run.GetApiCalls()
		x.Import(t, second.Bytes(), directoryv1.ImportMode_IMPORT_MODE_FULL)
		run = timed(t, x, &r.Nightly)
		r.NightlyCalls, r.Updated, r.Unchanged = run.GetApiCalls(), run.GetCounts().GetUpdated(), run.GetCounts().GetUnchanged()
		r.WorkerPeak = peak(t, s.Workers[0].PID())
	})
	return r
}

func timed(t *testing.T, x *harness.Tenant, d *time.Duration) *syncv1.Run {
	t.Helper()
	run := x.Wait(t, x.Start(t, &syncv1.StartRunRequest{}).GetId(), time.Hour)
	harness.Want(t, run, syncv1.RunState_RUN_STATE_SUCCEEDED, nil)
	*d = run.GetEndedAt().AsTime().Sub(run.GetRequestedAt().AsTime())
	return run
}

// prepared is the file that somebody would upload by hand: the same columns as the field map's.
func prepared(t *testing.T, file []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	header := []string{externalID}
	for _, p := range harness.Pairs("Contact") {
		header = append(header, p[1])
	}
	_ = w.Write(header)
	for _, p := range harness.ReadPeople(t, file) {
		line := []string{p["id"]}
		for _, pair := range harness.Pairs("Contact") {
			line = append(line, p[pair[0]])
		}
		_ = w.Write(line)
	}
	w.Flush()
	return b.Bytes()
}

// bare is plain HTTP: no retries, no checks.
type bare struct {
	t     *testing.T
	url   string
	token string
}

func login(t *testing.T, o *simulator.Server) bare {
	t.Helper()
	res, err := http.PostForm(o.URL+"/services/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {o.ClientID()}, "client_secret": {o.ClientSecret()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.AccessToken == "" {
		t.Fatalf("log in: %v %v", res.Status, err)
	}
	return bare{t, o.URL + "/services/data/v67.0/", token.AccessToken}
}

func (b bare) do(method, path, contentType string, body io.Reader, into any) http.Header {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	req.Header.Set("Content-Type", contentType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		b.t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, res.Body)
	} else {
		err = json.NewDecoder(res.Body).Decode(into)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return res.Header
}

type bulkJob struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

func (b bare) await(path string) {
	b.t.Helper()
	for wait := time.NewTicker(100 * time.Millisecond); ; <-wait.C {
		var j bulkJob
		b.do("GET", path, "", nil, &j)
		switch j.State {
		case "JobComplete":
			return
		case "Failed", "Aborted":
			b.t.Fatalf("%s ended %s", path, j.State)
		}
	}
}

// bareUpload is the floor of a first sync: Bulk uploads of the prepared file, as many as its size needs, until their
// results are read.
func bareUpload(t *testing.T, o *simulator.Server, file []byte) time.Duration {
	t.Helper()
	b := login(t, o)
	began := time.Now()
	header, rest, _ := bytes.Cut(file, []byte("\n"))
	for len(rest) > 0 {
		n := len(rest)
		if most := 90 << 20; n > most {
			n = bytes.LastIndexByte(rest[:most], '\n') + 1
		}
		var j bulkJob
		b.do("POST", "jobs/ingest", "application/json", strings.NewReader(`{"object":"Contact","operation":"upsert","externalIdFieldName":"`+externalID+`","contentType":"CSV","lineEnding":"LF"}`), &j)
		b.do("PUT", "jobs/ingest/"+j.ID+"/batches", "text/csv", io.MultiReader(bytes.NewReader(header), strings.NewReader("\n"), bytes.NewReader(rest[:n])), nil)
		b.do("PATCH", "jobs/ingest/"+j.ID, "application/json", strings.NewReader(`{"state":"UploadComplete"}`), nil)
		b.await("jobs/ingest/" + j.ID)
		b.do("GET", "jobs/ingest/"+j.ID+"/successfulResults", "", nil, nil)
		b.do("GET", "jobs/ingest/"+j.ID+"/failedResults", "", nil, nil)
		rest = rest[n:]
	}
	return time.Since(began)
}

// bareQuery is the floor of a nightly run: one Bulk query of the table until it is read.
func bareQuery(t *testing.T, o *simulator.Server) time.Duration {
	t.Helper()
	b := login(t, o)
	began := time.Now()
	var j bulkJob
	b.do("POST", "jobs/query", "application/json", strings.NewReader(`{"operation":"query","query":"SELECT Id, `+externalID+`, FirstName, LastName, Email, Phone, MobilePhone, Title, Department, MailingCity, MailingPostalCode FROM Contact"}`), &j)
	b.await("jobs/query/" + j.ID)
	for locator := ""; locator != "null"; {
		h := b.do("GET", "jobs/query/"+j.ID+"/results?locator="+url.QueryEscape(locator), "", nil, nil)
		locator = h.Get("Sforce-Locator")
	}
	return time.Since(began)
}

// peak is the most memory that a process ever had, in bytes.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

func render(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Made by `+"`make bench`"+` on %s: %s/%s, %d CPUs, %s. Everything ran on this one machine: NATS server, PostgreSQL,
one worker, the other services, the simulated org and the bare calls of the floor, so absolute times mean little and
ratios somewhat more.

The **floor** is the bare work against the same simulator, without plan, ledger, read-back or anything kept: for a first
sync, Bulk uploads of the prepared CSV until their results are read; for a nightly run, one Bulk query of the table until
it is read. The nightly run finds 1 %% of the people changed. Times of runs are from request to end, verify included.

| people | org takes | first sync | floor | ratio | rows/s | API calls | nightly | floor | ratio | rows/s | API calls | worker peak memory |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
`, time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu())
	for _, r := range rows {
		fmt.Fprintf(&b, "| %d | %s | %.1f s | %.1f s | %.2f | %.0f | %d | %.1f s | %.1f s | %.2f | %.0f | %d | %d MiB |\n",
			r.People, r.Rate, r.First.Seconds(), r.FloorFirst.Seconds(), r.First.Seconds()/r.FloorFirst.Seconds(), float64(r.People)/r.First.Seconds(), r.FirstCalls,
			r.Nightly.Seconds(), r.FloorNightly.Seconds(), r.Nightly.Seconds()/r.FloorNightly.Seconds(), float64(r.People)/r.Nightly.Seconds(), r.NightlyCalls, r.WorkerPeak>>20)
	}
	return b.String()
}

func cpu() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if _, name, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(line, "model name") {
			return strings.TrimSpace(name)
		}
	}
	return "CPU unknown"
}
