package rpc

import (
	"context"

	"google.golang.org/grpc/metadata"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// Caller is who a call is made for. The gateway makes it from a verified token; behind the gateway it travels in the
// metadata of calls between services, and the tenant of a call is always taken from it.
type Caller struct {
	// Tenant is the customer in whose name the call is made; empty for an operator who belongs to none.
	Tenant string
	// Subject names the API token, the signed-in person or the service.
	Subject string
	// Role is what the caller may do.
	Role optionsv1.Role
}

type callerKey struct{}

// WithCaller returns a context in which calls are made for the caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller for whom ctx acts.
func CallerFrom(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// TenantFrom returns the tenant of the caller. Without one the error is Unauthenticated, reason "no_tenant".
func TenantFrom(ctx context.Context) (string, error) {
	if c, ok := CallerFrom(ctx); ok && c.Tenant != "" {
		return c.Tenant, nil
	}
	return "", errs.New(errs.Unauthenticated, "no_tenant", "the call names no tenant; call through the gateway with an API token")
}

// The metadata of a caller. The suffix -bin lets gRPC carry any text.
const (
	tenantHeader  = "catalogsync-tenant-bin"
	subjectHeader = "catalogsync-subject-bin"
	roleHeader    = "catalogsync-role"
)

// outgoing adds the caller of ctx to the metadata of the call, in place of whatever is there.
func outgoing(ctx context.Context) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	dropCaller(md)
	if c, ok := CallerFrom(ctx); ok {
		md.Set(tenantHeader, c.Tenant)
		md.Set(subjectHeader, c.Subject)
		md.Set(roleHeader, c.Role.String())
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// incoming puts the caller of the call's metadata into ctx.
func incoming(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	role := first(md, roleHeader)
	if role == "" {
		return ctx
	}
	return WithCaller(ctx, Caller{
		Tenant:  first(md, tenantHeader),
		Subject: first(md, subjectHeader),
		Role:    optionsv1.Role(optionsv1.Role_value[role]),
	})
}

// stripped removes a caller from the metadata of a call that comes from outside.
func stripped(ctx context.Context) context.Context {
	md, ok := metadata.FromIncomingContext(ctx) // a copy
	if !ok {
		return ctx
	}
	dropCaller(md)
	return metadata.NewIncomingContext(ctx, md)
}

func dropCaller(md metadata.MD) {
	for _, key := range []string{tenantHeader, subjectHeader, roleHeader} {
		md.Delete(key)
	}
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
