package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
)

// BeginLink begins a link by consent for the caller's tenant.
func (s *Connections) BeginLink(ctx context.Context, req *authv1.BeginLinkRequest) (*authv1.BeginLinkResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	l, ticket, err := s.Linker.Begin(ctx, link.Request{
		Tenant: tenant, Name: req.GetName(), Host: req.GetHost(), Purpose: purposes[req.GetPurpose()], CompanyNames: req.GetCompanyNames(),
		Credentials: connection.Credentials{ClientID: req.GetClientId(), ClientSecret: config.NewSecret(req.GetClientSecret())},
		Terms:       connection.Terms{Reconnect: req.GetConnectionId(), ReplaceOrg: req.GetReplaceOrg()},
	})
	if err != nil {
		return nil, err
	}
	return &authv1.BeginLinkResponse{LinkId: l.ID, Ticket: ticket.Expose(), ExpiresAt: timestamppb.New(l.ExpiresAt)}, nil
}

// GetLink says how far a link of the caller's tenant has come.
func (s *Connections) GetLink(ctx context.Context, req *authv1.GetLinkRequest) (*authv1.GetLinkResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.Linker.Pending.Get(ctx, tenant, req.GetLinkId())
	if err != nil {
		return nil, err
	}
	res := linkToProto(l)
	if l.Connection != "" {
		conn, err := s.Conns.Find(ctx, tenant, l.Connection)
		if err != nil {
			return nil, err
		}
		res.Connection = toProto(conn)
	}
	return res, nil
}

// internalOnly refuses calls that are not a service's own: they carry no tenant, so nobody else may make them.
func internalOnly(ctx context.Context) error {
	if c, ok := rpc.CallerFrom(ctx); !ok || c.Role != optionsv1.Role_ROLE_INTERNAL {
		return errs.New(errs.Denied, "internal_only", "only the gateway's pages may call this")
	}
	return nil
}

// ShowLink says whose link a ticket opens.
func (s *Connections) ShowLink(ctx context.Context, req *authv1.ShowLinkRequest) (*authv1.ShowLinkResponse, error) {
	if err := internalOnly(ctx); err != nil {
		return nil, err
	}
	l, err := s.Linker.Show(ctx, req.GetTicket())
	if err != nil {
		return nil, err
	}
	return &authv1.ShowLinkResponse{Tenant: l.Tenant, Author: l.Author, Host: l.Host}, nil
}

// OpenLink binds a link to a browser session.
func (s *Connections) OpenLink(ctx context.Context, req *authv1.OpenLinkRequest) (*authv1.OpenLinkResponse, error) {
	if err := internalOnly(ctx); err != nil {
		return nil, err
	}
	url, err := s.Linker.Open(ctx, req.GetTicket(), req.GetSessionHash(), req.GetRedirectUri())
	if err != nil {
		return nil, err
	}
	return &authv1.OpenLinkResponse{AuthorizeUrl: url}, nil
}

// FinishLink takes what Salesforce's redirect brought.
func (s *Connections) FinishLink(ctx context.Context, req *authv1.FinishLinkRequest) (*authv1.FinishLinkResponse, error) {
	if err := internalOnly(ctx); err != nil {
		return nil, err
	}
	l, conn, err := s.Linker.Finish(ctx, link.Return{
		State: req.GetState(), Session: req.GetSessionHash(), Code: config.NewSecret(req.GetCode()),
		Error: req.GetError(), ErrorDescription: req.GetErrorDescription(),
	})
	if err != nil {
		return nil, err
	}
	res := linkToProto(l)
	if l.Connection != "" {
		res.Connection = toProto(conn)
	}
	return &authv1.FinishLinkResponse{Link: res}, nil
}

var linkStates = map[link.State]authv1.LinkState{
	link.Waiting: authv1.LinkState_LINK_STATE_PENDING, link.Opened: authv1.LinkState_LINK_STATE_OPENED,
	link.Finishing: authv1.LinkState_LINK_STATE_OPENED, link.Done: authv1.LinkState_LINK_STATE_LINKED,
	link.Failed: authv1.LinkState_LINK_STATE_FAILED, link.Expired: authv1.LinkState_LINK_STATE_EXPIRED,
}

func linkToProto(l link.Link) *authv1.GetLinkResponse {
	res := &authv1.GetLinkResponse{State: linkStates[l.Current(time.Now())]}
	if l.Problem != nil {
		res.Error, res.ErrorDescription, res.Advice = l.Problem.Code, l.Problem.Description, l.Problem.Advice
	}
	return res
}
