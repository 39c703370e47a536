// Package storetest owns what the store promises, as tests that run against any NATS server.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catalogsync/catalogsync/internal/bus/bustest"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
)

// Server is what the suite runs against.
type Server = bustest.Server

// patience bounds how long a test waits for what must happen.
const patience = 20 * time.Second

// Thing is the value that the tests store.
type Thing struct {
	Name string `json:"name"`
	N    int    `json:"n,omitempty"`
}

// Run runs the suite. Each test has a server of its own.
func Run(t *testing.T, start func(t testing.TB) Server) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Server)
	}{
		{"a bucket without limit or with a wrong name is refused", testOpen},
		{"create, get, replace and delete", testLife},
		{"a stale revision is refused", testStale},
		{"any string makes a key", testKeys},
		{"concurrent updates are not lost", testUpdate},
		{"concurrent creates have one winner", testCreateRace},
		{"update and upsert", testUpsert},
		{"delete compares revisions", testDelete},
		{"list sees what is below a prefix", testList},
		{"values that do not fit are refused", testTooLarge},
		{"a full bucket says so and recovers", testFull},
		{"values expire", testExpire},
		{"a value that cannot be read is an error and can be deleted", testUnreadable},
		{"watch yields values, then changes", testWatch},
		{"watch misses nothing over a restart", testWatchRestart},
		{"updates survive restarts", testRestart},
		{"a deleted bucket is made again", testDeletedBucket},
		{"a closed bus ends everything", testClosed},
		{"the tools of NATS read it", testTools},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, start(t))
		})
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a bucket of things over a connection of its own.
func open(t testing.TB, s Server, change ...func(*store.Config)) *store.Bucket[Thing] {
	t.Helper()
	c := store.Config{Bucket: "THINGS", MaxBytes: 32 << 20}
	for _, f := range change {
		f(&c)
	}
	b, err := store.Open[Thing](within(t), s.Bus(t), c)
	must(t, err)
	return b
}

// wantErr checks the sentinel and the kind of an error.
func wantErr(t testing.TB, err, sentinel error, kind errs.Kind) {
	t.Helper()
	if !errors.Is(sentinelOf(err), sentinel) || errs.KindOf(err) != kind {
		t.Errorf("got %v of kind %v, want %v of kind %v", err, errs.KindOf(err), sentinel, kind)
	}
}

// operator is someone with access to the server who does not know this project.
func operator(t testing.TB, s Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}
