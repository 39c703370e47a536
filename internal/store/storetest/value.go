package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// sentinelOf returns the one sentinel that an error wraps.
func sentinelOf(err error) error {
	var found error
	for _, s := range []error{store.ErrNotFound, store.ErrExists, store.ErrConflict} {
		if errors.Is(err, s) {
			if found != nil {
				return errors.New("more than one sentinel")
			}
			found = s
		}
	}
	return found
}

func testOpen(t *testing.T, s Server) {
	b := s.Bus(t)
	_, err := store.Open[Thing](within(t), b, store.Config{Bucket: "THINGS"})
	wantErr(t, err, nil, errs.Invalid)
	_, err = store.Open[Thing](within(t), b, store.Config{Bucket: "a.b", MaxBytes: 1 << 20})
	wantErr(t, err, nil, errs.Invalid)
	_, err = store.Open[Thing](within(t), b, store.Config{Bucket: "THINGS", MaxBytes: 1 << 20, History: 65})
	wantErr(t, err, nil, errs.Invalid)
}

func testLife(t *testing.T, s Server) {
	b := open(t, s)
	other := open(t, s)
	ctx := within(t)
	_, _, err := b.Get(ctx, "a")
	wantErr(t, err, store.ErrNotFound, errs.NotFound)
	rev, err := b.Create(ctx, "a", Thing{"first", 1})
	must(t, err)
	_, err = other.Create(ctx, "a", Thing{"second", 2})
	wantErr(t, err, store.ErrExists, errs.Conflict)
	got, at, err := other.Get(ctx, "a")
	must(t, err)
	if got != (Thing{"first", 1}) || at != rev {
		t.Errorf("got %v at %d, want the first at %d", got, at, rev)
	}
	rev, err = other.Replace(ctx, "a", Thing{"third", 3}, rev)
	must(t, err)
	must(t, b.Delete(ctx, "a", rev))
	_, _, err = b.Get(ctx, "a")
	wantErr(t, err, store.ErrNotFound, errs.NotFound)
	again, err := b.Create(ctx, "a", Thing{"fourth", 4})
	must(t, err)
	if again <= rev {
		t.Errorf("revision %d after %d", again, rev)
	}
	if strings.Contains(errs.Message(err), "a") {
		t.Error("the text for people names the key")
	}
}

func testStale(t *testing.T, s Server) {
	b := open(t, s)
	ctx := within(t)
	rev, err := b.Create(ctx, "a", Thing{})
	must(t, err)
	_, err = b.Replace(ctx, "a", Thing{}, rev)
	must(t, err)
	_, err = b.Replace(ctx, "a", Thing{}, rev)
	wantErr(t, err, store.ErrConflict, errs.Conflict)
	_, err = b.Replace(ctx, "a", Thing{}, 0)
	wantErr(t, err, store.ErrConflict, errs.Conflict)
	_, err = b.Replace(ctx, "missing", Thing{}, 5)
	wantErr(t, err, store.ErrConflict, errs.Conflict)
}

func testKeys(t *testing.T, s Server) {
	b := open(t, s)
	ctx := within(t)
	parts := []string{"", "a", "A", "a.b", "a b", "ü@example.org", "*", ">", "=", "==", "=2E", "\x00", "\xff", "_kv", "/", "$KV", strings.Repeat("x.", 60)}
	keys := map[string]string{}
	for _, part := range parts {
		key := store.Key("prefix", part)
		if was, twice := keys[key]; twice {
			t.Errorf("%q and %q make the same key", was, part)
		}
		keys[key] = part
		_, err := b.Create(ctx, key, Thing{Name: key})
		must(t, err)
		got, err := store.Parts(key)
		must(t, err)
		if diff := cmp.Diff([]string{"prefix", part}, got); diff != "" {
			t.Errorf("parts of %q (-want +got):\n%s", key, diff)
		}
	}
	entries, err := b.List(ctx, "prefix")
	must(t, err)
	if len(entries) != len(parts) {
		t.Errorf("listed %d keys, want %d", len(entries), len(parts))
	}
	for _, bad := range []string{"", "a..b", ".a", "a.", "a b", "a.>", "*", "ü", "=2", "=zz", "=2e"} {
		_, err := b.Create(ctx, bad, Thing{})
		wantErr(t, err, nil, errs.Invalid)
		_, _, err = b.Get(ctx, bad)
		wantErr(t, err, nil, errs.Invalid)
		wantErr(t, b.Delete(ctx, bad, 0), nil, errs.Invalid)
		wantErr(t, b.Delete(ctx, bad, 7), nil, errs.Invalid)
	}
}

func testUpdate(t *testing.T, s Server) {
	const updaters, each = 4, 50
	b := open(t, s)
	_, err := b.Create(within(t), "a", Thing{})
	must(t, err)
	var wg sync.WaitGroup
	for range updaters {
		own := open(t, s)
		wg.Go(func() {
			for range each {
				if _, err := own.Update(within(t), "a", func(v Thing) (Thing, error) { v.N++; return v, nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v, _, err := b.Get(within(t), "a"); err != nil || v.N != updaters*each {
		t.Errorf("%d of %d updates are stored (%v)", v.N, updaters*each, err)
	}
}

func testCreateRace(t *testing.T, s Server) {
	const keys, creators = 20, 4
	b := open(t, s)
	ctx := within(t)
	for i := range keys { // half of them have been there before
		if i%2 == 0 {
			_, err := b.Create(ctx, fmt.Sprint(i), Thing{})
			must(t, err)
			must(t, b.Delete(ctx, fmt.Sprint(i), 0))
		}
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for range creators {
		own := open(t, s)
		wg.Go(func() {
			for i := range keys {
				switch _, err := own.Create(ctx, fmt.Sprint(i), Thing{}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, store.ErrExists):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() != keys {
		t.Errorf("%d creates of %d keys succeeded", won.Load(), keys)
	}
}

func testUpsert(t *testing.T, s Server) {
	b := open(t, s)
	ctx := within(t)
	_, err := b.Update(ctx, "a", func(v Thing) (Thing, error) { return v, nil })
	wantErr(t, err, store.ErrNotFound, errs.NotFound)
	count := func(v Thing, found bool) (Thing, error) {
		if found != (v.N > 0) {
			t.Errorf("found %v with %v", found, v)
		}
		v.N++
		return v, nil
	}
	for want := 1; want <= 2; want++ {
		if v, err := b.Upsert(ctx, "a", count); err != nil || v.N != want {
			t.Errorf("upsert %d: %v, %v", want, v, err)
		}
	}
	must(t, b.Delete(ctx, "a", 0))
	if v, err := b.Upsert(ctx, "a", count); err != nil || v.N != 1 {
		t.Errorf("upsert after a deletion: %v, %v", v, err)
	}
	_, before, err := b.Get(ctx, "a")
	must(t, err)
	v, err := b.Update(ctx, "a", func(v Thing) (Thing, error) { v.N = 99; return v, fmt.Errorf("as it is: %w", store.NoChange) })
	if err != nil || v.N != 1 {
		t.Errorf("update without a change: %v, %v", v, err)
	}
	own := errors.New("own")
	if _, err := b.Update(ctx, "a", func(v Thing) (Thing, error) { return v, own }); !errors.Is(err, own) {
		t.Errorf("the function's error came back as %v", err)
	}
	if _, after, err := b.Get(ctx, "a"); err != nil || after != before {
		t.Errorf("revision %d became %d (%v)", before, after, err)
	}
}

func testDelete(t *testing.T, s Server) {
	b := open(t, s, func(c *store.Config) { c.History = 5 })
	ctx := within(t)
	must(t, b.Delete(ctx, "a", 0))
	old, err := b.Create(ctx, "a", Thing{N: 1})
	must(t, err)
	rev, err := b.Replace(ctx, "a", Thing{N: 2}, old)
	must(t, err)
	wantErr(t, b.Delete(ctx, "a", old), store.ErrConflict, errs.Conflict)
	must(t, b.Delete(ctx, "a", rev))
	must(t, b.Delete(ctx, "a", 0))
	_, err = b.Replace(ctx, "a", Thing{}, rev)
	wantErr(t, err, store.ErrConflict, errs.Conflict)
	if entries, err := b.List(ctx, ""); err != nil || len(entries) != 0 {
		t.Errorf("after the deletion: %v, %v", entries, err)
	}
}

func testTooLarge(t *testing.T, s Server) {
	b := open(t, s)
	_, err := b.Create(within(t), "a", Thing{Name: strings.Repeat("x", 1<<20)})
	wantErr(t, err, nil, errs.Invalid)
	type unable struct{ C chan int }
	u, err := store.Open[unable](within(t), s.Bus(t), store.Config{Bucket: "UNABLE", MaxBytes: 1 << 20})
	must(t, err)
	_, err = u.Create(within(t), "a", unable{})
	wantErr(t, err, nil, errs.Internal)
}

func testFull(t *testing.T, s Server) {
	b := open(t, s, func(c *store.Config) { c.MaxBytes = 100_000 })
	ctx := within(t)
	big := Thing{Name: strings.Repeat("x", 20_000)}
	var err error
	n := 0
	for ; err == nil && n < 10; n++ {
		_, err = b.Create(ctx, fmt.Sprint(n), big)
	}
	if errs.KindOf(err) != errs.Exhausted || errs.ReasonOf(err) != "store_full" || n != 5 {
		t.Fatalf("after %d values: %v", n, err)
	}
	_, err = b.Update(ctx, "0", func(v Thing) (Thing, error) { return Thing{Name: "smaller"}, nil })
	must(t, err) // takes the place of the old value
	_, err = b.Create(ctx, "more", Thing{Name: strings.Repeat("x", 19_000)})
	must(t, err)
	must(t, b.Delete(ctx, "1", 0))
	_, err = b.Create(ctx, "again", Thing{Name: strings.Repeat("x", 19_000)})
	must(t, err)

	// Values that are smaller than the marker of their deletion.
	small := open(t, s, func(c *store.Config) { c.Bucket, c.MaxBytes, c.History = "SMALL", 10_000, 5 })
	var rev uint64
	n = 0
	for err = nil; err == nil; n++ {
		var r uint64
		if r, err = small.Create(ctx, fmt.Sprint(n), Thing{}); n == 0 {
			rev = r
		}
	}
	wantErr(t, small.Delete(ctx, "1", rev), store.ErrConflict, errs.Conflict)
	must(t, small.Delete(ctx, "0", rev))
	for i := 1; i < n-1; i++ {
		must(t, small.Delete(ctx, fmt.Sprint(i), 0))
	}
	if entries, err := small.List(ctx, ""); err != nil || len(entries) != 0 {
		t.Errorf("after all deletions %d values are left (%v)", len(entries), err)
	}
}

func testExpire(t *testing.T, s Server) {
	b := open(t, s, func(c *store.Config) { c.TTL = time.Second })
	_, err := b.Create(within(t), "a", Thing{})
	must(t, err)
	testkit.Eventually(t, patience, func() error {
		if _, _, err := b.Get(within(t), "a"); !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("it has not expired: %w", err)
		}
		return nil
	})
	if entries, err := b.List(within(t), ""); err != nil || len(entries) != 0 {
		t.Errorf("after expiry: %v, %v", entries, err)
	}
	_, err = b.Create(within(t), "a", Thing{})
	must(t, err)
}

func testUnreadable(t *testing.T, s Server) {
	b := open(t, s)
	ctx := within(t)
	text, err := store.Open[string](ctx, s.Bus(t), store.Config{Bucket: "THINGS", MaxBytes: 32 << 20})
	must(t, err)
	_, err = text.Create(ctx, "a", "not a thing")
	must(t, err)
	_, _, err = b.Get(ctx, "a")
	wantErr(t, err, nil, errs.Internal)
	_, err = b.List(ctx, "")
	wantErr(t, err, nil, errs.Internal)
	_, err = b.Update(ctx, "a", func(v Thing) (Thing, error) { t.Error("called with an unreadable value"); return v, nil })
	wantErr(t, err, nil, errs.Internal)
	must(t, b.Delete(ctx, "a", 0))
	_, err = b.Create(ctx, "a", Thing{})
	must(t, err)
}
