package store_test

import (
	"errors"
	"testing"

	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestViewReadsWhatAnotherServiceOwns(t *testing.T) {
	t.Parallel()
	type whole struct{ Name, Secret string }
	type part struct{ Name string }
	nats := testkit.NATS(t)
	view := store.NewView[part](nats.Bus(t), "OWNED")
	if _, _, err := view.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before the bucket is made: %v", err)
	}

	owner := nats.Bus(t)
	bucket, err := store.Open[whole](t.Context(), owner, store.Config{Bucket: "OWNED", MaxBytes: 1 << 20, History: 3})
	if err != nil {
		t.Fatal(err)
	}
	rev, err := bucket.Create(t.Context(), "a", whole{"x", "y"})
	if err != nil {
		t.Fatal(err)
	}
	if v, r, err := view.Get(t.Context(), "a"); err != nil || v.Name != "x" || r != rev {
		t.Errorf("got %v at %d, %v", v, r, err)
	}
	if err := bucket.Delete(t.Context(), "a", rev); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if _, _, err := view.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("key %s that is gone: %v", key, err)
		}
	}
	if _, _, err := view.Get(t.Context(), "*"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a pattern is read as a key: %v", err)
	}
}
