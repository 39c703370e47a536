package runrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows/rowstest"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/runrpc"
)

// patience is for what must happen, however slow the machine.
const patience = 2 * time.Minute

// world is the RunService, called over gRPC. No worker is at work: what becomes of runs is up to the test.
type world struct {
	t      *testing.T
	bus    *rows.Store
	ledger *ledger.Ledger
	peers  *peers
	client syncv1.RunServiceClient
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bus: rowstest.Store(testkit.Bus(t)), peers: &peers{state: authv1.ConnectionState_CONNECTION_STATE_LINKED, object: "Contact"}}
	if err := w.bus.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	var err error
	w.ledger, err = ledger.Open(t.Context(), w.bus.Bus, ledger.Options{Holder: "one", LeaseTTL: time.Minute, Retention: time.Hour, MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	log := testkit.Logger(t)
	ctx, cancel := context.WithCancel(context.Background())
	srv := rpc.NewServer(rpc.ServerOptions{Log: log, Stopping: ctx.Done()})
	syncv1.RegisterRunServiceServer(srv, &runrpc.Runs{
		Ledger: w.ledger, Bus: w.bus, Connections: w.peers, FieldMaps: maps{peers: w.peers}, Log: log, Propagator: propagation.TraceContext{}, Nudge: func() {},
		Conductor: conduct.New(w.ledger, w.bus.Bus, log, conduct.Options{Limits: conduct.DefaultLimits(), InFlight: 8, MaxAge: time.Hour, SmallRun: 2000}),
	})
	net := rpc.NewMemNet()
	lis := net.Listen("sync-worker")
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(ctx, srv, lis, 10*time.Second) }()
	conn, err := net.Dial("sync-worker", rpc.DialOptions{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	w.client = syncv1.NewRunServiceClient(conn)
	return w
}

// as is a context in which an admin of the tenant calls.
func as(t *testing.T, tenant string) context.Context {
	return rpc.WithCaller(t.Context(), rpc.Caller{Tenant: tenant, Subject: "ada", Role: optionsv1.Role_ROLE_ADMIN})
}

// peers stand where auth and mapper do: every tenant has a connection of its own.
type peers struct {
	authv1.ConnectionServiceClient
	mu     sync.Mutex
	state  authv1.ConnectionState
	object string // of the field map; empty: there is none
}

func (p *peers) GetConnection(ctx context.Context, req *authv1.GetConnectionRequest, _ ...grpc.CallOption) (*authv1.GetConnectionResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := req.GetConnectionId()
	if id == "" {
		id = "con_" + tenant
	}
	return &authv1.GetConnectionResponse{Connection: &authv1.Connection{Id: id, Name: "Salesforce", State: p.state, OrgId: "00D000000000001AAA", Reason: "It says no."}}, nil
}

type maps struct {
	mapperv1.FieldMapServiceClient
	*peers
}

func (m maps) GetFieldMap(_ context.Context, req *mapperv1.GetFieldMapRequest, _ ...grpc.CallOption) (*mapperv1.GetFieldMapResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.object == "" {
		return nil, errs.New(errs.NotFound, "no_field_map", "none")
	}
	version := req.GetVersion()
	if version == 0 {
		version = 7
	}
	return &mapperv1.GetFieldMapResponse{FieldMap: &mapperv1.FieldMap{Object: m.object, Version: version}}, nil
}

func (p *peers) set(fn func(*peers)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(p)
}

// start starts a run of the tenant.
func (w *world) start(tenant, request string) *syncv1.Run {
	w.t.Helper()
	res, err := w.client.StartRun(as(w.t, tenant), &syncv1.StartRunRequest{RequestId: request})
	if err != nil {
		w.t.Fatal(err)
	}
	return res.GetRun()
}

// settle makes a task of the run and settles it with what write writes.
func (w *world) settle(run string, s ledger.Stage, number int, write func(*rows.Publisher) error) {
	w.t.Helper()
	w.make(run, s, number)
	lease, err := w.ledger.Claim(w.t.Context(), run, s, number)
	if err != nil {
		w.t.Fatal(err)
	}
	pub := rows.NewPublisher(w.bus, lease.Task())
	if err := errors.Join(write(pub), lease.Settle(w.t.Context(), ledger.Result{Outputs: pub.Outputs()})); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) make(run string, s ledger.Stage, number int) {
	w.t.Helper()
	if err := w.ledger.CreateTasks(w.t.Context(), []ledger.Task{{RunID: run, Tenant: "acme", Stage: s, Number: number}}); err != nil {
		w.t.Fatal(err)
	}
}

func check(t *testing.T, what string, err error, kind errs.Kind, reason string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Errorf("%s: %v (%v, %s), want %v, %s", what, err, errs.KindOf(err), errs.ReasonOf(err), kind, reason)
	}
}

// One request is one run, however often and however simultaneously it comes.
func TestOneRequestIsOneRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	ids, made := map[string]bool{}, 0
	for range 10 {
		group.Go(func() {
			res, err := w.client.StartRun(as(t, "acme"), &syncv1.StartRunRequest{RequestId: "2026-11-21"})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[res.GetRun().GetId()] = true
			if res.GetCreated() {
				made++
			}
		})
	}
	group.Wait()
	if len(ids) != 1 || made != 1 {
		t.Errorf("%d runs, %d of the answers say that they made it", len(ids), made)
	}
	if a, b := w.start("acme", "").GetId(), w.start("acme", "").GetId(); a == b {
		t.Error("two requests without a name are one run")
	}
	run := w.start("acme", "2026-11-21")
	if run.GetState() != syncv1.RunState_RUN_STATE_REQUESTED || run.GetObject() != "Contact" || run.GetFieldMapVersion() != 7 || run.GetTrigger() != syncv1.RunTrigger_RUN_TRIGGER_MANUAL {
		t.Errorf("run %v", run)
	}
}

// A run that cannot be is refused with what to do.
func TestStartIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := func(ctx context.Context, req *syncv1.StartRunRequest) error {
		_, err := w.client.StartRun(ctx, req)
		return err
	}
	check(t, "without a tenant", start(t.Context(), &syncv1.StartRunRequest{}), errs.Unauthenticated, "no_tenant")
	check(t, "of another kind", start(as(t, "acme"), &syncv1.StartRunRequest{Kind: 9}), errs.Invalid, "unknown_kind")
	known := w.start("acme", "before")
	w.peers.set(func(p *peers) { p.object = "" })
	check(t, "without a field map", start(as(t, "acme"), &syncv1.StartRunRequest{}), errs.Precondition, "no_field_map")
	w.peers.set(func(p *peers) { p.state = authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT })
	check(t, "of a connection that needs a reconnect", start(as(t, "acme"), &syncv1.StartRunRequest{}), errs.Precondition, "not_linked")
	if again := w.start("acme", "before"); again.GetId() != known.GetId() {
		t.Error("a request that was answered before has another answer now")
	}
}

// P7: nobody sees, watches or stops a run of another tenant, even with its id.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.start("acme", "same")
	if other := w.start("globex", "same"); other.GetId() == run.GetId() {
		t.Error("two tenants share a run")
	}
	w.settle(run.GetId(), ledger.StagePlan, 0, outcomes(t, 0, 3))
	spy, id := as(t, "globex"), run.GetId()
	_, err := w.client.GetRun(spy, &syncv1.GetRunRequest{RunId: id})
	check(t, "get", err, errs.NotFound, "no_run")
	_, err = w.client.CancelRun(spy, &syncv1.CancelRunRequest{RunId: id})
	check(t, "cancel", err, errs.NotFound, "no_run")
	_, err = w.client.ListChanges(spy, &syncv1.ListChangesRequest{RunId: id})
	check(t, "changes", err, errs.NotFound, "no_run")
	_, err = w.client.ListOutcomes(spy, &syncv1.ListOutcomesRequest{RunId: id})
	check(t, "outcomes", err, errs.NotFound, "no_run")
	_, err = w.client.ListRuns(spy, &syncv1.ListRunsRequest{PageToken: id})
	check(t, "a page behind the run", err, errs.Invalid, "bad_page_token")
	watch, err := w.client.WatchRun(spy, &syncv1.WatchRunRequest{RunId: id})
	if err == nil {
		_, err = watch.Recv()
	}
	check(t, "watch", err, errs.NotFound, "no_run")
	list, err := w.client.ListRuns(spy, &syncv1.ListRunsRequest{})
	if err != nil || len(list.GetRuns()) != 1 || list.GetRuns()[0].GetId() == id {
		t.Errorf("the list of another tenant: %v, %v", list, err)
	}
	_, err = w.client.GetRun(as(t, "acme"), &syncv1.GetRunRequest{})
	check(t, "no id", err, errs.Invalid, "no_run_id")
}

// Runs come newest first; runs that begin between two pages move nothing.
func TestListRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 12 {
		want = append(want, w.start("acme", fmt.Sprint("r", i)).GetId())
	}
	slices.Reverse(want)
	var got []string
	for token, page := "", 0; ; page++ {
		res, err := w.client.ListRuns(as(t, "acme"), &syncv1.ListRunsRequest{PageSize: 5, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.GetRuns() {
			got = append(got, r.GetId())
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
		w.start("acme", fmt.Sprint("later", page))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err := w.client.ListRuns(as(t, "acme"), &syncv1.ListRunsRequest{PageToken: "nonsense"})
	check(t, "a token of another list", err, errs.Invalid, "bad_page_token")
	res, err := w.client.ListRuns(as(t, "acme"), &syncv1.ListRunsRequest{ConnectionId: "con_other"})
	if err != nil || len(res.GetRuns()) != 0 {
		t.Errorf("runs of another connection: %v, %v", res, err)
	}
}

// Cancelling is a wish that the ledger keeps; the first one stands, and a run that has ended stays as it is.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.start("acme", "").GetId()
	cancel := func() *syncv1.Run {
		res, err := w.client.CancelRun(as(t, "acme"), &syncv1.CancelRunRequest{RunId: id})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRun()
	}
	update := func(fn func(*ledger.Run)) {
		if _, err := w.ledger.UpdateRun(t.Context(), "acme", id, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(r *ledger.Run) { r.State, r.StartedAt = ledger.RunRunning, time.Now() })
	for range 2 {
		if run := cancel(); run.GetState() != syncv1.RunState_RUN_STATE_CANCELLING || run.GetReason() != "The run was cancelled by ada." {
			t.Errorf("a run that is being cancelled: %v", run)
		}
	}
	update(func(r *ledger.Run) { r.State, r.Reason, r.EndedAt = ledger.RunCancelled, r.Drain.Reason, time.Now() })
	ended := cancel()
	if ended.GetState() != syncv1.RunState_RUN_STATE_CANCELLED || ended.GetEndedAt() == nil {
		t.Errorf("after its end: %v", ended)
	}

	id = w.start("acme", "other").GetId()
	update(func(r *ledger.Run) { r.State, r.EndedAt = ledger.RunSucceeded, time.Now() })
	if run := cancel(); run.GetState() != syncv1.RunState_RUN_STATE_SUCCEEDED || run.GetReason() != "" {
		t.Errorf("a run that had succeeded: %v", run)
	}
	if stored, err := w.ledger.Run(t.Context(), "acme", id); err != nil || stored.Drain != nil {
		t.Errorf("the ledger holds %+v, %v", stored, err)
	}
}

// Watching tells the run at once, tells every change, and ends with the run.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.start("acme", "").GetId()
	watch, err := w.client.WatchRun(as(t, "acme"), &syncv1.WatchRunRequest{RunId: id})
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []ledger.RunState{"", ledger.RunRunning, ledger.RunSucceeded} {
		if state != "" {
			if _, err := w.ledger.UpdateRun(t.Context(), "acme", id, func(r *ledger.Run) { r.State = state }); err != nil {
				t.Fatal(err)
			}
		}
		m, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		want := map[ledger.RunState]syncv1.RunState{
			"": syncv1.RunState_RUN_STATE_REQUESTED, ledger.RunRunning: syncv1.RunState_RUN_STATE_RUNNING, ledger.RunSucceeded: syncv1.RunState_RUN_STATE_SUCCEEDED,
		}[state]
		if m.GetRun().GetState() != want {
			t.Errorf("told %s, want %s", m.GetRun().GetState(), want)
		}
	}
	if _, err := watch.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}
