package datakey_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/datakey"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// world is data keys beside the sync-worker's ledger.
type world struct {
	t    *testing.T
	keys *datakey.Keys
	open *store.Bucket[map[string]string]
	runs *store.Bucket[map[string]time.Time]
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b := testkit.Bus(t)
	sets, err := connection.OpenKeySets(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Load(t.Context(), sets, filepath.Join(t.TempDir(), "key"), true)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	if w.keys, err = datakey.Open(t.Context(), b, v, testkit.Logger(t)); err != nil {
		t.Fatal(err)
	}
	if w.open, err = store.Open[map[string]string](t.Context(), b, store.Config{Bucket: "OPEN_RUNS", MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if w.runs, err = store.Open[map[string]time.Time](t.Context(), b, store.Config{Bucket: "RUNS", MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	return w
}

// begin makes a run of the tenant.
func (w *world) begin(tenant, run string) {
	w.t.Helper()
	if _, err := w.open.Create(w.t.Context(), store.Key(run), map[string]string{"tenant": tenant, "run_id": run}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.runs.Create(w.t.Context(), store.Key(tenant, run), nil); err != nil {
		w.t.Fatal(err)
	}
}

// end ends it; its mark stays for a while.
func (w *world) end(tenant, run string) {
	w.t.Helper()
	_, err := w.runs.Upsert(w.t.Context(), store.Key(tenant, run), func(map[string]time.Time, bool) (map[string]time.Time, error) {
		return map[string]time.Time{"ended_at": time.Now()}, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(tenant string, version int32) datakey.Key {
	w.t.Helper()
	k, err := w.keys.Get(w.t.Context(), tenant, version)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

func TestOneKeyIsMadeHoweverManyAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	got := make([]datakey.Key, 16)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = w.keys.Get(context.Background(), "acme", 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range got {
		if k.Version != 1 || !k.Secret.Equal(got[0].Secret) || len(k.Secret.Expose()) != 32 {
			t.Errorf("a caller got version %d", k.Version)
		}
	}
}

// TestARetiredKeyWaitsForTheRun: what an open run has sealed can be read until it has ended.
func TestARetiredKeyWaitsForTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.get("acme", 0)
	w.begin("acme", "run1")
	w.begin("umbrella", "run2")
	if destroyed, err := w.keys.Retire(t.Context(), "acme"); err != nil || destroyed {
		t.Errorf("destroyed: %v, %v", destroyed, err)
	}
	if k := w.get("acme", old.Version); !k.Secret.Equal(old.Secret) {
		t.Error("the open run's key is another one")
	}
	next := w.get("acme", 0)
	if next.Version != 2 {
		t.Errorf("what is sealed from now on has version %d", next.Version)
	}
	w.end("acme", "run1")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.keys.Run(ctx) }()
	testkit.Eventually(t, 20*time.Second, func() error {
		if _, err := w.keys.Get(t.Context(), "acme", 1); errs.ReasonOf(err) != "data_key_destroyed" {
			return errs.New(errs.Internal, "there", "the retired key is still there: %v", err)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if k := w.get("acme", 0); k.Version != 2 || !k.Secret.Equal(next.Secret) {
		t.Error("the key that took its place went with it")
	}
	if destroyed, err := w.keys.Retire(t.Context(), "acme"); err != nil || !destroyed {
		t.Errorf("with no run open, destroyed: %v, %v", destroyed, err)
	}
	if destroyed, err := w.keys.Retire(t.Context(), "nobody"); err != nil || !destroyed {
		t.Errorf("of a tenant without keys, destroyed: %v, %v", destroyed, err)
	}
}

// TestARunThatBeginsMeanwhileKeepsItsKey: whatever a run is given while keys are destroyed can be read until it has ended.
func TestARunThatBeginsMeanwhileKeepsItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := 0
	for i := range 30 {
		run := fmt.Sprint("run", i)
		w.get("acme", 0)
		var wg sync.WaitGroup
		var given datakey.Key
		errors := make([]error, 2)
		for n := range errors {
			wg.Go(func() { errors[n] = w.keys.Destroy(context.Background(), "acme") })
		}
		wg.Go(func() {
			for range i % 6 { // it begins at other points of the destruction
				w.get("umbrella", 0)
			}
			w.begin("acme", run)
			given = w.get("acme", 0)
		})
		wg.Wait()
		for _, err := range errors {
			if errs.ReasonOf(err) == "run_open" {
				refused++
			} else if err != nil && errs.ReasonOf(err) != "destroying_at_once" {
				t.Error(err)
			}
		}
		if k := w.get("acme", given.Version); !k.Secret.Equal(given.Secret) {
			t.Errorf("round %d: the run's key is another one", i)
		}
		if err := w.keys.Destroy(t.Context(), "acme"); errs.ReasonOf(err) != "run_open" {
			t.Errorf("round %d: with the run open: %v", i, err)
		}
		w.end("acme", run)
		if err := w.keys.Destroy(t.Context(), "acme"); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		for v := range given.Version {
			if _, err := w.keys.Get(t.Context(), "acme", v+1); errs.ReasonOf(err) != "data_key_destroyed" {
				t.Errorf("round %d: version %d is still there: %v", i, v+1, err)
			}
		}
	}
	t.Logf("%d calls were refused", refused)
}
