package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/natsd"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// record is of the size of a run's or task's entry, about 500 bytes.
type record struct {
	State string
	Epoch int
	Note  string
}

// benchBucket is a bucket with n records below "run" and as many beside, on a server that syncs before it acknowledges.
func benchBucket(b *testing.B, n int) *store.Bucket[record] {
	b.Helper()
	bus := testkit.NATS(b, func(o *natsd.Options) { o.NoSync = false }).Bus(b)
	s, err := store.Open[record](b.Context(), bus, store.Config{Bucket: "BENCH", MaxBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		for _, prefix := range []string{"run", "other"} {
			if _, err := s.Create(b.Context(), store.Key(prefix, fmt.Sprint(i)), record{Note: strings.Repeat("x", 450)}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return s
}

func BenchmarkGet(b *testing.B) {
	s := benchBucket(b, 1)
	for b.Loop() {
		if _, _, err := s.Get(b.Context(), "run.0"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	s := benchBucket(b, 1)
	for b.Loop() {
		if _, err := s.Update(b.Context(), "run.0", func(r record) (record, error) { r.Epoch++; return r, nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdateContended(b *testing.B) {
	s := benchBucket(b, 1)
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Update(b.Context(), "run.0", func(r record) (record, error) { r.Epoch++; return r, nil }); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := benchBucket(b, n)
			for b.Loop() {
				entries, err := s.List(b.Context(), "run")
				if err != nil || len(entries) != n {
					b.Fatalf("%d entries, %v", len(entries), err)
				}
			}
		})
	}
}
