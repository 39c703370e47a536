// Package rpc owns the gRPC face of auth: proto types come in and go out here and nowhere else.
package rpc

import (
	"context"
	"errors"
	"strings"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
)

// Connections serves ConnectionService.
type Connections struct {
	authv1.UnimplementedConnectionServiceServer
	Linker   *link.Linker
	Unlinker *link.Unlinker
	Conns    *connection.Store
	Keys     *signkey.Store
	Source   *token.Source
}

// LinkConnection links the caller's tenant, or gives a connection new credentials.
func (s *Connections) LinkConnection(ctx context.Context, req *authv1.LinkConnectionRequest) (*authv1.LinkConnectionResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	r := link.Request{
		Tenant: tenant, Name: req.GetName(), Host: req.GetHost(), Purpose: purposes[req.GetPurpose()], CompanyNames: req.GetCompanyNames(),
		Terms: connection.Terms{Reconnect: req.GetConnectionId(), ReplaceOrg: req.GetReplaceOrg()},
	}
	switch c := req.GetCredentials().(type) {
	case *authv1.LinkConnectionRequest_ClientCredentials:
		cc := c.ClientCredentials
		r.Flow = connection.ClientCredentials
		r.Credentials = connection.Credentials{ClientID: cc.GetClientId(), ClientSecret: config.NewSecret(cc.GetClientSecret())}
	case *authv1.LinkConnectionRequest_JwtBearer:
		jwt := c.JwtBearer
		r.Flow, r.SigningKey = connection.JWTBearer, jwt.GetSigningKeyId()
		r.Credentials = connection.Credentials{
			ClientID: jwt.GetClientId(), Username: jwt.GetUsername(), Audience: jwt.GetAudience(), PrivateKey: config.NewSecret(jwt.GetPrivateKeyPem()),
		}
	default:
		return nil, errs.New(errs.Invalid, "missing_credentials", "the request holds no credentials: set client_credentials with client_id and client_secret, or jwt_bearer")
	}
	conn, err := s.Linker.Link(ctx, r)
	if err != nil {
		return nil, err
	}
	return &authv1.LinkConnectionResponse{Connection: toProto(conn)}, nil
}

// UpdateConnection changes the names that an admin gave.
func (s *Connections) UpdateConnection(ctx context.Context, req *authv1.UpdateConnectionRequest) (*authv1.UpdateConnectionResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	name, companies := req.GetName(), req.GetCompanyNames()
	if problems := link.CleanNames(&name, &companies); problems != nil {
		return nil, errs.New(errs.Invalid, "invalid_connection", "%s", strings.Join(problems, "; "))
	}
	conn, err := s.Conns.Update(ctx, tenant, req.GetConnectionId(), name, companies)
	if err != nil {
		return nil, err
	}
	return &authv1.UpdateConnectionResponse{Connection: toProto(conn)}, nil
}

// UnlinkConnection ends a connection.
func (s *Connections) UnlinkConnection(ctx context.Context, req *authv1.UnlinkConnectionRequest) (*authv1.UnlinkConnectionResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	done, err := s.Unlinker.Unlink(ctx, tenant, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	return &authv1.UnlinkConnectionResponse{
		Connection: toProto(done.Connection), Revoked: done.Revoked, RevokeProblem: done.Problem, DataKeyDestroyed: done.DataKeyDestroyed,
	}, nil
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

// ListConnections returns the connections of the caller's tenant, and behind them the links for which consent is awaited.
func (s *Connections) ListConnections(ctx context.Context, _ *authv1.ListConnectionsRequest) (*authv1.ListConnectionsResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	conns, err := s.Conns.List(ctx, tenant)
	if err != nil {
		return nil, err
	}
	pending, err := s.Linker.Pending.Open(ctx, tenant)
	if err != nil {
		return nil, err
	}
	res := &authv1.ListConnectionsResponse{}
	for _, c := range conns {
		res.Connections = append(res.Connections, toProto(c))
	}
	for _, l := range pending {
		if l.Reconnect == "" { // the others are there
			res.Connections = append(res.Connections, awaited(l))
		}
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
	if conn.State == connection.Unlinked {
		return nil, conn.UnlinkedError()
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

// CreateSigningKey makes a key pair for the caller's tenant.
func (s *Connections) CreateSigningKey(ctx context.Context, req *authv1.CreateSigningKeyRequest) (*authv1.CreateSigningKeyResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	key, err := s.Keys.Create(ctx, tenant, req.GetCommonName())
	if err != nil {
		return nil, err
	}
	return &authv1.CreateSigningKeyResponse{Key: keyToProto(key)}, nil
}

// ListSigningKeys returns the keys of the caller's tenant.
func (s *Connections) ListSigningKeys(ctx context.Context, _ *authv1.ListSigningKeysRequest) (*authv1.ListSigningKeysResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.Keys.List(ctx, tenant)
	if err != nil {
		return nil, err
	}
	res := &authv1.ListSigningKeysResponse{}
	for _, k := range keys {
		res.Keys = append(res.Keys, keyToProto(k))
	}
	return res, nil
}
