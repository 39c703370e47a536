package rpc

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// RuleOf returns the rule that a method declares; nil where it declares none.
func RuleOf(m protoreflect.MethodDescriptor) *optionsv1.Rule {
	rule, _ := proto.GetExtension(m.Options(), optionsv1.E_Rule).(*optionsv1.Rule)
	return rule
}

// gatewayName is who may call a method that names no callers.
const gatewayName = "gateway"

// CallersOf returns the services that may call a method where it is served, by the names in their certificates.
func CallersOf(rule *optionsv1.Rule) []string {
	if rule.GetRole() == optionsv1.Role_ROLE_UNSPECIFIED {
		return nil
	}
	if len(rule.GetCallers()) == 0 {
		return []string{gatewayName}
	}
	return rule.GetCallers()
}

// admitPeer checks that the service at the other end of a connection may call the method. Where services do not prove who
// they are, inside one process and on loopback, everybody may.
func admitPeer(ctx context.Context, fullMethod string) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || strings.HasPrefix(fullMethod, "/"+healthpb.Health_ServiceDesc.ServiceName+"/") {
		return nil
	}
	if len(info.State.VerifiedChains) == 0 { // the server asks for a certificate; this is for one that forgot
		return errs.New(errs.Unauthenticated, "no_certificate", "show a certificate of the services' authority")
	}
	names := info.State.PeerCertificates[0].DNSNames
	rule, ok := ruleNamed(fullMethod)
	if !ok {
		return nil // not a method of ours; the server says that it does not know it, or it is reflection
	}
	for _, caller := range CallersOf(rule) {
		if slices.Contains(names, caller) {
			return nil
		}
	}
	return errs.New(errs.Denied, "caller_not_allowed", "%s may not be called by %s: it is for %s", fullMethod,
		strings.Join(names, ", "), strings.Join(CallersOf(rule), ", "))
}

// ruleNamed finds the rule of a method of ours by its name on the wire.
func ruleNamed(fullMethod string) (*optionsv1.Rule, bool) {
	service, method, ok := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	if !ok || !strings.HasPrefix(service, "catalogsync.") {
		return nil, false
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, false
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, false
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		return nil, false
	}
	return RuleOf(m), true
}
