package syncworker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/mapper"
	syncworker "github.com/catalogsync/catalogsync/services/sync-worker"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows/rowstest"
	"github.com/catalogsync/catalogsync/simulator"
)

const (
	tenant     = "acme"
	connection = "con_1"
	externalID = "CatalogUserId__c"
	// patience is for what must happen, however slow the machine.
	patience = 2 * time.Minute
)

// pipeline is a worker and the mapper, called over gRPC, and a simulated org that they reach over HTTP.
type pipeline struct {
	t      testing.TB
	org    *simulator.Server
	runs   syncv1.RunServiceClient
	people directoryv1.DirectoryServiceClient
	why    syncv1.WhyServiceClient
	mu     sync.Mutex
	token  string
	// fieldMap is what runs map by. It is not checked before a run begins.
	fieldMap *mapperv1.FieldMap
	keys     rowstest.Keys
}

// newPipeline starts them. change may alter the org.
func newPipeline(t testing.TB, change ...func(*simulator.Options)) *pipeline {
	t.Helper()
	return newPipelineWith(t, func(*config) {}, change...)
}

type config = syncworker.Config

// newPipelineWith starts them with settings of the worker's.
func newPipelineWith(t testing.TB, set func(*config), change ...func(*simulator.Options)) *pipeline {
	t.Helper()
	o := simulator.Options{ExternalIDFields: []string{"Contact." + externalID, "Lead." + externalID}, DailyLimit: 1_000_000}
	for _, fn := range change {
		fn(&o)
	}
	org, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	p := &pipeline{t: t, org: org}
	b, log := testkit.Bus(t), testkit.Logger(t)
	ctx, cancel := context.WithCancel(context.Background())
	network := rpc.NewMemNet()
	var served []chan error
	serve := func(name string, register func(grpc.ServiceRegistrar), run func(context.Context) error) *grpc.ClientConn {
		srv := rpc.NewServer(rpc.ServerOptions{Log: log, Stopping: ctx.Done()})
		register(srv)
		lis := network.Listen(name)
		ended := make(chan error, 2)
		go func() { ended <- rpc.Serve(ctx, srv, lis, 10*time.Second) }()
		go func() { ended <- run(ctx) }()
		served = append(served, ended, ended)
		conn, err := network.Dial(name, rpc.DialOptions{Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	maps, err := mapper.New(ctx, mapper.DefaultConfig(), mapper.Deps{Log: log, Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	mapperConn := serve("mapper", maps.Register, maps.Run)
	cfg := syncworker.DefaultConfig()
	cfg.Directory, cfg.OneProcess, cfg.DevOrigins = "sqlite:"+filepath.Join(t.TempDir(), "people.db"), true, org.URL
	cfg.Sweep, cfg.MaxBytes, cfg.LeaseTTL = 50*time.Millisecond, 4<<30, time.Minute
	set(&cfg)
	worker, err := syncworker.New(ctx, cfg, syncworker.Deps{
		Log: log, Bus: b, Connections: peers{p: p}, Tokens: tokens{p: p}, FieldMaps: fieldMaps{p: p}, Mapper: mapperv1.NewMapperServiceClient(mapperConn),
	})
	if err != nil {
		t.Fatal(err)
	}
	workerConn := serve("sync-worker", worker.Register, worker.Run)
	t.Cleanup(func() {
		cancel()
		var errs []error
		for _, ended := range served {
			errs = append(errs, <-ended)
		}
		if err := errors.Join(append(errs, mapperConn.Close(), workerConn.Close(), worker.Close())...); err != nil {
			t.Error(err)
		}
	})
	p.runs, p.people = syncv1.NewRunServiceClient(workerConn), directoryv1.NewDirectoryServiceClient(workerConn)
	p.why = syncv1.NewWhyServiceClient(workerConn)
	return p
}

func (p *pipeline) ctx() context.Context {
	return rpc.WithCaller(p.t.Context(), rpc.Caller{Tenant: tenant, Subject: "ada", Role: optionsv1.Role_ROLE_ADMIN})
}

// peers stand where auth does, with one connection that is linked.
type peers struct {
	authv1.ConnectionServiceClient
	p *pipeline
}

func (x peers) GetConnection(context.Context, *authv1.GetConnectionRequest, ...grpc.CallOption) (*authv1.GetConnectionResponse, error) {
	return &authv1.GetConnectionResponse{Connection: &authv1.Connection{
		Id: connection, Name: "Salesforce", State: authv1.ConnectionState_CONNECTION_STATE_LINKED, OrgId: x.p.org.OrgID(), UserId: x.p.org.UserID(),
	}}, nil
}

type tokens struct {
	authv1.TokenServiceClient
	p *pipeline
}

func (x tokens) GetDataKey(ctx context.Context, req *authv1.GetDataKeyRequest, _ ...grpc.CallOption) (*authv1.GetDataKeyResponse, error) {
	return x.p.keys.GetDataKey(ctx, req)
}

func (x tokens) GetAccessToken(_ context.Context, req *authv1.GetAccessTokenRequest, _ ...grpc.CallOption) (*authv1.GetAccessTokenResponse, error) {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	if x.p.token == "" || x.p.token == req.GetRejectedAccessToken() {
		x.p.token = x.p.org.AccessToken()
	}
	return &authv1.GetAccessTokenResponse{AccessToken: x.p.token, InstanceUrl: x.p.org.URL, OrgId: x.p.org.OrgID()}, nil
}

type fieldMaps struct {
	mapperv1.FieldMapServiceClient
	p *pipeline
}

func (x fieldMaps) GetFieldMap(context.Context, *mapperv1.GetFieldMapRequest, ...grpc.CallOption) (*mapperv1.GetFieldMapResponse, error) {
	return &mapperv1.GetFieldMapResponse{FieldMap: x.p.fieldMap}, nil
}

// pair is the simplest of pairs.
func pair(source, target string) *mapperv1.Pair {
	return &mapperv1.Pair{Source: source, Target: target}
}

// use maps by names, e-mail, title and phone, and by the external id where there is one; then whatever change does.
func (p *pipeline) use(object, external string, change ...func(*mapperv1.FieldMap)) {
	m := &mapperv1.FieldMap{
		ConnectionId: connection, Version: 3, Object: object, ExternalIdField: external, Identity: &mapperv1.Identity{},
		Guards: &mapperv1.Guards{Creates: &mapperv1.Brake{Count: -1, Share: -1}, Updates: &mapperv1.Brake{Count: -1, Share: -1}, Clears: &mapperv1.Brake{Count: -1, Share: -1}, Deactivations: &mapperv1.Brake{Count: -1, Share: -1}, AllowEmptySource: true, LeastPeople: 0.001},
		Pairs:  []*mapperv1.Pair{pair("first_name", "FirstName"), pair("last_name", "LastName"), pair("email", "Email"), pair("title", "Title"), pair("phone", "Phone")},
	}
	if object == "Lead" {
		m.Pairs = append(m.Pairs, pair("organization", "Company"))
	}
	if external != "" {
		m.Pairs = append(m.Pairs, pair("id", external))
	}
	for _, fn := range change {
		fn(m)
	}
	p.fieldMap = m
}

// someone is a person with what Lead and Contact need.
func someone(id string, change ...string) map[string]any {
	m := map[string]any{
		"id": id, "first_name": "First " + id, "last_name": "Last " + id, "email": id + "@example.com", "title": "Engineer", "organization": "Company " + id,
	}
	for i := 0; i < len(change); i += 2 {
		m[change[i]] = change[i+1]
	}
	return m
}

// catalog makes these people, and nobody else, those of the Catalog.
func (p *pipeline) catalog(people ...map[string]any) {
	p.t.Helper()
	var file bytes.Buffer
	for _, x := range people {
		line, err := json.Marshal(x)
		if err != nil {
			p.t.Fatal(err)
		}
		file.Write(append(line, '\n'))
	}
	stream, err := p.people.ImportPeople(p.ctx())
	if err != nil {
		p.t.Fatal(err)
	}
	send := func(m *directoryv1.ImportPeopleRequest) {
		if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
			p.t.Fatal(err)
		}
	}
	send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Header{Header: &directoryv1.ImportHeader{
		FileName: "people.ndjson", Mode: directoryv1.ImportMode_IMPORT_MODE_FULL,
	}}})
	for chunk := range slices.Chunk(file.Bytes(), 256<<10) {
		send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Chunk{Chunk: chunk}})
	}
	if err := stream.CloseSend(); err != nil {
		p.t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			p.t.Fatalf("import: %v", err)
		}
		if e := m.GetLineError(); e != nil {
			p.t.Fatalf("import: %v", e)
		}
		if m.GetSummary() != nil {
			return
		}
	}
}

// start runs to the end, or until the run is held.
func (p *pipeline) start(req *syncv1.StartRunRequest) *syncv1.Run {
	p.t.Helper()
	res, err := p.runs.StartRun(p.ctx(), req)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.await(res.GetRun(), true)
}

// ends waits for the end of a run that is not held any more.
func (p *pipeline) ends(run *syncv1.Run) *syncv1.Run {
	p.t.Helper()
	return p.await(run, false)
}

func (p *pipeline) await(run *syncv1.Run, heldIsEnough bool) *syncv1.Run {
	p.t.Helper()
	testkit.Eventually(p.t, patience, func() error {
		res, err := p.runs.GetRun(p.ctx(), &syncv1.GetRunRequest{RunId: run.GetId()})
		if err != nil {
			return err
		}
		if run = res.GetRun(); run.GetState() < syncv1.RunState_RUN_STATE_SUCCEEDED && (run.GetState() != syncv1.RunState_RUN_STATE_HELD || !heldIsEnough) {
			return fmt.Errorf("the run is %s at %s: %s", run.GetState(), run.GetStage(), run.GetReason())
		}
		return nil
	})
	return run
}

// write runs a write run to the end and returns it with how people ended. Promise P1: everybody ends once.
func (p *pipeline) write() (*syncv1.Run, map[string]*syncv1.Outcome) {
	p.t.Helper()
	run := p.start(&syncv1.StartRunRequest{})
	if s := run.GetState(); s != syncv1.RunState_RUN_STATE_SUCCEEDED && s != syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES {
		p.t.Fatalf("the run ended %s: %s", s, run.GetReason())
	}
	all := p.outcomes(run)
	if int64(len(all)) != run.GetCounts().GetPeople() {
		p.t.Errorf("%d people, %d outcomes", run.GetCounts().GetPeople(), len(all))
	}
	p.checkCounts(run, all)
	return run, all
}

// checkCounts compares what a run counts with how people ended.
func (p *pipeline) checkCounts(run *syncv1.Run, all map[string]*syncv1.Outcome) {
	p.t.Helper()
	n := make(map[syncv1.OutcomeKind]int64)
	for _, o := range all {
		n[o.GetKind()]++
	}
	c := run.GetCounts()
	for kind, want := range map[syncv1.OutcomeKind]int64{
		syncv1.OutcomeKind_OUTCOME_KIND_CREATED: c.GetCreated(), syncv1.OutcomeKind_OUTCOME_KIND_UPDATED: c.GetUpdated(),
		syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED: c.GetUnchanged(), syncv1.OutcomeKind_OUTCOME_KIND_SKIPPED: c.GetSkipped(),
		syncv1.OutcomeKind_OUTCOME_KIND_REJECTED: c.GetRejected(), syncv1.OutcomeKind_OUTCOME_KIND_FAILED: c.GetFailed(),
		syncv1.OutcomeKind_OUTCOME_KIND_SUPERSEDED: c.GetSuperseded(), syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED: c.GetDeferred(),
		syncv1.OutcomeKind_OUTCOME_KIND_DELETED: c.GetDeleted(),
	} {
		if n[kind] != want {
			p.t.Errorf("the run counts %d %s, %d people ended so", want, kind, n[kind])
		}
	}
}

func (p *pipeline) outcomes(run *syncv1.Run) map[string]*syncv1.Outcome {
	p.t.Helper()
	all := make(map[string]*syncv1.Outcome)
	for token := ""; ; {
		res, err := p.runs.ListOutcomes(p.ctx(), &syncv1.ListOutcomesRequest{RunId: run.GetId(), PageSize: 5000, PageToken: token})
		if err != nil {
			p.t.Fatal(err)
		}
		for _, o := range res.GetOutcomes() {
			if all[o.GetPersonId()] != nil {
				p.t.Errorf("%s ended twice: %v and %v", o.GetPersonId(), all[o.GetPersonId()], o)
			}
			if o.GetFieldMapVersion() != run.GetFieldMapVersion() {
				p.t.Errorf("%s ended by version %d of the field map, the run has %d", o.GetPersonId(), o.GetFieldMapVersion(), run.GetFieldMapVersion())
			}
			all[o.GetPersonId()] = o
		}
		if token = res.GetNextPageToken(); token == "" {
			return all
		}
	}
}

// changes are the planned changes of a run, by person.
func (p *pipeline) changes(run *syncv1.Run) map[string]*syncv1.Change {
	p.t.Helper()
	all := make(map[string]*syncv1.Change)
	for token := ""; ; {
		res, err := p.runs.ListChanges(p.ctx(), &syncv1.ListChangesRequest{RunId: run.GetId(), PageSize: 5000, PageToken: token})
		if err != nil {
			p.t.Fatal(err)
		}
		for _, c := range res.GetChanges() {
			all[c.GetPersonId()] = c
		}
		if token = res.GetNextPageToken(); token == "" {
			return all
		}
	}
}

// record makes a record in the org, behind everybody's back.
func (p *pipeline) record(object string, fields ...string) string {
	p.t.Helper()
	m := make(map[string]string)
	for i := 0; i < len(fields); i += 2 {
		m[fields[i]] = fields[i+1]
	}
	id, err := p.org.Create(object, m)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// field is a field of a record.
func (p *pipeline) field(id, name string) string {
	p.t.Helper()
	r, ok := p.org.Record(id)
	if !ok {
		p.t.Fatalf("the org has no record %s", id)
	}
	return r.Fields[name]
}

// alive counts the records of an object that are not deleted.
func (p *pipeline) alive(object string) (n int) {
	for r := range p.org.Records(object) {
		if !r.Deleted {
			n++
		}
	}
	return n
}

// customField makes a custom field through the Tooling API.
func (p *pipeline) customField(name string, metadata map[string]any) {
	p.t.Helper()
	metadata["label"] = strings.TrimSuffix(name[strings.IndexByte(name, '.')+1:], "__c")
	p.post("/services/data/v67.0/tooling/sobjects/CustomField", map[string]any{"FullName": name, "Metadata": metadata})
}

func (p *pipeline) post(path string, body any) {
	p.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.org.URL+path, bytes.NewReader(raw))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.org.AccessToken())
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode >= 300 {
		p.t.Fatalf("POST %s: %d %s, %v", path, res.StatusCode, answer, err)
	}
}

// ended says how a person ended, in short.
func ended(o *syncv1.Outcome) string {
	return strings.ToLower(strings.TrimPrefix(o.GetKind().String(), "OUTCOME_KIND_")) + strings.TrimRight(" "+o.GetCode(), " ")
}

// expect compares how people ended.
func (p *pipeline) expect(all map[string]*syncv1.Outcome, want map[string]string) {
	p.t.Helper()
	for id, w := range want {
		if got := ended(all[id]); got != w {
			p.t.Errorf("%s ended %q, want %q: %v", id, got, w, all[id])
		}
	}
}

// words splits a message into words.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '.' })
}
