// Package gateway is the one public surface: gRPC, and the same methods as JSON over HTTP. It finds out who calls,
// decides by the rules in the protos who may do what, and forwards to the service that knows. It keeps API tokens and
// nothing else.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
	"github.com/catalogsync/catalogsync/services/gateway/internal/compose"
	"github.com/catalogsync/catalogsync/services/gateway/internal/forward"
)

// Deps are what the service needs.
type Deps struct {
	Log       *slog.Logger
	Bus       *bus.Bus
	Telemetry telemetry.Providers
	// Auth, Mapper, Scheduler and SyncWorker lead to the other services.
	Auth, Mapper, Scheduler, SyncWorker grpc.ClientConnInterface
	// HTTP is what the HTTP server listens on; nil: the gateway listens on Config.HTTPListen.
	HTTP net.Listener
}

// owners say which service serves a proto package.
func (d Deps) owners() map[protoreflect.FullName]grpc.ClientConnInterface {
	return map[protoreflect.FullName]grpc.ClientConnInterface{
		"catalogsync.auth.v1":      d.Auth,
		"catalogsync.mapper.v1":    d.Mapper,
		"catalogsync.scheduler.v1": d.Scheduler,
		"catalogsync.sync.v1":      d.SyncWorker,
		"catalogsync.directory.v1": d.SyncWorker,
	}
}

// Service is the gateway.
type Service struct {
	cfg       Config
	deps      Deps
	control   *access.Control
	tokens    *access.Service
	status    *compose.Status
	forwarded []*grpc.ServiceDesc
}

// New reads the rules of all methods, opens the tokens and listens nowhere. It fails when a method has no rule.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if deps.Log == nil || deps.Bus == nil || deps.Auth == nil || deps.Mapper == nil || deps.Scheduler == nil || deps.SyncWorker == nil {
		return nil, errors.New("gateway: a log, a bus and the connections to all services are needed")
	}
	deps.Telemetry = deps.Telemetry.OrNoop()
	services := linked()
	rules, err := access.ReadRules(services...)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	tokens, err := access.OpenTokens(ctx, deps.Bus)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	composer := compose.New(deps.Auth, deps.Mapper, deps.Scheduler, deps.SyncWorker)
	s := &Service{
		cfg: cfg, deps: deps,
		control: &access.Control{Rules: rules, Tokens: tokens, Operator: cfg.OperatorToken},
		tokens:  &access.Service{Tokens: tokens},
		status:  &compose.Status{Composer: composer},
	}
	owners := deps.owners()
	for _, d := range services {
		if d.ParentFile().Package() == ownPackage {
			continue
		}
		owner, ok := owners[d.ParentFile().Package()]
		if !ok {
			return nil, fmt.Errorf("gateway: nobody is known to serve %s", d.FullName())
		}
		desc, err := forward.Service(d, rules, owner, composer.Prepare)
		if err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		if len(desc.Methods)+len(desc.Streams) > 0 {
			s.forwarded = append(s.forwarded, desc)
		}
	}
	return s, nil
}

// ownPackage holds the services that the gateway serves itself.
const ownPackage = "catalogsync.gateway.v1"

// linked returns all services of the project whose protos are linked into the program.
func linked() (services []protoreflect.ServiceDescriptor) {
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "catalogsync.") {
			for i := range f.Services().Len() {
				services = append(services, f.Services().Get(i))
			}
		}
		return true
	})
	return services
}

// Authenticate finds out for whom a call from outside is made, and whether it may be made. The gRPC server asks it
// before every call.
func (s *Service) Authenticate(ctx context.Context, fullMethod string) (context.Context, error) {
	return s.control.Authenticate(ctx, fullMethod)
}

// Register attaches every public method, and reflection.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	gatewayv1.RegisterApiTokenServiceServer(r, s.tokens)
	gatewayv1.RegisterStatusServiceServer(r, s.status)
	for _, d := range s.forwarded {
		r.RegisterService(d, s)
	}
	if server, ok := r.(reflection.GRPCServer); ok {
		if _, there := server.GetServiceInfo()["grpc.reflection.v1.ServerReflection"]; !there {
			reflection.Register(server)
		}
	}
}

// Health reports why the gateway cannot work now.
func (s *Service) Health(ctx context.Context) error { return s.deps.Bus.Health(ctx) }
