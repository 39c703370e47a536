package access

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

// Service serves ApiTokenService.
type Service struct {
	gatewayv1.UnimplementedApiTokenServiceServer
	Tokens *Tokens
}

// CreateApiToken makes a token for the caller's tenant, or for the one that an operator names.
func (s *Service) CreateApiToken(ctx context.Context, req *gatewayv1.CreateApiTokenRequest) (*gatewayv1.CreateApiTokenResponse, error) {
	tenant, err := tenantOf(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	caller, _ := rpc.CallerFrom(ctx)
	t := Token{Name: req.GetName(), Tenant: tenant, Role: req.GetRole(), Author: caller.Subject}
	if at := req.GetExpiresAt(); at != nil {
		if !at.IsValid() {
			return nil, errs.New(errs.Invalid, "invalid_token_request", "expires_at is no time")
		}
		t.ExpiresAt = at.AsTime().Truncate(time.Millisecond)
	}
	t, secret, err := s.Tokens.Create(ctx, t)
	if err != nil {
		return nil, err
	}
	return &gatewayv1.CreateApiTokenResponse{Token: ToProto(t), Secret: secret.Expose()}, nil
}

// ListApiTokens lists the tokens of the caller's tenant, or of the one that an operator names.
func (s *Service) ListApiTokens(ctx context.Context, req *gatewayv1.ListApiTokensRequest) (*gatewayv1.ListApiTokensResponse, error) {
	tenant, err := tenantOf(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	tokens, err := s.Tokens.List(ctx, tenant)
	if err != nil {
		return nil, err
	}
	res := &gatewayv1.ListApiTokensResponse{}
	for _, t := range tokens {
		res.Tokens = append(res.Tokens, ToProto(t))
	}
	return res, nil
}

// RevokeApiToken ends a token of the caller's tenant; an operator ends any.
func (s *Service) RevokeApiToken(ctx context.Context, req *gatewayv1.RevokeApiTokenRequest) (*gatewayv1.RevokeApiTokenResponse, error) {
	tenant := ""
	if c, _ := rpc.CallerFrom(ctx); c.Role != optionsv1.Role_ROLE_OPERATOR {
		var err error
		if tenant, err = rpc.TenantFrom(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.Tokens.Revoke(ctx, tenant, req.GetId()); err != nil {
		return nil, err
	}
	return &gatewayv1.RevokeApiTokenResponse{}, nil
}

// tenantOf is the tenant whose tokens a call is about.
func tenantOf(ctx context.Context, named string) (string, error) {
	c, _ := rpc.CallerFrom(ctx)
	if c.Role == optionsv1.Role_ROLE_OPERATOR {
		if named == "" {
			return "", errs.New(errs.Invalid, "missing_tenant", "the operator belongs to no tenant: name the one that the token is for")
		}
		return named, nil
	}
	own, err := rpc.TenantFrom(ctx)
	if err != nil {
		return "", err
	}
	if named != "" && named != own {
		return "", errs.New(errs.Denied, "other_tenant", "tokens of other tenants are the operator's: leave tenant out")
	}
	return own, nil
}

// ToProto is a token as callers see it.
func ToProto(t Token) *gatewayv1.ApiToken {
	p := &gatewayv1.ApiToken{Id: t.ID, Name: t.Name, Tenant: t.Tenant, Role: t.Role, Author: t.Author, CreatedAt: timestamppb.New(t.CreatedAt)}
	if !t.UsedAt.IsZero() {
		p.LastUsedAt = timestamppb.New(t.UsedAt)
	}
	if !t.ExpiresAt.IsZero() {
		p.ExpiresAt = timestamppb.New(t.ExpiresAt)
	}
	return p
}
