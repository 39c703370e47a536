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
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/access"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/datakey"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/rpc"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
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
	unlinker    *link.Unlinker
	vault       *vault.Vault
	rotator     *vault.Rotator
	data        *datakey.Keys
	connections *rpc.Connections
	tokens      *rpc.Tokens
	keys        *rpc.Keys
}

// New opens the buckets and the vault. It starts nothing and listens nowhere.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	return build(ctx, cfg, deps, token.DefaultOptions())
}

func build(ctx context.Context, cfg Config, deps Deps, limits token.Options) (*Service, error) {
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
	v, err := vault.LoadFiles(ctx, sets, vault.Files{
		Key: cfg.KeyFile, Previous: cfg.PreviousKeyFile, Create: cfg.CreateKeyFile, Fresh: cfg.KeySettle / 4, Log: deps.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	conns, err := connection.Open(ctx, deps.Bus, v, deps.Log)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	policy := cfg.Policy()
	client := oauth.New(salesforce.NewOAuthClient(policy), policy)
	trail, err := audit.Open(ctx, deps.Bus, "auth")
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	source, err := token.New(ctx, token.Deps{
		OAuth: client, Conns: conns, Bus: deps.Bus, Vault: v, Audit: trail, Log: deps.Log, Telemetry: deps.Telemetry.OrNoop(),
	}, limits)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	control, err := access.Open(ctx, deps.Bus, trail)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	pending, err := link.OpenPending(ctx, deps.Bus, v)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	keys, err := signkey.Open(ctx, deps.Bus, v)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	data, err := datakey.Open(ctx, deps.Bus, v, deps.Log)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	rotator := &vault.Rotator{Vault: v, Bus: deps.Bus, Log: deps.Log, Settle: cfg.KeySettle}
	unlinker := &link.Unlinker{
		OAuth: client, Conns: conns, Keys: keys, Pending: pending, Audit: trail, Bus: deps.Bus, AccessToken: source.Surrender, DestroyDataKey: data.Retire, Grace: link.DefaultGrace, Log: deps.Log,
	}
	linker := &link.Linker{
		OAuth: client, Policy: policy, Conns: conns, Tokens: source, Keys: keys, Audit: trail, Pending: pending, Unlinker: unlinker,
		App: oauth.ClientCredentials{ClientID: cfg.AppClientID, ClientSecret: cfg.AppClientSecret}, Log: deps.Log,
	}
	return &Service{
		bus: deps.Bus, source: source, unlinker: unlinker, vault: v, rotator: rotator, data: data,
		connections: &rpc.Connections{Linker: linker, Unlinker: unlinker, Conns: conns, Keys: keys, Source: source},
		tokens:      &rpc.Tokens{Conns: conns, Source: source, Access: control, Data: data},
		keys:        &rpc.Keys{Rotator: rotator, Data: data, Audit: trail},
	}, nil
}

// Register attaches ConnectionService, TokenService and KeyService.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	authv1.RegisterConnectionServiceServer(r, s.connections)
	authv1.RegisterTokenServiceServer(r, s.tokens)
	authv1.RegisterKeyServiceServer(r, s.keys)
}

// Run keeps what is known of connections current and refresh tokens alive, winds up what was unlinked, keeps up with the
// keys and goes on with a rotation of them that was cut off, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return app.Run(ctx, s.source.Run, s.unlinker.Run, s.vault.Run, s.rotator.Run, s.data.Run)
}

// Health reports why the service cannot work now.
func (s *Service) Health(ctx context.Context) error { return s.bus.Health(ctx) }
