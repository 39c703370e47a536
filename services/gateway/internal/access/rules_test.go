package access_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
)

// service makes a service whose methods have the rules; nil for none.
func service(t *testing.T, rules map[string]*optionsv1.Rule) protoreflect.ServiceDescriptor {
	t.Helper()
	s := &descriptorpb.ServiceDescriptorProto{Name: proto.String("TestService")}
	for name, rule := range rules {
		m := &descriptorpb.MethodDescriptorProto{Name: proto.String(name), InputType: proto.String(".catalogsync.options.v1.Rule"), OutputType: proto.String(".catalogsync.options.v1.Rule")}
		if rule != nil {
			m.Options = &descriptorpb.MethodOptions{}
			proto.SetExtension(m.Options, optionsv1.E_Rule, rule)
		}
		s.Method = append(s.Method, m)
	}
	f, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Syntax: proto.String("proto3"), Package: proto.String("test"),
		Dependency: []string{optionsv1.File_catalogsync_options_v1_options_proto.Path()}, Service: []*descriptorpb.ServiceDescriptorProto{s},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return f.Services().Get(0)
}

func TestEveryMethodNeedsARule(t *testing.T) {
	t.Parallel()
	rules, err := access.ReadRules(authv1.File_catalogsync_auth_v1_auth_proto.Services().Get(0))
	if err != nil || rules[authv1.ConnectionService_LinkConnection_FullMethodName] != optionsv1.Role_ROLE_ADMIN {
		t.Errorf("rules are %v, %v", rules, err)
	}
	_, err = access.ReadRules(service(t, map[string]*optionsv1.Rule{
		"Fine": {Role: optionsv1.Role_ROLE_VIEWER}, "Bare": nil, "Empty": {},
	}))
	for _, want := range []string{"test.TestService.Bare", "test.TestService.Empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "Fine") {
		t.Errorf("error is %v", err)
	}
}
