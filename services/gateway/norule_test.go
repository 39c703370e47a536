package gateway_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/gateway"
)

// TestMethodWithoutARuleKeepsItFromStarting links a proto whose method has no rule into a process, which is one of its own
// since the others would have it, too.
func TestMethodWithoutARuleKeepsItFromStarting(t *testing.T) {
	t.Parallel()
	const variable = "CATALOGSYNC_TEST_METHOD_WITHOUT_RULE"
	if os.Getenv(variable) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("bare.proto"), Syntax: proto.String("proto3"), Package: proto.String("catalogsync.sync.v1"),
		Dependency: []string{optionsv1.File_catalogsync_options_v1_options_proto.Path()},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("BareService"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("DoAnything"), InputType: proto.String(".catalogsync.options.v1.Rule"), OutputType: proto.String(".catalogsync.options.v1.Rule"),
		}}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil {
		t.Fatal(err)
	}
	nobody := noConn{}
	_, err = gateway.New(t.Context(), gateway.DefaultConfig(), gateway.Deps{
		Log: testkit.Logger(t), Bus: testkit.Bus(t), Auth: nobody, Mapper: nobody, Scheduler: nobody, SyncWorker: nobody,
	})
	if err == nil || !strings.Contains(err.Error(), "catalogsync.sync.v1.BareService.DoAnything has no rule") {
		t.Errorf("it starts with %v", err)
	}
}
