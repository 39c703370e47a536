package rpc_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	_ "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	_ "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	_ "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	_ "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	_ "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	_ "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	_ "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// ours are all methods of the project, by their name on the wire.
func ours() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				if m := s.Methods().Get(j); strings.HasPrefix(string(s.FullName()), "catalogsync.") {
					all["/"+string(s.FullName())+"/"+string(m.Name())] = m
				}
			}
		}
		return true
	})
	return all
}

// others are the methods that services other than the gateway call. Whoever adds one says so here, too.
var others = map[string][]string{
	"/catalogsync.auth.v1.ConnectionService/GetConnection":    {"gateway", "sync-worker"},
	"/catalogsync.auth.v1.TokenService/GetAccessToken":        {"sync-worker"},
	"/catalogsync.auth.v1.TokenService/GetDataKey":            {"sync-worker"},
	"/catalogsync.auth.v1.TokenService/ListLinkedConnections": {"scheduler"},
	"/catalogsync.mapper.v1.FieldMapService/GetFieldMap":      {"gateway", "sync-worker"},
	"/catalogsync.mapper.v1.MapperService/CheckFieldMap":      {"sync-worker"},
	"/catalogsync.mapper.v1.MapperService/MapPeople":          {"sync-worker"},
	"/catalogsync.mapper.v1.MapperService/MapRecords":         {"sync-worker"},
	"/catalogsync.mapper.v1.MapperService/MatchKeys":          {"sync-worker"},
	"/catalogsync.sync.v1.RunService/StartRun":                {"gateway", "scheduler"},
}

// Every method may be called by the services that its rule names, and by no other.
func TestWhichServiceMayCallWhat(t *testing.T) {
	t.Parallel()
	a := testkit.NewAuthority(t)
	creds, err := files(t, a, "server").Server(false)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t), Credentials: creds, Stopping: ctx.Done(), Extra: []grpc.ServerOption{
		grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { return s.SendMsg(&emptypb.Empty{}) }),
	}})
	done := make(chan error, 1)
	go func() { done <- rpc.Serve(ctx, server, lis, time.Second) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	methods := ours()
	if len(methods) < 40 {
		t.Fatalf("only %d methods were found", len(methods))
	}
	declared := map[string][]string{}
	calls := 0
	for _, name := range []string{"gateway", "auth", "mapper", "scheduler", "sync-worker", "nats", "gateway.evil", "*"} {
		f := files(t, a, name)
		conn, err := rpc.Dial(lis.Addr().String(), rpc.DialOptions{Credentials: client(t, f), Extra: []grpc.DialOption{grpc.WithAuthority("server")}})
		if err != nil {
			t.Fatal(err)
		}
		for method, m := range methods {
			want := others[method]
			if want == nil {
				want = []string{"gateway"}
			}
			err := conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{})
			calls++
			switch may := slices.Contains(want, name); {
			case may && err != nil:
				t.Errorf("%s calls %s: %v", name, method, err)
			case !may && (errs.KindOf(err) != errs.Denied || errs.ReasonOf(err) != "caller_not_allowed"):
				t.Errorf("%s calls %s: %v, want a refusal", name, method, err)
			}
			if callers := rpc.RuleOf(m).GetCallers(); len(callers) > 0 && !slices.Equal(callers, []string{"gateway"}) {
				declared[method] = callers
			}
		}
		if err := rpc.CheckHealth(t.Context(), conn); err != nil {
			t.Errorf("%s asks for the health: %v", name, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(others, declared); diff != "" {
		t.Errorf("what the protos declare (+) differs: %s", diff)
	}
	t.Logf("%d calls", calls)
}

func TestMethodWithoutRuleIsForNobody(t *testing.T) {
	t.Parallel()
	if callers := rpc.CallersOf(nil); callers != nil {
		t.Errorf("callers are %v", callers)
	}
	if callers := rpc.CallersOf(&optionsv1.Rule{Callers: []string{"gateway"}}); callers != nil {
		t.Errorf("callers are %v", callers)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"127.0.0.1:9001": true, "127.9.9.9:1": true, "[::1]:9001": true, "localhost:9001": true, "dns:///localhost:9001": true, "dns:///127.0.0.1:1": true,
		"nats://127.0.0.1:4222": true, "nats://user@127.0.0.1:4222": true, "127.0.0.1:1,127.0.0.1:2": true, "unix:/run/x": true, "[::ffff:127.0.0.1]:1": true,
		"": false, ":9001": false, "0.0.0.0:9001": false, "[::]:9001": false, "10.0.0.1:1": false, "auth:9001": false, "dns:///auth:9001": false,
		"127.0.0.1:1,10.0.0.1:1": false, "localhost.evil.example:1": false, "nats://nats:4222": false, "nats://127.0.0.1@nats:4222": false,
	} {
		if got := rpc.Loopback(addr); got != want {
			t.Errorf("Loopback(%q) is %v", addr, got)
		}
	}
}
