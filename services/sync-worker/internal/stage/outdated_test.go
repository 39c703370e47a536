package stage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// waited makes the run one that read its records half an hour from now by Salesforce's clock, and waited for the org's
// allocation since; both clocks are then at an hour from now.
func (w *world) waited() {
	w.t.Helper()
	ctx, now := w.t.Context(), time.Now()
	w.make(ledger.StagePrepare, 0, ledger.Input{})
	lease, err := w.ledger.Claim(ctx, w.run.ID, ledger.StagePrepare, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := lease.Settle(ctx, ledger.Result{Prepared: &ledger.Prepared{Since: now.Add(30 * time.Minute)}}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.ledger.UpdateRun(ctx, w.run.Tenant, w.run.ID, func(r *ledger.Run) { r.Parked = true }); err != nil {
		w.t.Fatal(err)
	}
	w.org.SetClockOffset(time.Hour)
	w.runner.Now = func() time.Time { return now.Add(time.Hour) }
}

// endings are kinds and codes of outcomes, with how many people have them.
func endings(w *world, t ledger.Task) map[string]int {
	n := make(map[string]int)
	for _, o := range w.outcomes(t) {
		n[strings.ToLower(strings.TrimPrefix(o.GetKind().String(), "OUTCOME_KIND_"))+" "+o.GetCode()]++
	}
	return n
}

// What was modified while a run waited is not overwritten, and not made a second time.
func TestModifiedWhileTheRunWaited(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		t.Run(fmt.Sprintf("update, bulk %t", bulk), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			changes := w.existing(5)
			k := w.planned(update, bulk, changes)
			w.waited()
			if err := w.org.Update(changes[2].GetRecordId(), map[string]string{"Title": "By hand"}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]int{"updated ": 4, "deferred record_changed": 1}, endings(w, k.settle())); diff != "" {
				t.Error(diff)
			}
			for i, c := range changes {
				want := "Doctor"
				if i == 2 {
					want = "By hand"
				}
				if r, _ := w.org.Record(c.GetRecordId()); r.Fields["Title"] != want {
					t.Errorf("the title of %d is %q, want %q", i, r.Fields["Title"], want)
				}
			}
		})
		for name, external := range map[string]string{"external id": externalID, "e-mail": ""} {
			t.Run(fmt.Sprintf("create by %s, bulk %t", name, bulk), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, options{external: external})
				k := w.planned(create, bulk, w.creates(5))
				w.waited()
				fields := map[string]string{"LastName": "By hand", "Email": email(2)}
				if external != "" {
					fields = map[string]string{"LastName": "By hand", external: person(2)}
				}
				id, err := w.org.Create("Contact", fields)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(map[string]int{"created ": 4, "deferred record_changed": 1}, endings(w, k.settle())); diff != "" {
					t.Error(diff)
				}
				if r, _ := w.org.Record(id); r.Fields["LastName"] != "By hand" || w.org.EffectCount() != 5 {
					t.Errorf("the record is %q's, %d effects, want one by hand and four", r.Fields["LastName"], w.org.EffectCount())
				}
			})
		}
	}
}

// A run that did not wait for long does not look again.
func TestModifiedInARunThatDidNotWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	changes := w.existing(5)
	k := w.planned(update, false, changes)
	w.waited()
	w.runner.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
	if err := w.org.Update(changes[2].GetRecordId(), map[string]string{"Title": "By hand"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"updated ": 5}, endings(w, k.settle())); diff != "" {
		t.Error(diff)
	}
}

// What goes on after hours looks again as well; and who was left alone stays so when the attempt after that fails.
func TestModifiedBeforeTheRestGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, false, w.creates(600))
	in := k.record().Input
	for i := 200; i < 600; i++ {
		in.Only = append(in.Only, i)
	}
	w.waited()
	if _, err := w.org.Create("Contact", map[string]string{"LastName": "By hand", externalID: person(300)}); err != nil {
		t.Fatal(err)
	}
	rest := k.make(k.stage, k.number+10_000, in)
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		res, err := org.RoundTrip(r)
		if r.Method == http.MethodPatch && calls.Add(1) == 2 {
			cancel()
			return nil, errors.Join(context.Canceled, res.Body.Close())
		}
		return res, err
	})
	if err := rest.attempt(ctx); err == nil {
		t.Fatal("the attempt did not fail")
	}
	w.wire.on(nil)
	if diff := cmp.Diff([]int{300}, rest.record().Checkpoint.Outdated); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"created ": 399, "deferred record_changed": 1}, endings(w, rest.settle())); diff != "" {
		t.Error(diff)
	}
}
