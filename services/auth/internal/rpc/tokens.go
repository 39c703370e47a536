package rpc

import (
	"context"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/lease"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/auth/internal/access"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/datakey"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
)

// Tokens serves TokenService.
type Tokens struct {
	authv1.UnimplementedTokenServiceServer
	Conns  *connection.Store
	Source *token.Source
	Access *access.Control
	Data   *datakey.Keys
}

// GetAccessToken returns the access token of a connection of the caller's tenant to whoever holds a lease or a grant.
func (s *Tokens) GetAccessToken(ctx context.Context, req *authv1.GetAccessTokenRequest) (*authv1.GetAccessTokenResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	id := req.GetConnectionId()
	if id == "" {
		return nil, errs.New(errs.Invalid, "missing_connection_id", "the request names no connection: set connection_id")
	}
	if err := s.may(ctx, tenant, req); err != nil {
		return nil, err
	}
	rejected := config.NewSecret(req.GetRejectedAccessToken())
	if req.GetRefusedAgain() {
		if err := s.Source.Refused(ctx, tenant, id, rejected); err != nil {
			return nil, err
		}
	}
	g, err := s.Source.Token(ctx, tenant, id, rejected)
	if err != nil {
		return nil, err
	}
	return &authv1.GetAccessTokenResponse{AccessToken: g.AccessToken.Expose(), InstanceUrl: g.InstanceURL, OrgId: g.OrgID}, nil
}

// may says why the caller may not have a token of the connection, which may be any.
func (s *Tokens) may(ctx context.Context, tenant string, req *authv1.GetAccessTokenRequest) error {
	if req.GetLease() == nil && req.GetGrant() != "" {
		return s.Access.ByGrant(ctx, tenant, req.GetConnectionId(), config.NewSecret(req.GetGrant()))
	}
	l := req.GetLease()
	return s.Access.ByLease(ctx, tenant, req.GetConnectionId(),
		lease.Task{RunID: l.GetRunId(), Stage: l.GetStage(), Number: int(l.GetNumber()), Epoch: l.GetEpoch()})
}

// CreateGrant makes a grant for a connection of the caller's tenant.
func (s *Tokens) CreateGrant(ctx context.Context, req *authv1.CreateGrantRequest) (*authv1.CreateGrantResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.Conns.Find(ctx, tenant, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	if conn.State == connection.Unlinked {
		return nil, conn.UnlinkedError()
	}
	grant, err := s.Access.Grant(ctx, tenant, conn.ID)
	if err != nil {
		return nil, err
	}
	return &authv1.CreateGrantResponse{Grant: grant.Expose()}, nil
}

// ListLinkedConnections streams the linked connections of all tenants to a service.
func (s *Tokens) ListLinkedConnections(_ *authv1.ListLinkedConnectionsRequest, stream grpc.ServerStreamingServer[authv1.ListLinkedConnectionsResponse]) error {
	if c, ok := rpc.CallerFrom(stream.Context()); !ok || c.Role != optionsv1.Role_ROLE_INTERNAL {
		return errs.New(errs.Denied, "internal_only", "only services may list the connections of all tenants")
	}
	conns, err := s.Conns.All(stream.Context())
	if err != nil {
		return err
	}
	for _, c := range conns {
		if c.State != connection.Linked {
			continue
		}
		if err := stream.Send(&authv1.ListLinkedConnectionsResponse{Connection: toProto(c)}); err != nil {
			return err
		}
	}
	return nil
}
