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
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
	"github.com/catalogsync/catalogsync/services/gateway/internal/compose"
	"github.com/catalogsync/catalogsync/services/gateway/internal/forward"
	"github.com/catalogsync/catalogsync/services/gateway/internal/httpapi"
	"github.com/catalogsync/catalogsync/services/gateway/internal/oauthpage"
	"github.com/catalogsync/catalogsync/services/gateway/internal/signin"
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
	issuer    *signin.Issuer // nil: nobody signs in
	origin    atomic.Value   // string: where browsers reach the HTTP server, once it listens
	audit     *audit.Log
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
	tokens, err := access.OpenTokens(ctx, deps.Bus, deps.Log)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	log, err := audit.Open(ctx, deps.Bus, "gateway")
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	composer := compose.New(deps.Auth, deps.Mapper, deps.Scheduler, deps.SyncWorker)
	s := &Service{
		cfg: cfg, deps: deps, audit: log,
		control: &access.Control{Rules: rules, Tokens: tokens, Operator: cfg.OperatorToken, Rate: access.NewRate(cfg.CallsPerSecond, cfg.CallBurst)},
		tokens:  &access.Service{Tokens: tokens},
		status:  &compose.Status{Composer: composer},
	}
	if _, err := s.publicTLS(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if cfg.OIDC.Issuer != "" {
		if s.control.Sessions, err = access.OpenSessions(ctx, deps.Bus); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		cfg.OIDC.Algorithms = cfg.algorithms()
		s.issuer = signin.NewIssuer(cfg.OIDC)
		s.control.Issuer = s.issuer
	}
	owners := deps.owners()
	owners["catalogsync.auth.v1"] = oauthpage.Conn(deps.Auth, func() string { origin, _ := s.origin.Load().(string); return origin })
	for _, d := range services {
		if slices.Contains(ownPackages, d.ParentFile().Package()) {
			continue
		}
		owner, ok := owners[d.ParentFile().Package()]
		if !ok {
			return nil, fmt.Errorf("gateway: nobody is known to serve %s", d.FullName())
		}
		desc, err := forward.Service(d, rules, owner, composer.Prepare, s.record)
		if err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		if len(desc.Methods)+len(desc.Streams) > 0 {
			s.forwarded = append(s.forwarded, desc)
		}
	}
	return s, nil
}

// ownPackages hold the services that the gateway serves itself.
var ownPackages = []protoreflect.FullName{"catalogsync.gateway.v1", "catalogsync.audit.v1"}

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

// Register attaches every public method.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	r.RegisterService(forward.Recorded(&gatewayv1.ApiTokenService_ServiceDesc, s.record), s.tokens)
	r.RegisterService(forward.Recorded(&gatewayv1.StatusService_ServiceDesc, s.record), s.status)
	r.RegisterService(forward.Recorded(&auditv1.AuditService_ServiceDesc, s.record), &auditService{log: s.audit})
	for _, d := range s.forwarded {
		r.RegisterService(d, s)
	}
}

// PublicCredentials are those of the server that callers from outside reach; nil where none of its own are set.
func (s *Service) PublicCredentials() (credentials.TransportCredentials, error) {
	conf, err := s.publicTLS()
	if err != nil || conf == nil {
		return nil, err
	}
	return credentials.NewTLS(conf), nil
}

// Limit bounds how many connections a listener of the gateway has open, in all and of one address.
func (s *Service) Limit(lis net.Listener) net.Listener {
	return httpapi.LimitListener(lis, s.cfg.MaxConnections, s.cfg.MaxConnectionsPerAddress)
}

// Health reports why the gateway cannot work now.
func (s *Service) Health(ctx context.Context) error { return s.deps.Bus.Health(ctx) }
