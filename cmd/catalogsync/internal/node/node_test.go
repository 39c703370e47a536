package node_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/node"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

func options(t *testing.T, origin string) node.Options {
	t.Helper()
	o := node.DefaultOptions()
	o.Data, o.Listen, o.HTTPListen, o.Log = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", testkit.Logger(t)
	o.DevOrigins = []string{origin}
	o.Grace = time.Second
	return o
}

// The least that may be given to NATS is enough for every stream and bucket.
func TestTheLeastDiskIsEnough(t *testing.T) {
	o := options(t, "http://127.0.0.1:1")
	o.MaxBytes = 4 << 30
	n, err := node.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	o.MaxBytes--
	if _, err := node.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "-max-bytes") {
		t.Errorf("with less: %v", err)
	}
}

// Everything in one process: import, link, map, run; stop, start again, and nothing is forgotten.
func TestNode(t *testing.T) {
	org, err := simulator.Start(simulator.Options{ExternalIDFields: []string{"Contact.CatalogUserId__c"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	o := options(t, org.URL)
	n, err := node.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Start(t.Context(), o); err == nil {
		t.Error("two processes may use one data directory")
	} else {
		t.Logf("the second process is told: %v", err)
	}
	s := harness.At(t, n.Addr(), n.OperatorToken())
	x := s.Tenant(t, "acme")
	var file bytes.Buffer
	if err := sample.WriteCSV(&file, sample.Options{People: 2500, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	x.Import(t, file.Bytes(), directoryv1.ImportMode_IMPORT_MODE_FULL)
	x.Link(t, org)
	x.SaveMap(t, "Contact", "CatalogUserId__c")
	first := x.Run(t)
	harness.Want(t, first, syncv1.RunState_RUN_STATE_SUCCEEDED, map[string]int64{"people": 2500, "created": 2500, "verified": 2500})
	harness.CheckCounts(t, first, x.Outcomes(t, first.GetId()))
	expect := harness.Expect{Object: "Contact", ExternalID: "CatalogUserId__c", People: harness.ReadPeople(t, file.Bytes())}
	harness.CheckOrg(t, org, expect)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	o.Log = testkit.Logger(t)
	if n, err = node.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	again := harness.At(t, n.Addr(), n.OperatorToken())
	y := again.Tenant(t, "acme")
	second := y.Run(t)
	harness.Want(t, second, syncv1.RunState_RUN_STATE_SUCCEEDED, map[string]int64{"unchanged": 2500})
	harness.CheckCounts(t, first, y.Outcomes(t, first.GetId()))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// After Close nothing is left running.
func TestNodeLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	o := options(t, "http://127.0.0.1:1")
	ctx, cancel := context.WithCancel(t.Context())
	n, err := node.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := n.Wait(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
	info, err := os.Stat(filepath.Join(o.Data, "operator.token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("operator.token: %v, %v", info, err)
	}
}

// Services may be split over processes at will: here the public half and the working half, with NATS embedded in one.
func TestTwoNodesShareTheWork(t *testing.T) {
	org, err := simulator.Start(simulator.Options{ExternalIDFields: []string{"Contact.CatalogUserId__c"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	addrs := make(map[string]string)
	for _, name := range node.Services {
		addrs[name] = harness.FreePort(t)
	}
	nats := harness.FreePort(t)
	back := options(t, org.URL)
	back.Targets, back.NATSListen, back.Directory = []string{"auth", "mapper", "sync-worker"}, nats, testkit.Postgres(t)
	front := options(t, org.URL)
	front.Targets, front.NATSURL = []string{"gateway", "scheduler"}, "nats://"+nats
	for _, o := range []*node.Options{&back, &front} {
		o.Addrs, o.Listens = addrs, addrs
	}
	var nodes []*node.Node
	for _, o := range []node.Options{back, front} {
		n, err := node.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	x := harness.At(t, nodes[1].Addr(), nodes[1].OperatorToken()).Tenant(t, "acme")
	var file bytes.Buffer
	if err := sample.WriteCSV(&file, sample.Options{People: 20, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	x.Import(t, file.Bytes(), directoryv1.ImportMode_IMPORT_MODE_FULL)
	x.Link(t, org)
	x.SaveMap(t, "Contact", "CatalogUserId__c")
	harness.Want(t, x.Run(t), syncv1.RunState_RUN_STATE_SUCCEEDED, map[string]int64{"created": 20, "verified": 20})
	for _, n := range []*node.Node{nodes[1], nodes[0]} {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*node.Options){
		"there is no service \"mappper\"":  func(o *node.Options) { o.Targets = []string{"mappper"} },
		"share a NATS server":              func(o *node.Options) { o.Targets = []string{"auth"} },
		"SQLite is for the all-in-one":     func(o *node.Options) { o.Targets, o.NATSURL = []string{"sync-worker"}, "nats://127.0.0.1:4222" },
		"give one of the two":              func(o *node.Options) { o.NATSListen, o.NATSURL = "127.0.0.1:0", "nats://127.0.0.1:4222" },
		"-max-bytes is 1: give at least":   func(o *node.Options) { o.MaxBytes = 1 },
		"-slots is 0":                      func(o *node.Options) { o.Slots = 0 },
		"-data is empty: name a directory": func(o *node.Options) { o.Data = "" },
	}
	for want, change := range cases {
		o := node.DefaultOptions()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate: %v, want %q in it", err, want)
		}
	}
}
