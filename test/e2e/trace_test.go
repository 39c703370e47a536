package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	metricsv1 "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/test/harness"
)

// receiver takes what the processes export over OTLP, as a collector does.
type receiver struct {
	tracev1.UnimplementedTraceServiceServer
	addr string

	mu    sync.Mutex
	spans []exported
	texts map[string]string // every text that was exported -> where it stood
}

// exported is a span and the service that sent it.
type exported struct {
	*tracepb.Span
	service string
}

// metrics takes metrics; only their texts are looked at.
type metrics struct {
	metricsv1.UnimplementedMetricsServiceServer
	r *receiver
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{addr: lis.Addr().String(), texts: map[string]string{}}
	srv := grpc.NewServer()
	tracev1.RegisterTraceServiceServer(srv, r)
	metricsv1.RegisterMetricsServiceServer(srv, &metrics{r: r})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *receiver) Export(_ context.Context, req *tracev1.ExportTraceServiceRequest) (*tracev1.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		service := attribute(rs.GetResource().GetAttributes(), "service.name")
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.spans = append(r.spans, exported{s, service})
				r.note(s, "span "+s.GetName()+" of "+service)
			}
		}
		r.note(rs.GetResource(), "the resource of "+service)
	}
	return &tracev1.ExportTraceServiceResponse{}, nil
}

func (m *metrics) Export(_ context.Context, req *metricsv1.ExportMetricsServiceRequest) (*metricsv1.ExportMetricsServiceResponse, error) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	m.r.note(req, "metrics")
	return &metricsv1.ExportMetricsServiceResponse{}, nil
}

// note keeps every text in a message, whatever field holds it: names, attributes, events, status.
func (r *receiver) note(m proto.Message, where string) {
	texts(m.ProtoReflect(), func(s string) { r.texts[s] = where })
}

func texts(m protoreflect.Message, fn func(string)) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		one := func(v protoreflect.Value) {
			switch f.Kind() {
			case protoreflect.MessageKind:
				texts(v.Message(), fn)
			case protoreflect.StringKind:
				fn(v.String())
			case protoreflect.BytesKind:
				if !strings.HasSuffix(string(f.Name()), "_id") { // ids of spans and traces are random
					fn(string(v.Bytes()))
				}
			}
		}
		if !f.IsList() {
			one(v)
			return true
		}
		for i := range v.List().Len() {
			one(v.List().Get(i))
		}
		return true
	})
}

func attribute(attrs []*commonpb.KeyValue, key string) string {
	for _, a := range attrs {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// trace returns the spans of one trace that have arrived so far.
func (r *receiver) trace(id trace.TraceID) []exported {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []exported
	for _, s := range r.spans {
		if trace.TraceID(s.GetTraceId()) == id {
			found = append(found, s)
		}
	}
	return found
}

// find returns where a text stands that holds the given one, whatever its case.
func (r *receiver) find(part string) (text, where string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s, w := range r.texts {
		if strings.Contains(strings.ToLower(s), strings.ToLower(part)) {
			return s, w
		}
	}
	return "", ""
}

// missing says which of the wanted spans, "service: name" each, are not among the spans.
func missing(spans []exported, want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(w string) bool {
		return slices.ContainsFunc(spans, func(s exported) bool { return s.service+": "+s.GetName() == w })
	})
}

// orphans are spans whose parent is neither in the trace nor the client's.
func orphans(spans []exported, client trace.SpanID) []string {
	have := map[string]bool{string(client[:]): true}
	for _, s := range spans {
		have[string(s.GetSpanId())] = true
	}
	var lost []string
	for _, s := range spans {
		if !have[string(s.GetParentSpanId())] {
			lost = append(lost, s.service+": "+s.GetName())
		}
	}
	return lost
}

// click is the context of somebody who presses a button in a program that traces: its span is the parent of all.
func click(ctx context.Context) (context.Context, trace.SpanContext) {
	var cfg trace.SpanContextConfig
	_, _ = rand.Read(cfg.TraceID[:]) // never fails
	_, _ = rand.Read(cfg.SpanID[:])
	cfg.TraceFlags = trace.FlagsSampled
	sc := trace.NewSpanContext(cfg)
	return trace.ContextWithSpanContext(ctx, sc), sc
}

const gatewaySpans = "gateway: catalogsync.sync.v1.RunService/StartRun"

// What a run leaves behind in its trace, whichever way its changes go.
var everyRun = []string{
	gatewaySpans, "sync-worker: catalogsync.sync.v1.RunService/StartRun",
	"sync-worker: task prepare", "sync-worker: task snapshot", "sync-worker: task pull", "sync-worker: task plan",
	"sync-worker: task apply", "sync-worker: task verify", "sync-worker: task close",
	"mapper: catalogsync.mapper.v1.FieldMapService/GetFieldMap", "mapper: catalogsync.mapper.v1.MapperService/CheckFieldMap",
	"mapper: catalogsync.mapper.v1.MapperService/MatchKeys", "mapper: catalogsync.mapper.v1.MapperService/MapPeople",
	"auth: catalogsync.auth.v1.TokenService/GetAccessToken",
	"sync-worker: salesforce describe", "sync-worker: send CATALOGSYNC_ROWS", "sync-worker: send CATALOGSYNC_CHANGES",
	"sync-worker: send CATALOGSYNC_OUTCOMES",
}

// One trace leads from the button to the batch, through every process, and tells nothing about anybody.
func TestTrace(t *testing.T) {
	t.Parallel()
	const canary = "zqx" // in every name, e-mail address and secret
	collector := startReceiver(t)
	org := startOrg(t, func(o *simulator.Options) { o.ClientSecret = canary + "-secret" })
	s := harness.FiveProcesses(t, harness.Apart{
		Workers: 2, Schedulers: 1, Flags: []string{"-otlp-endpoint", collector.addr, "-otlp-insecure"},
		WorkerFlags: []string{"-lease-ttl", "2m"}, // a task that is begun twice would call Salesforce twice
	}, org.URL)
	j := newJob(t, s, org, "Contact", externalID)

	file := func(n int, title string) []byte {
		var b strings.Builder
		b.WriteString("id,email,first_name,last_name,title\n")
		for i := range n {
			fmt.Fprintf(&b, "p%d,%s.%d@%s.example,First%s%d,Last%s%d,%s\n", i, canary, i, canary, canary, i, canary, i, title)
		}
		fmt.Fprintf(&b, "nobody,%s.no.address,First%s,Last%s,x\n", canary, canary, canary) // rejected, with its value in the reason
		return []byte(b.String())
	}
	// Salesforce refuses one row in words that quote a person.
	org.Faults().MustAdd(fault.Rule{Kind: fault.RowError, Path: "Contact", Count: 1, Code: "CUSTOM_VALIDATION", Message: "Last" + canary + " is not welcome."})

	grpcButton := func() (*syncv1.Run, trace.SpanContext) {
		ctx, sc := click(t.Context())
		res, err := j.x.Runs.StartRun(j.x.Context(ctx), &syncv1.StartRunRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRun(), sc
	}
	httpButton := func() (*syncv1.Run, trace.SpanContext) {
		ctx, sc := click(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.HTTP+"/v1/runs", strings.NewReader(`{"request_id":"button"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+j.x.Token())
		req.Header.Set("Traceparent", fmt.Sprintf("00-%s-%s-01", sc.TraceID(), sc.SpanID()))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("start over HTTP: %s: %s (%v)", res.Status, body, err)
		}
		return j.x.Start(t, &syncv1.StartRunRequest{RequestId: "button"}), sc // the same request is the same run
	}
	rounds := []struct {
		name   string
		title  string
		people int
		press  func() (*syncv1.Run, trace.SpanContext)
		counts map[string]int64
		spans  []string
	}{
		{"Bulk jobs, over gRPC", "Engineer", 2100, grpcButton, map[string]int64{"created": 2099, "failed": 1, "rejected": 1}, []string{
			"sync-worker: salesforce ingest.create", "sync-worker: salesforce ingest.upload", "sync-worker: salesforce ingest.close",
		}},
		{"Collections, over HTTP", "Doctor", 150, httpButton, map[string]int64{"people": 151, "failed": 0, "rejected": 1}, []string{
			"gateway: HTTP POST", "sync-worker: salesforce collections.update",
		}},
	}
	for _, round := range rounds {
		j.x.Import(t, file(round.people, round.title), directoryv1.ImportMode_IMPORT_MODE_FULL)
		run, sc := round.press()
		if run.GetTraceId() != sc.TraceID().String() {
			t.Errorf("%s: the run names trace %q, the button's is %s", round.name, run.GetTraceId(), sc.TraceID())
		}
		ended := j.x.Wait(t, run.GetId(), 5*time.Minute)
		harness.Want(t, ended, withFailures, round.counts)
		var spans []exported
		testkit.Eventually(t, 2*time.Minute, func() error { // exporters send when it suits them
			spans = collector.trace(sc.TraceID())
			if gone := missing(spans, append(slices.Clone(everyRun), round.spans...)); len(gone) > 0 {
				return fmt.Errorf("%s: the trace lacks %q", round.name, gone)
			}
			if lost := orphans(spans, sc.SpanID()); len(lost) > 0 {
				return fmt.Errorf("%s: the parents of %q are not in the trace", round.name, lost)
			}
			return nil
		})
		checkCalls(t, spans, ended)
	}

	// Errors quote what was asked for; telemetry must not.
	if _, err := j.x.People.GetPerson(j.x.Context(t.Context()), &directoryv1.GetPersonRequest{Id: canary + "@example.com"}); err == nil {
		t.Error("an unknown person was found")
	}
	testkit.Eventually(t, 2*time.Minute, func() error {
		if text, _ := collector.find("DirectoryService/GetPerson"); text == "" {
			return fmt.Errorf("the failed call has not been exported")
		}
		return nil
	})

	// P6: nothing that was exported in all of this tells who the people are, or opens a door.
	for r := range org.Records("Contact") {
		if !strings.Contains(r.Fields["Email"], canary) {
			t.Fatalf("record %v lacks the canary: the search below proves nothing", r)
		}
	}
	for what, part := range map[string]string{
		"personal data or a secret": canary, "an e-mail address": "@", "the operator's token": s.Operator, "an API token": j.x.Token(),
		"an access token": org.OrgID()[:15] + "!", "a bearer": "bearer",
	} {
		if text, where := collector.find(part); text != "" {
			t.Errorf("%s stands in %s: %q", what, where, text)
		}
		for _, p := range s.All {
			p.Lines(func(line string) {
				if strings.Contains(strings.ToLower(line), strings.ToLower(part)) {
					t.Errorf("%s stands in the log of %s: %s", what, p.Name, line)
				}
			})
		}
	}
}

// checkCalls compares the spans of calls to Salesforce with what the run counted: each call is in the trace once, below
// the task that made it.
func checkCalls(t *testing.T, spans []exported, run *syncv1.Run) {
	t.Helper()
	byID := make(map[string]exported, len(spans))
	for _, s := range spans {
		byID[string(s.GetSpanId())] = s
	}
	var calls int64
	for _, s := range spans {
		if s.service != "sync-worker" || !strings.HasPrefix(s.GetName(), "salesforce ") {
			continue
		}
		calls++
		if parent := byID[string(s.GetParentSpanId())]; !strings.HasPrefix(parent.GetName(), "task ") {
			t.Errorf("the parent of %q is %q, want a task", s.GetName(), parent.GetName())
		}
	}
	if calls != run.GetApiCalls() {
		t.Errorf("the trace holds %d calls to Salesforce, the run counts %d", calls, run.GetApiCalls())
	}
}
