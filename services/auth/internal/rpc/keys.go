package rpc

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/auth/internal/datakey"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// Keys serves KeyService.
type Keys struct {
	authv1.UnimplementedKeyServiceServer
	Rotator *vault.Rotator
	Data    *datakey.Keys
	Audit   *audit.Log
}

// RotateKeys replaces the key that seals everything and tells how far it has come. When the caller goes away, the rotation
// goes on by itself a little later.
func (s *Keys) RotateKeys(req *authv1.RotateKeysRequest, stream grpc.ServerStreamingServer[authv1.RotateKeysResponse]) error {
	ctx := stream.Context()
	detail := "a new key"
	if req.GetResumeOnly() {
		detail = "go on with a rotation that was cut off"
	}
	if err := s.Audit.Write(ctx, audit.Entry{Action: "key.rotate", Detail: detail}); err != nil {
		return err
	}
	var last vault.Progress
	err := s.Rotator.Rotate(ctx, req.GetResumeOnly(), func(p vault.Progress) error {
		last = p
		return stream.Send(&authv1.RotateKeysResponse{PrimaryKeyId: p.Primary, Total: p.Total, Done: p.Done, RetiredKeyIds: p.Retired})
	})
	if err != nil {
		return fmt.Errorf("rotate the keys: %w", err)
	}
	return s.Audit.Write(ctx, audit.Entry{
		Action: "key.rotate", Subject: fmt.Sprint(last.Primary), Detail: fmt.Sprintf("finished: %d records, keys %d retired", last.Total, last.Retired),
	})
}

// DestroyDataKey destroys the data key of the caller's tenant.
func (s *Keys) DestroyDataKey(ctx context.Context, req *authv1.DestroyDataKeyRequest) (*authv1.DestroyDataKeyResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	if req.GetConfirmTenant() != tenant {
		return nil, errs.New(errs.Invalid, "not_confirmed", "confirm_tenant is %q, and the tenant is %q: name the tenant whose data shall never be read again", req.GetConfirmTenant(), tenant)
	}
	if err := s.Audit.Write(ctx, audit.Entry{Tenant: tenant, Action: "key.destroy", Subject: tenant}); err != nil {
		return nil, err
	}
	if err := s.Data.Destroy(ctx, tenant); err != nil {
		return nil, err
	}
	return &authv1.DestroyDataKeyResponse{}, nil
}

// GetDataKey returns a data key of the caller's tenant, or, to a service that works for all of them, of the one it names.
func (s *Tokens) GetDataKey(ctx context.Context, req *authv1.GetDataKeyRequest) (*authv1.GetDataKeyResponse, error) {
	tenant := req.GetTenant()
	if c, ok := rpc.CallerFrom(ctx); ok && c.Tenant != "" {
		if tenant != "" && tenant != c.Tenant {
			return nil, errs.New(errs.Denied, "other_tenant", "the data key of another tenant than the caller's is not given")
		}
		tenant = c.Tenant
	}
	if tenant == "" {
		return nil, errs.New(errs.Invalid, "missing_tenant", "the request names no tenant: set tenant")
	}
	k, err := s.Data.Get(ctx, tenant, req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &authv1.GetDataKeyResponse{Version: k.Version, Key: []byte(k.Secret.Expose())}, nil
}
