package lease_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/lease"
	"github.com/catalogsync/catalogsync/internal/lease/leasetest"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	l := lease.Open(b)
	held := lease.Task{RunID: "run1", Stage: "apply", Number: 7, Epoch: 3}
	if err := l.Check(t.Context(), "acme", "con_1", held); errs.ReasonOf(err) != "no_lease" {
		t.Errorf("before there is a ledger: %v", err)
	}
	put := leasetest.Open(t, b)
	running := leasetest.Run{ID: "run1", Tenant: "acme", ConnectionID: "con_1", State: "running"}
	record := leasetest.Task{RunID: "run1", Tenant: "acme", Stage: "apply", Number: 7, State: "leased", Epoch: 3}
	put.Put(t, running, record)
	if err := l.Check(t.Context(), "acme", "con_1", held); err != nil {
		t.Errorf("held: %v", err)
	}

	with := func(fn func(*lease.Task)) lease.Task { k := held; fn(&k); return k }
	for name, c := range map[string]struct {
		tenant, connection string
		task               lease.Task
	}{
		"another tenant":      {"umbrella", "con_1", held},
		"no tenant":           {"", "con_1", held},
		"another connection":  {"acme", "con_2", held},
		"no connection":       {"acme", "", held},
		"another run":         {"acme", "con_1", with(func(k *lease.Task) { k.RunID = "run2" })},
		"no run":              {"acme", "con_1", with(func(k *lease.Task) { k.RunID = "" })},
		"a run with wildcard": {"acme", "con_1", with(func(k *lease.Task) { k.RunID = "*" })},
		"a run with a dot":    {"acme", "con_1", with(func(k *lease.Task) { k.RunID, k.Stage = "run1.apply", "000007" })},
		"another stage":       {"acme", "con_1", with(func(k *lease.Task) { k.Stage = "plan" })},
		"another task":        {"acme", "con_1", with(func(k *lease.Task) { k.Number = 8 })},
		"a negative number":   {"acme", "con_1", with(func(k *lease.Task) { k.Number = -7 })},
		"a lower epoch":       {"acme", "con_1", with(func(k *lease.Task) { k.Epoch = 2 })},
		"a higher epoch":      {"acme", "con_1", with(func(k *lease.Task) { k.Epoch = 4 })},
		"no epoch":            {"acme", "con_1", with(func(k *lease.Task) { k.Epoch = 0 })},
	} {
		if err := l.Check(t.Context(), c.tenant, c.connection, c.task); errs.KindOf(err) != errs.Denied || errs.ReasonOf(err) != "no_lease" {
			t.Errorf("%s: %v", name, err)
		}
	}

	for _, state := range []string{"pending", "waiting", "settled", ""} {
		changed := record
		changed.State = state
		put.Put(t, running, changed)
		if err := l.Check(t.Context(), "acme", "con_1", held); errs.ReasonOf(err) != "no_lease" {
			t.Errorf("task is %q: %v", state, err)
		}
	}
	for _, state := range []string{"succeeded", "completed_with_failures", "failed", "cancelled", "needs_reconnect"} {
		changed := running
		changed.State = state
		put.Put(t, changed, record)
		if err := l.Check(t.Context(), "acme", "con_1", held); errs.ReasonOf(err) != "no_lease" {
			t.Errorf("run is %q: %v", state, err)
		}
	}
	for _, state := range []string{"requested", "running", "held", "cancelling"} {
		changed := running
		changed.State = state
		put.Put(t, changed, record)
		if err := l.Check(t.Context(), "acme", "con_1", held); err != nil {
			t.Errorf("run is %q: %v", state, err)
		}
	}
	// A record under the key of a run of another tenant does not count.
	put.Put(t, running, leasetest.Task{RunID: "run1", Tenant: "umbrella", Stage: "apply", Number: 7, State: "leased", Epoch: 3})
	if err := l.Check(t.Context(), "acme", "con_1", held); errs.ReasonOf(err) != "no_lease" {
		t.Errorf("task of another tenant: %v", err)
	}
}

func TestCheckWithoutABusIsNoDenial(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	l := lease.Open(b)
	held := leasetest.Open(t, b).Hold(t, "acme", "con_1", "run1")
	b.Close()
	if err := l.Check(t.Context(), "acme", "con_1", held); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("error is %v", err)
	}
}
