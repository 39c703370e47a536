package gateway

import (
	"context"
	"time"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

// auditService shows the audit log.
type auditService struct {
	auditv1.UnimplementedAuditServiceServer
	log *audit.Log
}

// ListAuditEntries returns entries of the caller's tenant, and to the operator those that concern no tenant.
func (s *auditService) ListAuditEntries(ctx context.Context, req *auditv1.ListAuditEntriesRequest) (*auditv1.ListAuditEntriesResponse, error) {
	c, _ := rpc.CallerFrom(ctx)
	if c.Tenant == "" && c.Role != optionsv1.Role_ROLE_OPERATOR {
		_, err := rpc.TenantFrom(ctx)
		return nil, err
	}
	var since time.Time
	if at := req.GetSince(); at != nil {
		if !at.IsValid() {
			return nil, errs.New(errs.Invalid, "bad_time", "since is no time: give one such as 2026-01-31T00:00:00Z")
		}
		since = at.AsTime()
	}
	entries, next, err := s.log.List(ctx, audit.Query{
		Tenant: c.Tenant, ActionPrefix: req.GetActionPrefix(), Since: since, PageSize: int(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	return &auditv1.ListAuditEntriesResponse{Entries: entries, NextPageToken: next}, nil
}
