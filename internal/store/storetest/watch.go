package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func testList(t *testing.T, s Server) {
	b := open(t, s)
	ctx := within(t)
	if entries, err := b.List(ctx, ""); err != nil || len(entries) != 0 {
		t.Errorf("an empty bucket: %v, %v", entries, err)
	}
	for _, key := range []string{"b.2", "b.1", "a.1", "b", "bb.1", "b.1.x"} {
		_, err := b.Create(ctx, key, Thing{Name: key})
		must(t, err)
	}
	must(t, b.Delete(ctx, "b.2", 0))
	rev, err := b.Replace(ctx, "a.1", Thing{Name: "a.1", N: 2}, 3)
	must(t, err)
	for prefix, want := range map[string][]string{
		"": {"a.1", "b", "b.1", "b.1.x", "bb.1"}, "b": {"b.1", "b.1.x"}, "b.1": {"b.1.x"}, "a": {"a.1"}, "none": nil,
	} {
		entries, err := b.List(ctx, prefix)
		must(t, err)
		var got []string
		for _, e := range entries {
			got = append(got, e.Key)
			if e.Value.Name != e.Key || e.Deleted || e.Revision == 0 || time.Since(e.Created).Abs() > time.Hour {
				t.Errorf("entry %+v", e)
			}
			if e.Key == "a.1" && e.Revision != rev {
				t.Errorf("a.1 is at %d, want %d", e.Revision, rev)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("below %q (-want +got):\n%s", prefix, diff)
		}
	}
	if _, err := b.List(ctx, "a.>"); err == nil {
		t.Error("a pattern was accepted as a prefix")
	}
	const many = 1500 // more than one request brings
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < many; i += 4 {
				if _, err := b.Create(within(t), store.Key("many", fmt.Sprint(i)), Thing{N: i}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	entries, err := b.List(within(t), "many")
	must(t, err)
	if len(entries) != many {
		t.Errorf("listed %d of %d", len(entries), many)
	}
}

// watcher collects what a watch yields.
type watcher struct {
	mu    sync.Mutex
	state map[string]int // N by key
	gone  map[string]int // deletions by key
}

func startWatch(t *testing.T, b *store.Bucket[Thing], prefix string) *watcher {
	w := &watcher{state: map[string]int{}, gone: map[string]int{}}
	var wg sync.WaitGroup
	ctx := t.Context()
	wg.Go(func() {
		for e, err := range b.Watch(ctx, prefix) {
			if err != nil {
				t.Errorf("watch: %v", err)
			}
			w.mu.Lock()
			if e.Deleted {
				delete(w.state, e.Key)
				w.gone[e.Key]++
			} else {
				w.state[e.Key] = e.Value.N
			}
			w.mu.Unlock()
		}
	})
	t.Cleanup(wg.Wait)
	return w
}

// expect waits until the watch has led to the state.
func (w *watcher) expect(t *testing.T, want map[string]int) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if diff := cmp.Diff(want, w.state); diff != "" {
			return fmt.Errorf("state (-want +got):\n%s", diff)
		}
		return nil
	})
}

func put(t *testing.T, b *store.Bucket[Thing], key string, n int) {
	t.Helper()
	_, err := b.Upsert(within(t), key, func(Thing, bool) (Thing, error) { return Thing{N: n}, nil })
	must(t, err)
}

func testWatch(t *testing.T, s Server) {
	b := open(t, s)
	put(t, b, "a.1", 1)
	put(t, b, "a.2", 2)
	put(t, b, "other", 9)
	put(t, b, "a.gone", 3)
	must(t, b.Delete(within(t), "a.gone", 0))
	all, some, empty := startWatch(t, open(t, s), ""), startWatch(t, b, "a"), startWatch(t, b, "empty")
	all.expect(t, map[string]int{"a.1": 1, "a.2": 2, "other": 9})
	some.expect(t, map[string]int{"a.1": 1, "a.2": 2})
	put(t, b, "a.1", 11)
	put(t, b, "a.3", 3)
	put(t, b, "empty.1", 1)
	must(t, b.Delete(within(t), "a.2", 0))
	all.expect(t, map[string]int{"a.1": 11, "a.3": 3, "other": 9, "empty.1": 1})
	some.expect(t, map[string]int{"a.1": 11, "a.3": 3})
	empty.expect(t, map[string]int{"empty.1": 1})
	put(t, b, "a.2", 22)
	all.expect(t, map[string]int{"a.1": 11, "a.2": 22, "a.3": 3, "other": 9, "empty.1": 1})
	some.mu.Lock()
	defer some.mu.Unlock()
	if diff := cmp.Diff(map[string]int{"a.2": 1}, some.gone); diff != "" {
		t.Errorf("deletions (-want +got):\n%s", diff)
	}
	for _, err := range b.Watch(within(t), "") {
		if err != nil {
			t.Error(err)
		}
		break // ends without the context
	}
	for _, err := range b.Watch(within(t), "a.>") {
		if err == nil {
			t.Error("a pattern was accepted as a prefix")
		}
	}
}

func testWatchRestart(t *testing.T, s Server) {
	near := open(t, s)
	link := testkit.NewLink(s)
	far, err := store.Open[Thing](within(t), link.Bus(t), store.Config{Bucket: "THINGS", MaxBytes: 32 << 20})
	must(t, err)
	put(t, near, "a", 1)
	put(t, near, "b", 1)
	put(t, near, "c", 1)
	w := startWatch(t, far, "")
	w.expect(t, map[string]int{"a": 1, "b": 1, "c": 1})
	link.Cut()
	put(t, near, "a", 2)
	must(t, near.Delete(within(t), "b", 0))
	// The marker of this deletion is gone before the watcher comes back.
	must(t, near.Delete(within(t), "c", 0))
	stream, err := operator(t, s).Stream(within(t), "KV_THINGS")
	must(t, err)
	must(t, stream.Purge(within(t)))
	put(t, near, "a", 3)
	put(t, near, "d", 1)
	link.Mend()
	w.expect(t, map[string]int{"a": 3, "d": 1})
	for i := range 2 {
		s.Restart(t)
		put(t, near, "a", 10+i)
		w.expect(t, map[string]int{"a": 10 + i, "d": 1})
	}
}

func testRestart(t *testing.T, s Server) {
	const updaters, each, restarts = 3, 40, 2
	b := open(t, s)
	progress := make(chan struct{}, updaters*each)
	var wg sync.WaitGroup
	for u := range updaters {
		wg.Go(func() {
			for range each {
				if _, err := b.Upsert(within(t), fmt.Sprint("own.", u), func(v Thing, _ bool) (Thing, error) { v.N++; return v, nil }); err != nil {
					t.Error(err)
				}
				if _, err := b.Upsert(within(t), "shared", func(v Thing, _ bool) (Thing, error) { v.N++; return v, nil }); err != nil {
					t.Error(err)
				}
				progress <- struct{}{}
			}
		})
	}
	for range restarts {
		for range updaters * each / (restarts + 1) {
			<-progress
		}
		s.Restart(t)
	}
	wg.Wait()
	// Somebody else may have changed the shared value while the outcome of an update was unknown: none is lost.
	if v, _, err := b.Get(within(t), "shared"); err != nil || v.N < updaters*each {
		t.Errorf("%d of %d updates are stored (%v)", v.N, updaters*each, err)
	}
	entries, err := b.List(within(t), "own")
	must(t, err)
	for _, e := range entries {
		if e.Value.N != each {
			t.Errorf("%s has %d updates, want %d: one was repeated or lost", e.Key, e.Value.N, each)
		}
	}
}

func testDeletedBucket(t *testing.T, s Server) {
	b := open(t, s)
	put(t, b, "a", 1)
	w := startWatch(t, b, "")
	w.expect(t, map[string]int{"a": 1})
	for _, check := range []func(){
		func() { put(t, b, "b", 2) },
		func() {
			if entries, err := b.List(within(t), ""); err != nil || len(entries) != 0 {
				t.Errorf("list: %v, %v", entries, err)
			}
			put(t, b, "b", 2)
		},
	} {
		must(t, operator(t, s).DeleteStream(within(t), "KV_THINGS"))
		check()
		w.expect(t, map[string]int{"b": 2})
	}
}

func testClosed(t *testing.T, s Server) {
	conn := s.Bus(t)
	b, err := store.Open[Thing](within(t), conn, store.Config{Bucket: "THINGS", MaxBytes: 1 << 20})
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		var last error
		for _, err := range b.Watch(t.Context(), "") {
			last = err
		}
		ended <- last
	}()
	put(t, b, "a", 1)
	conn.Close()
	select {
	case err := <-ended:
		wantErr(t, err, nil, errs.Unavailable)
	case <-within(t).Done():
		t.Error("watching did not end")
	}
	_, err = b.List(within(t), "")
	wantErr(t, err, nil, errs.Unavailable)
	_, err = b.Create(within(t), "b", Thing{})
	wantErr(t, err, nil, errs.Unavailable)
}

func testTools(t *testing.T, s Server) {
	b := open(t, s, func(c *store.Config) { c.History = 3 })
	put(t, b, "a.1", 1)
	put(t, b, "a.2", 2)
	kv, err := operator(t, s).KeyValue(within(t), "THINGS")
	must(t, err)
	e, err := kv.Get(within(t), "a.1")
	must(t, err)
	if string(e.Value()) != `{"name":"","n":1}` {
		t.Errorf("the tools read %s", e.Value())
	}
	_, err = kv.Put(within(t), "a.1", []byte(`{"n":5}`))
	must(t, err)
	must(t, kv.Delete(within(t), "a.2"))
	entries, err := b.List(within(t), "a")
	must(t, err)
	if len(entries) != 1 || entries[0].Value.N != 5 {
		t.Errorf("after changes by the tools: %v", entries)
	}
	must(t, b.Delete(within(t), "a.1", 0))
	if keys, err := kv.Keys(within(t)); err == nil {
		t.Errorf("the tools see %v after a deletion", keys)
	}
}
