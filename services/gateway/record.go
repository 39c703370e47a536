package gateway

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
)

// record writes a call into the audit log before it is made, where it takes an admin or more and changes something.
func (s *Service) record(ctx context.Context, fullMethod string, req proto.Message) error {
	if !s.control.Rules.Audited(fullMethod) {
		return nil
	}
	caller, _ := rpc.CallerFrom(ctx)
	e := audit.Entry{Tenant: caller.Tenant, Action: fullMethod[1:]}
	if req != nil {
		m := req.ProtoReflect()
		e.Subject = subjectOf(m)
		e.Detail = detailOf(m, e.Subject)
		// The operator names the tenant. What can be none's name stays with the installation, and is refused.
		if named := text(m, "tenant"); e.Tenant == "" && access.ValidTenant(named) {
			e.Tenant = named
		}
	}
	if r, ok := req.(*gatewayv1.RevokeApiTokenRequest); ok {
		// Nobody can look the token up afterwards: neither whose it was nor what it was called.
		t, found, err := s.tokens.Tokens.Get(ctx, caller.Tenant, r.GetId())
		if err != nil {
			return err
		}
		if found {
			e.Tenant, e.Detail = t.Tenant, detailOf(access.ToProto(t).ProtoReflect(), e.Subject)
		}
	}
	return s.audit.Write(ctx, e)
}

// recordSignIn writes into the audit log that somebody signs in.
func (s *Service) recordSignIn(ctx context.Context, c rpc.Caller, name string) error {
	return s.audit.Write(rpc.WithCaller(ctx, c), audit.Entry{Tenant: c.Tenant, Action: "sign_in", Subject: c.Subject, Detail: name})
}

// subjects are the fields that say what a request is about, the first that is set.
var subjects = []protoreflect.Name{"run_id", "id", "link_id", "key_id", "connection_id", "object", "host", "name", "common_name"}

// subjectOf finds what a request is about: an id in it, or in a message in it, such as the field map that is saved.
func subjectOf(m protoreflect.Message) string {
	for _, name := range subjects {
		if id := text(m, name); id != "" {
			return id
		}
	}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		if f.Message() == nil || f.IsList() || f.IsMap() || !m.Has(f) {
			continue
		}
		for _, name := range subjects {
			if id := text(m.Get(f).Message(), name); id != "" {
				return id
			}
		}
	}
	return ""
}

// text returns a text field of a message; empty where there is none of the name.
func text(m protoreflect.Message, name protoreflect.Name) string {
	f := m.Descriptor().Fields().ByName(name)
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() || f.IsMap() {
		return ""
	}
	if redacted(f) {
		return ""
	}
	if name == "host" {
		return hostIn(m.Get(f).String())
	}
	return m.Get(f).String()
}
