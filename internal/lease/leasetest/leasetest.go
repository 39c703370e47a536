// Package leasetest writes records of tasks and runs as the sync-worker's ledger does, for tests of services that may not
// import it. That the ledger agrees is tested beside the ledger.
package leasetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/lease"
	"github.com/catalogsync/catalogsync/internal/store"
)

// Task is what a test says of a task.
type Task struct {
	RunID  string `json:"run_id"`
	Tenant string `json:"tenant"`
	Stage  string `json:"stage"`
	Number int    `json:"number"`
	State  string `json:"state"`
	Epoch  uint64 `json:"epoch"`
}

// Run is what a test says of a run.
type Run struct {
	ID           string `json:"id"`
	Tenant       string `json:"tenant"`
	ConnectionID string `json:"connection_id"`
	State        string `json:"state"`
}

// Ledger writes records.
type Ledger struct {
	tasks *store.Bucket[Task]
	runs  *store.Bucket[Run]
}

// Open makes the buckets.
func Open(t testing.TB, b *bus.Bus) *Ledger {
	t.Helper()
	tasks, err := store.Open[Task](t.Context(), b, store.Config{Bucket: lease.BucketTasks, MaxBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	runs, err := store.Open[Run](t.Context(), b, store.Config{Bucket: lease.BucketRuns, MaxBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return &Ledger{tasks, runs}
}

// Put stores records.
func (l *Ledger) Put(t testing.TB, r Run, tasks ...Task) {
	t.Helper()
	put(t, l.runs, store.Key(r.Tenant, r.ID), r)
	for _, k := range tasks {
		put(t, l.tasks, store.Key(k.RunID, k.Stage, fmt.Sprintf("%06d", k.Number)), k)
	}
}

func put[T any](t testing.TB, b *store.Bucket[T], key string, v T) {
	t.Helper()
	if _, err := b.Upsert(context.WithoutCancel(t.Context()), key, func(T, bool) (T, error) { return v, nil }); err != nil {
		t.Fatal(err)
	}
}

// Hold makes a running run of the tenant at the connection, and holds its task apply-1 under epoch 1.
func (l *Ledger) Hold(t testing.TB, tenant, connection, run string) lease.Task {
	t.Helper()
	l.Put(t, Run{ID: run, Tenant: tenant, ConnectionID: connection, State: "running"},
		Task{RunID: run, Tenant: tenant, Stage: "apply", Number: 1, State: "leased", Epoch: 1})
	return lease.Task{RunID: run, Stage: "apply", Number: 1, Epoch: 1}
}
