// Package auth is the service that holds the credentials of all linked orgs: it links tenants to orgs, keeps the
// credentials encrypted, and hands short-lived access tokens to the services that call Salesforce.
//
// Nothing but an access token ever leaves it, and that only over gRPC.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/rpc"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// Deps are what the service needs.
type Deps struct {
	Log       *slog.Logger
	Bus       *bus.Bus
	Telemetry telemetry.Providers
}

// Service is the auth service.
type Service struct {
	bus         *bus.Bus
	source      *token.Source
	connections *rpc.Connections
	tokens      *rpc.Tokens
}

// New opens the buckets and the vault. It starts nothing and listens nowhere.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if deps.Log == nil || deps.Bus == nil {
		return nil, errors.New("auth: a log and a bus are needed")
	}
	sets, err := connection.OpenKeySets(ctx, deps.Bus)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	v, err := vault.Load(ctx, sets, cfg.KeyFile, cfg.CreateKeyFile)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	conns, err := connection.Open(ctx, deps.Bus, v, deps.Log)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	policy := cfg.Policy()
	client := oauth.New(salesforce.NewOAuthClient(policy), policy)
	source, err := token.New(client, conns, deps.Log, deps.Telemetry.OrNoop(), token.DefaultOptions())
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	linker := &link.Linker{OAuth: client, Policy: policy, Conns: conns, Tokens: source, Log: deps.Log}
	return &Service{
		bus: deps.Bus, source: source,
		connections: &rpc.Connections{Linker: linker, Conns: conns, Source: source},
		tokens:      &rpc.Tokens{Conns: conns, Source: source},
	}, nil
}

// Register attaches ConnectionService and TokenService.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	authv1.RegisterConnectionServiceServer(r, s.connections)
	authv1.RegisterTokenServiceServer(r, s.tokens)
}

// Run keeps what is known of connections current until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.source.Close()
	s.source.Watch(ctx)
	return nil
}

// Health reports why the service cannot work now.
func (s *Service) Health(ctx context.Context) error { return s.bus.Health(ctx) }
