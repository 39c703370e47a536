package vault_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// record is what a bucket with sealed values may hold: the value stands anywhere, beside numbers and texts that must stay.
type record struct {
	Big   int64  `json:"big"`
	Text  string `json:"text"`
	Inner struct {
		Sealed []byte `json:"sealed"`
	} `json:"inner"`
	More [][]byte `json:"more"`
}

func labelOf(i int) vault.Label {
	return vault.Label{Purpose: "test", Tenant: fmt.Sprint("t", i%7), Connection: fmt.Sprint("c", i), Version: int64(i)}
}

func secretOf(i int) []byte { return fmt.Appendf(nil, "secret <&> %d", i) }

// safe is a bus with sealed records in two of the buckets.
type safe struct {
	t    *testing.T
	bus  *bus.Bus
	sets vault.KeySets
	// first and second hold even and odd records.
	buckets [2]*store.Bucket[record]
	n       int
}

func newSafe(t *testing.T, n int) *safe {
	t.Helper()
	s := &safe{t: t, bus: testkit.Bus(t), n: n}
	var err error
	if s.sets, err = connection.OpenKeySets(t.Context(), s.bus); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"CREDENTIALS", "DATA_KEYS"} {
		if s.buckets[i], err = store.Open[record](t.Context(), s.bus, store.Config{Bucket: name, MaxBytes: 64 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	v := s.process()
	var group errgroup.Group
	group.SetLimit(32)
	for i := range n {
		group.Go(func() error { return s.write(v, i) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return s
}

// process is a vault as one process has it. Nothing tells it of changes of the key set.
func (s *safe) process() *vault.Vault { return s.processOn(s.sets, 10*time.Millisecond) }

func (s *safe) processOn(sets vault.KeySets, fresh time.Duration) *vault.Vault {
	s.t.Helper()
	v, err := vault.New(s.t.Context(), sets, vault.Options{Key: service(s.t, "kek"), Fresh: fresh})
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *safe) rotator(v *vault.Vault, settle time.Duration) *vault.Rotator {
	return &vault.Rotator{Vault: v, Bus: s.bus, Log: slog.New(slog.DiscardHandler), Settle: settle}
}

func keyOf(i int) string { return store.Key(fmt.Sprintf("r%05d", i)) }

// write seals record i anew and stores it.
func (s *safe) write(v *vault.Vault, i int) error {
	_, err := s.buckets[i%2].Upsert(s.t.Context(), keyOf(i), func(r record, _ bool) (record, error) {
		var err error
		r.Big, r.Text = 1<<53+1, "<sealed> \u2028 \x00"
		if r.Inner.Sealed, err = v.Seal(secretOf(i), labelOf(i)); err != nil {
			return r, err
		}
		second, err := v.Seal(secretOf(-i), labelOf(i+1))
		r.More = [][]byte{second, nil}
		return r, err
	})
	return err
}

// read opens record i.
func (s *safe) read(v *vault.Vault, i int) error {
	r, _, err := s.buckets[i%2].Get(s.t.Context(), keyOf(i))
	if err != nil {
		return err
	}
	for _, x := range []struct {
		sealed, want []byte
		label        vault.Label
	}{{r.Inner.Sealed, secretOf(i), labelOf(i)}, {r.More[0], secretOf(-i), labelOf(i + 1)}} {
		if got, err := v.Open(x.sealed, x.label); err != nil || !bytes.Equal(got, x.want) {
			return fmt.Errorf("record %d: opened %q, %w", i, got, err)
		}
	}
	if r.Big != 1<<53+1 || r.Text != "<sealed> \u2028 \x00" || len(r.More) != 2 {
		return fmt.Errorf("record %d became %+v", i, r)
	}
	return nil
}

// sealers returns the ids of the keys by which values in the store are sealed, however they are stored.
func (s *safe) sealers() map[uint32]int {
	s.t.Helper()
	ids := map[uint32]int{}
	for _, b := range s.buckets {
		entries, err := b.List(s.t.Context(), "")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, e := range entries {
			for _, sealed := range [][]byte{e.Value.Inner.Sealed, e.Value.More[0]} {
				n := 6 + int(binary.BigEndian.Uint16(sealed[4:6]))
				ids[binary.BigEndian.Uint32(sealed[n+1:n+5])]++
			}
		}
	}
	return ids
}

// check makes sure that all records are there and sealed by one key.
func (s *safe) check() uint32 {
	s.t.Helper()
	v := s.process()
	for i := range s.n {
		if err := s.read(v, i); err != nil {
			s.t.Error(err)
		}
	}
	ids := s.sealers()
	if len(ids) != 1 {
		s.t.Errorf("values are sealed by %v", ids)
	}
	for id := range ids {
		return id
	}
	return 0
}

func quiet(vault.Progress) error { return nil }

func TestRotation(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 600)
	before := s.check()
	var last vault.Progress
	err := s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), false, func(p vault.Progress) error {
		if p.Done < last.Done || p.Total < last.Total || p.Done > p.Total {
			t.Errorf("after %+v comes %+v", last, p)
		}
		last = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	after := s.check()
	if last.Primary != after || after == before || last.Done != 600 || last.Total != 600 || !slices.Equal(last.Retired, []uint32{before}) {
		t.Errorf("at the end: %+v, key %d before and %d after", last, before, after)
	}
	// Nothing is left to go on with.
	if err := s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), true, quiet); err != nil || s.check() != after {
		t.Errorf("resuming what has ended: %v", err)
	}
}

// TestRotationsUnderLoad rotates several times while three processes read and write, and kills the rotation at random.
func TestRotationsUnderLoad(t *testing.T) {
	t.Parallel()
	const rotations = 3
	s := newSafe(t, 2400)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var reads, writes atomic.Int64
	for p := range 3 {
		v := s.process()
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if i := rand.N(s.n); p == 0 && n%8 == 0 {
					if err := s.write(v, i); err != nil {
						t.Errorf("write: %v", err)
						return
					}
					writes.Add(1)
				} else if err := s.read(v, i); err != nil {
					t.Errorf("read: %v", err)
					return
				}
				reads.Add(1)
			}
		})
	}
	killed := 0
	for range rotations {
		for began := false; ; began = true {
			left := 1 + rand.N(50)
			err := s.rotator(s.process(), 600*time.Millisecond).Rotate(t.Context(), began, func(vault.Progress) error {
				if left--; left == 0 {
					return errKilled
				}
				return nil
			})
			if err == nil {
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			killed++
		}
	}
	close(stop)
	wg.Wait()
	s.check()
	t.Logf("%d rotations with %d kills, %d reads and %d writes", rotations, killed, reads.Load(), writes.Load())
}

var errKilled = errors.New("killed")

// fragile is a store of key sets that breaks at the nth call: before it or, which nobody can tell from outside, after.
type fragile struct {
	vault.KeySets
	left  *atomic.Int64
	after bool
}

func (f fragile) call(fn func() error) error {
	if f.left.Add(-1) != 0 {
		return fn()
	}
	if f.after {
		return errors.Join(errKilled, fn())
	}
	return errKilled
}

func (f fragile) Load(ctx context.Context) (w [][]byte, r uint64, err error) {
	err = f.call(func() (err error) { w, r, err = f.KeySets.Load(ctx); return err })
	return w, r, err
}

func (f fragile) Store(ctx context.Context, wraps [][]byte, at uint64) (r uint64, err error) {
	err = f.call(func() (err error) { r, err = f.KeySets.Store(ctx, wraps, at); return err })
	return r, err
}

func (f fragile) Cursor(ctx context.Context) (c vault.Cursor, err error) {
	err = f.call(func() (err error) { c, err = f.KeySets.Cursor(ctx); return err })
	return c, err
}

func (f fragile) SaveCursor(ctx context.Context, c vault.Cursor) error {
	return f.call(func() error { return f.KeySets.SaveCursor(ctx, c) })
}

func (f fragile) Watch(ctx context.Context) iter.Seq2[uint64, error] { return f.KeySets.Watch(ctx) }

// TestRotationGoesOnFromEveryPoint cuts a rotation off at each of its calls, before and after it, and takes it up in
// another process.
func TestRotationGoesOnFromEveryPoint(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 30)
	before := s.check()
	points := 0
	for _, after := range []bool{false, true} {
		for n := int64(1); ; n++ {
			left := &atomic.Int64{}
			v := s.processOn(fragile{s.sets, left, after}, time.Millisecond)
			left.Store(n)
			err := s.rotator(v, time.Millisecond).Rotate(t.Context(), false, quiet)
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			if err == nil {
				break
			}
			points++
			reader := s.process()
			for i := range s.n {
				if err := s.read(reader, i); err != nil {
					t.Fatalf("cut off at call %d: %v", n, err)
				}
			}
			if err := s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), true, quiet); err != nil {
				t.Fatalf("cut off at call %d: %v", n, err)
			}
			// Where nothing had begun, nothing had to go on.
			if now := s.check(); now == before && n > 1 && !(n == 2 && !after) {
				t.Errorf("cut off at call %d, the key is still the old one", n)
			} else {
				before = now
			}
		}
		before = s.check()
	}
	if points < 20 {
		t.Errorf("only %d points were tried", points)
	}
}

// TestALateValueIsNotLost stores a value that was sealed before the rotation when the old key is disabled already.
func TestALateValueIsNotLost(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 5)
	late := s.processOn(s.sets, time.Hour) // it never asks
	steps := 0
	err := s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), false, func(p vault.Progress) error {
		if p.Done == p.Total && p.Total > 0 && len(p.Retired) == 0 {
			if steps++; steps == 5 { // passes are over: two buckets, twice, then disabled
				return s.write(late, 1)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.check()
	if steps <= 5 {
		t.Errorf("the rotation had %d steps: the value did not come late", steps)
	}
}

// TestAnUnreadableValueStopsARotation leaves the old key in place.
func TestAnUnreadableValueStopsARotation(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 5)
	_, err := s.buckets[1].Update(t.Context(), keyOf(3), func(r record) (record, error) {
		r.Inner.Sealed[len(r.Inner.Sealed)-1] ^= 1
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), false, quiet)
	if errs.ReasonOf(err) != "unreadable_value" || !strings.Contains(err.Error(), "r00003") {
		t.Errorf("error is %v", err)
	}
	v := s.process()
	for _, i := range []int{0, 1, 2, 4} {
		if err := s.read(v, i); err != nil {
			t.Error(err)
		}
	}
	if err := s.buckets[1].Delete(t.Context(), keyOf(3), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), true, quiet); err != nil || len(s.sealers()) != 1 {
		t.Errorf("after the record was deleted: %v, sealed by %v", err, s.sealers())
	}
}

func TestTwoRotationsAtOnce(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 300)
	var wg sync.WaitGroup
	for range 3 {
		v := s.process()
		wg.Go(func() {
			if err := s.rotator(v, 20*time.Millisecond).Rotate(t.Context(), false, quiet); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.check()
}

// TestNoRotationWhileTheKeyFileChanges: a process without the other key cannot wrap for those that have it alone.
func TestNoRotationWhileTheKeyFileChanges(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 3)
	old := s.process()
	both, err := vault.New(t.Context(), s.sets, vault.Options{Key: service(t, "new"), Previous: service(t, "kek"), Fresh: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.rotator(old, time.Millisecond).Rotate(t.Context(), false, quiet); errs.ReasonOf(err) != "key_file_changing" {
		t.Errorf("error is %v", err)
	}
	if err := s.rotator(both, time.Millisecond).Rotate(t.Context(), false, quiet); err != nil {
		t.Error(err)
	}
	s.check() // by a process that has the old key alone
}

// TestRotationsGoOnByThemselves leaves one half done, and a process running.
func TestRotationsGoOnByThemselves(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 50)
	before := s.check()
	n := 0
	err := s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), false, func(vault.Progress) error {
		if n++; n == 3 { // a new key is the primary one, and some values are sealed by it
			return errKilled
		}
		return nil
	})
	if !errors.Is(err, errKilled) || len(s.sealers()) != 2 {
		t.Fatalf("it was to stop half way: %v, sealed by %v", err, s.sealers())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	r := s.rotator(s.process(), time.Millisecond)
	r.Look = 20 * time.Millisecond
	go func() { done <- r.Run(ctx) }()
	testkit.Eventually(t, 20*time.Second, func() error {
		if ids := s.sealers(); len(ids) != 1 || ids[before] > 0 {
			return fmt.Errorf("values are sealed by %v", ids)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.check()
}

func TestValuesStayJSON(t *testing.T) {
	t.Parallel()
	s := newSafe(t, 1)
	if err := s.rotator(s.process(), time.Millisecond).Rotate(t.Context(), false, quiet); err != nil {
		t.Fatal(err)
	}
	raw, _, err := store.Existing[json.RawMessage](s.bus, "CREDENTIALS").Get(t.Context(), keyOf(0))
	if err != nil || !json.Valid(raw) {
		t.Errorf("the record is %q, %v", raw, err)
	}
	s.check()
}
