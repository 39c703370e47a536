package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/scheduler"
)

// request is what identifies a run: the same one finds the same run.
type request struct{ tenant, connection, id string }

// world is the other side of the wire: a server that lists linked connections and records the runs asked for.
type world struct {
	authv1.UnimplementedTokenServiceServer
	syncv1.UnimplementedRunServiceServer
	network *rpc.MemNet
	nodes   atomic.Int64

	mu       sync.Mutex
	linked   []*authv1.Connection
	runs     map[request]int // how often each was asked for
	order    []request       // in the order in which they were made
	refuse   func() error    // asked before a run is started
	answered func(request)   // called after a run was started, before the answer
	listErr  error           // what listing connections fails with
	callers  []rpc.Caller    // of StartRun
}

func newWorld(t testing.TB, linked ...*authv1.Connection) *world {
	t.Helper()
	w := &world{network: rpc.NewMemNet(), linked: linked, runs: map[request]int{}}
	server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t)})
	authv1.RegisterTokenServiceServer(server, w)
	syncv1.RegisterRunServiceServer(server, w)
	serve(t, w.network, "world", server)
	return w
}

// serve serves until the test ends.
func serve(t testing.TB, network *rpc.MemNet, name string, server *grpc.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	lis := network.Listen(name)
	go func() {
		defer close(done)
		_ = rpc.Serve(ctx, server, lis, 0)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (w *world) dial(t testing.TB, name string, extra ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := w.network.Dial(name, rpc.DialOptions{Extra: extra})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// change changes the world between two requests.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) ListLinkedConnections(_ *authv1.ListLinkedConnectionsRequest, stream grpc.ServerStreamingServer[authv1.ListLinkedConnectionsResponse]) error {
	if c, _ := rpc.CallerFrom(stream.Context()); c.Role != optionsv1.Role_ROLE_INTERNAL {
		return errs.New(errs.Denied, "role", "the caller is %v", c)
	}
	w.mu.Lock()
	linked, err := slices.Clone(w.linked), w.listErr
	w.mu.Unlock()
	if err != nil {
		return err
	}
	for _, c := range linked {
		if err := stream.Send(&authv1.ListLinkedConnectionsResponse{Connection: c}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) StartRun(ctx context.Context, req *syncv1.StartRunRequest) (*syncv1.StartRunResponse, error) {
	caller, _ := rpc.CallerFrom(ctx)
	if req.GetTrigger() != syncv1.RunTrigger_RUN_TRIGGER_SCHEDULE || req.GetKind() != syncv1.RunKind_RUN_KIND_WRITE || req.GetPlanOnly() {
		return nil, errs.New(errs.Invalid, "request", "%v", req)
	}
	key := request{caller.Tenant, req.GetConnectionId(), req.GetRequestId()}
	w.mu.Lock()
	w.callers = append(w.callers, caller)
	if w.refuse != nil {
		if err := w.refuse(); err != nil {
			w.mu.Unlock()
			return nil, err
		}
	}
	w.runs[key]++
	created := w.runs[key] == 1
	if created {
		w.order = append(w.order, key)
	}
	answered := w.answered
	w.mu.Unlock()
	if answered != nil {
		answered(key)
	}
	return &syncv1.StartRunResponse{Run: &syncv1.Run{Id: fmt.Sprintf("run-%s-%s", key.connection, key.id)}, Created: created}, nil
}

// dates returns the request ids of a connection's runs, in the order in which they were started.
func (w *world) dates(tenant, connection string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for _, r := range w.order {
		if r.tenant == tenant && r.connection == connection {
			ids = append(ids, r.id)
		}
	}
	return ids
}

func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.callers)
}

func linked(tenant, id string) *authv1.Connection {
	return &authv1.Connection{Id: id, Tenant: tenant, State: authv1.ConnectionState_CONNECTION_STATE_LINKED}
}

// node is a running scheduler with a clock of its own.
type node struct {
	client schedulerv1.ScheduleServiceClient
	clock  *clock
	looks  atomic.Int64 // how often it asked for the linked connections
	kill   func()       // stops it without waiting
	stop   func()       // waits until Run has returned
}

// start runs a scheduler against the world, with its clock at now. change may alter its configuration.
func (w *world) start(t testing.TB, b *bus.Bus, now time.Time, change func(*scheduler.Config)) *node {
	t.Helper()
	n := &node{clock: newClock(now)}
	count := func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		n.looks.Add(1)
		return streamer(ctx, desc, cc, method, opts...)
	}
	conn := w.dial(t, "world", grpc.WithChainStreamInterceptor(count))
	c := scheduler.DefaultConfig()
	c.Tick, c.Refresh = time.Millisecond, 5*time.Millisecond
	if change != nil {
		change(&c)
	}
	service, err := scheduler.New(t.Context(), c, scheduler.Deps{
		Log: testkit.Logger(t), Bus: b, Now: n.clock.read,
		Tokens: authv1.NewTokenServiceClient(conn), Runs: syncv1.NewRunServiceClient(conn),
	})
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("scheduler-%d", w.nodes.Add(1))
	server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t), Health: service.Health})
	service.Register(server)
	serve(t, w.network, name, server)
	n.client = schedulerv1.NewScheduleServiceClient(w.dial(t, name))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := service.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	n.kill = cancel
	n.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(n.stop)
	return n
}

// settle waits until the scheduler has looked at everything after this moment, and has done what it found.
func (n *node) settle(t testing.TB) {
	t.Helper()
	before := n.looks.Load()
	testkit.Eventually(t, 30*time.Second, func() error {
		// The first look may have begun before, the second has not, and the third comes after all that the second led to.
		if looks := n.looks.Load() - before; looks < 3 {
			return fmt.Errorf("%d looks", looks)
		}
		return nil
	})
}

// at sets the clock and waits until the scheduler has done what is to be done then.
func (n *node) at(t testing.TB, now time.Time) {
	t.Helper()
	n.clock.set(now)
	n.settle(t)
}

// as returns a context in which an admin of the tenant calls.
func as(tenant string) context.Context {
	return rpc.WithCaller(context.Background(), rpc.Caller{Tenant: tenant, Subject: "ada", Role: optionsv1.Role_ROLE_ADMIN})
}

// clock runs on from the time to which a test has set it.
type clock struct {
	mu          sync.Mutex
	base, since time.Time
}

func newClock(now time.Time) *clock {
	c := &clock{}
	c.set(now)
	return c
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.since = now, time.Now()
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Add(time.Since(c.since))
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
