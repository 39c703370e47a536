package access_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/lease"
	"github.com/catalogsync/catalogsync/internal/lease/leasetest"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, b *bus.Bus) (*access.Control, *audit.Log) {
	t.Helper()
	log, err := audit.Open(t.Context(), b, "auth")
	if err != nil {
		t.Fatal(err)
	}
	c, err := access.Open(t.Context(), b, log)
	if err != nil {
		t.Fatal(err)
	}
	return c, log
}

// uses are the uses of tokens that the audit log tells of.
func uses(t *testing.T, log *audit.Log, tenant string) (found []*auditv1.Entry) {
	t.Helper()
	entries, _, err := log.List(t.Context(), audit.Query{Tenant: tenant})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.GetAction() == "token.use" {
			found = append(found, e)
		}
	}
	return found
}

func want(t *testing.T, what string, err error, reason string) {
	t.Helper()
	if (err != nil) != (reason != "") || err != nil && (errs.ReasonOf(err) != reason || errs.KindOf(err) != errs.Denied) {
		t.Errorf("%s: %v, want reason %q", what, err, reason)
	}
}

func TestALeaseOpensItsConnectionAlone(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	c, log := open(t, b)
	ledger := leasetest.Open(t, b)
	held := ledger.Hold(t, "acme", "con_1", "run1")
	ctx := t.Context()
	want(t, "no lease", c.ByLease(ctx, "acme", "con_1", lease.Task{}), "no_lease")
	want(t, "another tenant", c.ByLease(ctx, "umbrella", "con_1", held), "no_lease")
	want(t, "another connection", c.ByLease(ctx, "acme", "con_2", held), "no_lease")
	if n := len(uses(t, log, "acme")) + len(uses(t, log, "umbrella")); n != 0 {
		t.Errorf("%d uses were told of, and none happened", n)
	}
	want(t, "held", c.ByLease(ctx, "acme", "con_1", held), "")
	// What was answered with yes is not answered so for anybody else.
	want(t, "another tenant", c.ByLease(ctx, "umbrella", "con_1", held), "no_lease")
	want(t, "another connection", c.ByLease(ctx, "acme", "con_2", held), "no_lease")

	ledger.Put(t, leasetest.Run{ID: "run1", Tenant: "acme", ConnectionID: "con_1", State: "running"},
		leasetest.Task{RunID: "run1", Tenant: "acme", Stage: "apply", Number: 1, State: "leased", Epoch: 2})
	testkit.Eventually(t, 10*time.Second, func() error {
		if err := c.ByLease(ctx, "acme", "con_1", held); errs.ReasonOf(err) != "no_lease" {
			return fmt.Errorf("who lost the lease gets a token: %w", err)
		}
		return nil
	})
	held.Epoch = 2
	want(t, "who took it", c.ByLease(ctx, "acme", "con_1", held), "")
}

func TestEachRunsFirstUseIsToldOnce(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	ledger := leasetest.Open(t, b)
	one, log := open(t, b)
	other, _ := open(t, b)
	var wg sync.WaitGroup
	for i := range 60 {
		held := ledger.Hold(t, "acme", "con_1", fmt.Sprintf("run%d", i%3))
		wg.Go(func() {
			for _, c := range []*access.Control{one, other} {
				want(t, "held", c.ByLease(t.Context(), "acme", "con_1", held), "")
			}
		})
	}
	wg.Wait()
	told := map[string]int{}
	for _, e := range uses(t, log, "acme") {
		told[e.GetSubject()]++
	}
	if len(told) != 3 || told["run0"] != 1 || told["run1"] != 1 || told["run2"] != 1 {
		t.Errorf("uses told of: %v", told)
	}
}

func TestWithoutAuditNobodyGetsAToken(t *testing.T) {
	t.Parallel()
	nats := testkit.NATS(t)
	b := nats.Bus(t)
	c, _ := open(t, b)
	ledger := leasetest.Open(t, b)
	held, second := ledger.Hold(t, "acme", "con_1", "run1"), ledger.Hold(t, "acme", "con_1", "run2")
	want(t, "held", c.ByLease(t.Context(), "acme", "con_1", held), "")
	nats.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.ByLease(ctx, "acme", "con_1", second); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("error is %v", err)
	}
}

func TestAGrantOpensItsConnectionAlone(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	c, log := open(t, b)
	other, _ := open(t, b)
	ctx := t.Context()
	grant, err := c.Grant(ctx, "acme", "con_1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Grant(ctx, "acme", "con_1")
	if err != nil || again.Equal(grant) || len(grant.Expose()) < 50 {
		t.Errorf("grants are %d long, equal: %v, %v", len(grant.Expose()), again.Equal(grant), err)
	}
	want(t, "no grant", c.ByGrant(ctx, "acme", "con_1", config.Secret{}), "no_grant")
	want(t, "made up", c.ByGrant(ctx, "acme", "con_1", config.NewSecret("*")), "no_grant")
	for range 2 { // the second time with what was answered with yes in memory
		want(t, "another tenant", c.ByGrant(ctx, "umbrella", "con_1", grant), "no_grant")
		want(t, "another connection", c.ByGrant(ctx, "acme", "con_2", grant), "no_grant")
		for _, process := range []*access.Control{c, other} {
			want(t, "in force", process.ByGrant(ctx, "acme", "con_1", grant), "")
		}
	}
	if n := len(uses(t, log, "acme")); n != 2 {
		t.Errorf("%d uses were told of, and two grants were made", n)
	}

	// The store keeps no grant, and lets them expire.
	bucket, err := store.Open[map[string]any](ctx, b, store.Config{Bucket: "GRANTS", MaxBytes: 16 << 20, TTL: access.GrantLife})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := bucket.List(ctx, "")
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d grants are stored, %v", len(entries), err)
	}
	for _, e := range entries {
		if e.Key == grant.Expose() || fmt.Sprint(e.Value) == grant.Expose() {
			t.Error("a grant is stored")
		}
		if err := bucket.Delete(ctx, e.Key, 0); err != nil { // as its life does
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if err := c.ByGrant(ctx, "acme", "con_1", grant); errs.ReasonOf(err) != "no_grant" {
			return fmt.Errorf("a grant that has ended is good: %w", err)
		}
		return nil
	})
}
