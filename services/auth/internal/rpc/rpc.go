// Package rpc owns the gRPC face of auth: proto types come in and go out here and nowhere else.
package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
)

// Connections serves ConnectionService.
type Connections struct {
	authv1.UnimplementedConnectionServiceServer
	Linker *link.Linker
	Conns  *connection.Store
	Source *token.Source
}

// LinkConnection links the caller's tenant.
func (s *Connections) LinkConnection(ctx context.Context, req *authv1.LinkConnectionRequest) (*authv1.LinkConnectionResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	cc := req.GetClientCredentials()
	if cc == nil {
		return nil, errs.New(errs.Invalid, "missing_credentials", "the request holds no credentials: set client_credentials with client_id and client_secret")
	}
	conn, err := s.Linker.ClientCredentials(ctx, link.Request{
		Tenant: tenant, Name: req.GetName(), Host: req.GetHost(),
		Credentials: connection.Credentials{ClientID: cc.GetClientId(), ClientSecret: config.NewSecret(cc.GetClientSecret())},
	})
	if err != nil {
		return nil, err
	}
	return &authv1.LinkConnectionResponse{Connection: toProto(conn)}, nil
}

// GetConnection returns a connection of the caller's tenant.
func (s *Connections) GetConnection(ctx context.Context, req *authv1.GetConnectionRequest) (*authv1.GetConnectionResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.Conns.Find(ctx, tenant, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	return &authv1.GetConnectionResponse{Connection: toProto(conn)}, nil
}

// ListConnections returns the connections of the caller's tenant.
func (s *Connections) ListConnections(ctx context.Context, _ *authv1.ListConnectionsRequest) (*authv1.ListConnectionsResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	conns, err := s.Conns.List(ctx, tenant)
	if err != nil {
		return nil, err
	}
	res := &authv1.ListConnectionsResponse{}
	for _, c := range conns {
		res.Connections = append(res.Connections, toProto(c))
	}
	return res, nil
}

// TestConnection asks Salesforce for a new token.
func (s *Connections) TestConnection(ctx context.Context, req *authv1.TestConnectionRequest) (*authv1.TestConnectionResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.Conns.Find(ctx, tenant, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	result, err := s.Source.Test(ctx, conn)
	if err != nil {
		return nil, err
	}
	res := &authv1.TestConnectionResponse{Ok: result.Refusal == nil, Connection: toProto(result.Connection)}
	if r, ok := errors.AsType[*oauth.Refusal](result.Refusal); ok {
		res.Error, res.ErrorDescription, res.Advice = r.Code, r.Description, r.Advice()
	} else if result.Refusal != nil {
		res.Error, res.Advice = "answer_not_trusted", result.Refusal.Error()
	}
	return res, nil
}

// Tokens serves TokenService.
type Tokens struct {
	authv1.UnimplementedTokenServiceServer
	Conns  *connection.Store
	Source *token.Source
}

// GetAccessToken returns an access token of a connection of the caller's tenant.
func (s *Tokens) GetAccessToken(ctx context.Context, req *authv1.GetAccessTokenRequest) (*authv1.GetAccessTokenResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	if req.GetConnectionId() == "" {
		return nil, errs.New(errs.Invalid, "missing_connection_id", "the request names no connection: set connection_id")
	}
	g, err := s.Source.Token(ctx, tenant, req.GetConnectionId(), config.NewSecret(req.GetRejectedAccessToken()))
	if err != nil {
		return nil, err
	}
	return &authv1.GetAccessTokenResponse{AccessToken: g.AccessToken.Expose(), InstanceUrl: g.InstanceURL, OrgId: g.OrgID}, nil
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

var states = map[connection.State]authv1.ConnectionState{
	connection.Linking:        authv1.ConnectionState_CONNECTION_STATE_LINKING,
	connection.Linked:         authv1.ConnectionState_CONNECTION_STATE_LINKED,
	connection.NeedsReconnect: authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT,
	connection.Unlinked:       authv1.ConnectionState_CONNECTION_STATE_UNLINKED,
}

var flows = map[connection.Flow]authv1.Flow{
	connection.ClientCredentials: authv1.Flow_FLOW_CLIENT_CREDENTIALS,
}

func toProto(c connection.Connection) *authv1.Connection {
	return &authv1.Connection{
		Id: c.ID, Tenant: c.Tenant, Name: c.Name, State: states[c.State], Reason: c.Reason, Flow: flows[c.Flow],
		Host: c.Host, OrgId: c.OrgID, InstanceUrl: c.InstanceURL, Username: c.Username, UserId: c.UserID,
		LinkedAt: timestamppb.New(c.LinkedAt),
	}
}
