package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const operatorToken = "operator-token-of-the-tests-0123456789"

// call is a call that reached the other services.
type call struct {
	method string
	caller rpc.Caller
	sent   []proto.Message // requests, as far as they came
	err    error           // why the requests ended; nil for a proper end
}

// backend is the other side: a gRPC server that takes every method of every service, notes the call, and answers as the
// test says or else with an empty response.
type backend struct {
	requests atomic.Int64 // messages that came

	mu     sync.Mutex
	calls  []call
	script map[string]func(ctx context.Context, req proto.Message, send func(proto.Message) error) error
}

// answer makes the backend answer a method.
func (b *backend) answer(method string, fn func(ctx context.Context, req proto.Message, send func(proto.Message) error) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script[method] = fn
}

// reply makes the backend answer a method with one message.
func (b *backend) reply(method string, m proto.Message) {
	b.answer(method, func(_ context.Context, _ proto.Message, send func(proto.Message) error) error { return send(m) })
}

func (b *backend) got(method string) (calls []call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.calls {
		if c.method == method {
			calls = append(calls, c)
		}
	}
	return calls
}

func (b *backend) all() []call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

func (b *backend) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	m := methods()[method]
	c := call{method: method}
	c.caller, _ = rpc.CallerFrom(stream.Context())
	for {
		req := newMessage(m.Input())
		err := stream.RecvMsg(req)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.err = err
			break
		}
		c.sent = append(c.sent, req)
		b.requests.Add(1)
		if !m.IsStreamingClient() {
			break
		}
	}
	b.mu.Lock()
	b.calls = append(b.calls, c)
	script := b.script[method]
	b.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	var first proto.Message
	if len(c.sent) > 0 {
		first = c.sent[0]
	}
	if script != nil {
		return script(stream.Context(), first, func(m proto.Message) error { return stream.SendMsg(m) })
	}
	return stream.SendMsg(newMessage(m.Output()))
}

// methods are all methods of the project, by their name on the wire.
var methods = sync.OnceValue(func() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				if m := s.Methods().Get(j); s.FullName().Parent().Parent().Parent() == "catalogsync" {
					all["/"+string(s.FullName())+"/"+string(m.Name())] = m
				}
			}
		}
		return true
	})
	return all
})

// roleOf is the rule of a method.
func roleOf(m protoreflect.MethodDescriptor) optionsv1.Role {
	return proto.GetExtension(m.Options(), optionsv1.E_Rule).(*optionsv1.Rule).GetRole()
}

// public are the names of the methods that callers from outside may call, sorted.
func public() (names []string) {
	for name, m := range methods() {
		if r := roleOf(m); r >= viewer && r <= optionsv1.Role_ROLE_OPERATOR {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func newMessage(d protoreflect.MessageDescriptor) proto.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err)
	}
	return t.New().Interface()
}

// world is a gateway in front of the backend.
type world struct {
	*backend
	conn   *grpc.ClientConn // to the gateway
	tokens gatewayv1.ApiTokenServiceClient
	url    string // of the gateway's HTTP server
	bus    *bus.Bus
	back   *grpc.ClientConn // to the backend
}

func start(t testing.TB, change ...func(*gateway.Config)) *world {
	t.Helper()
	cfg := gateway.DefaultConfig()
	cfg.OperatorToken = config.NewSecret(operatorToken)
	for _, c := range change {
		c(&cfg)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{backend: &backend{script: map[string]func(context.Context, proto.Message, func(proto.Message) error) error{}}, url: "http://" + lis.Addr().String()}
	w.answer(authv1.ConnectionService_GetConnection_FullMethodName, getConnection)
	log := testkit.Logger(t)
	ctx, cancel := context.WithCancel(context.Background())
	mem := rpc.NewMemNet()
	others := rpc.NewServer(rpc.ServerOptions{Log: log, Stopping: ctx.Done(), Extra: []grpc.ServerOption{grpc.UnknownServiceHandler(w.handle)}})
	dial := func(name string) *grpc.ClientConn {
		conn, err := mem.Dial(name, rpc.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	back := dial("others")
	w.bus, w.back = testkit.Bus(t), back
	svc, err := gateway.New(t.Context(), cfg, gateway.Deps{
		Log: log, Bus: w.bus, HTTP: lis, Auth: back, Mapper: back, Scheduler: back, SyncWorker: back,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: log, Authenticate: svc.Authenticate, Health: svc.Health, Stopping: ctx.Done(), Reflection: true, Recheck: 20 * time.Millisecond})
	svc.Register(server)
	w.conn = dial("gateway")
	w.tokens = gatewayv1.NewApiTokenServiceClient(w.conn)
	front, behind := mem.Listen("gateway"), mem.Listen("others")
	done := make(chan error, 1)
	go func() {
		done <- app.Run(ctx, svc.Run,
			func(ctx context.Context) error { return rpc.Serve(ctx, server, front, time.Second) },
			func(ctx context.Context) error { return rpc.Serve(ctx, others, behind, time.Second) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, w.conn.Close(), back.Close()); err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	})
	return w
}

// getConnection knows one connection: con_acme of tenant acme.
func getConnection(ctx context.Context, req proto.Message, send func(proto.Message) error) error {
	id := req.(*authv1.GetConnectionRequest).GetConnectionId()
	if tenant, err := rpc.TenantFrom(ctx); err != nil || tenant != "acme" || id != "" && id != "con_acme" {
		return errs.New(errs.NotFound, "no_such_connection", "tenant %s has no connection %s", tenant, id)
	}
	return send(&authv1.GetConnectionResponse{Connection: &authv1.Connection{
		Id: "con_acme", Tenant: "acme", State: authv1.ConnectionState_CONNECTION_STATE_LINKED,
	}})
}

// with returns a context that carries the token.
func with(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// token makes an API token.
func (w *world) token(t testing.TB, tenant string, role optionsv1.Role) string {
	t.Helper()
	res, err := w.tokens.CreateApiToken(with(t.Context(), operatorToken), &gatewayv1.CreateApiTokenRequest{Name: "test " + role.String(), Tenant: tenant, Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetSecret()
}

const (
	viewer = optionsv1.Role_ROLE_VIEWER
	admin  = optionsv1.Role_ROLE_ADMIN
	owner  = optionsv1.Role_ROLE_OWNER
)

// do calls any method with an empty request and returns the first response.
func (w *world) do(ctx context.Context, method string) (proto.Message, error) {
	m := methods()[method]
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient()}, method)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(newMessage(m.Input())); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	res := newMessage(m.Output())
	return res, stream.RecvMsg(res)
}
