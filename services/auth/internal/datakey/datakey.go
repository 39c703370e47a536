// Package datakey owns the tenants' data keys, with which rows are sealed on the bus: one per tenant, made on first use,
// in versions. They lie sealed by the vault; destroying them makes everything unreadable that they sealed, wherever a copy
// of it is.
package datakey

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

const (
	// bucket is where keys are. Nobody else writes to it.
	bucket = "DATA_KEYS"
	// purpose binds a sealed key to what it is.
	purpose = "data_key"
	// size is that of AES-256.
	size = 32
	// openRuns is the sync-worker's bucket of runs that have not ended, which is read alone.
	openRuns = "OPEN_RUNS"
	// runs is the sync-worker's bucket of runs.
	runs = "RUNS"
	// sweepEvery is how often retired keys are looked at.
	sweepEvery = 30 * time.Second
	// takeBackTimeout bounds how long it is tried to take a mark back.
	takeBackTimeout = 10 * time.Second
	// markLife is longer than any call that destroys lives: whoever left a mark behind then was cut off, and what was asked
	// for is done in its place.
	markLife = 5 * time.Minute
)

// Key is one version of a tenant's data key.
type Key struct {
	// Version counts from 1.
	Version int32
	// Secret is an AES-256 key, as a string of bytes.
	Secret config.Secret
}

// record is all versions of a tenant's key.
type record struct {
	Versions []version `json:"versions"` // of which the last is the present one; version n stands at n-1
}

type version struct {
	Sealed      []byte    `json:"sealed,omitempty"` // nothing once it is destroyed
	CreatedAt   time.Time `json:"created_at"`
	DestroyedAt time.Time `json:"destroyed_at,omitzero"`
	// Retired: it seals nothing any more, and is destroyed as soon as no run of the tenant is open.
	Retired bool `json:"retired,omitempty"`
	// Mark is that of the call which retired it in order to destroy it at once, and which takes that back when it may not;
	// empty for others. A mark that is left behind at MarkedAt is void after markLife.
	Mark     string    `json:"mark,omitempty"`
	MarkedAt time.Time `json:"marked_at,omitzero"`
}

// Keys keeps data keys. It is safe for concurrent use.
type Keys struct {
	keys  *store.Bucket[record]
	vault *vault.Vault
	open  *store.View[openRun]
	runs  *store.View[run]
	log   *slog.Logger
}

// openRun is the mark of a run that has not ended, as the ledger has it.
type openRun struct {
	Tenant string `json:"tenant"`
	RunID  string `json:"run_id"`
}

// run is the part of a run's record that says whether it has ended: a mark may stay for a while after that.
type run struct {
	EndedAt time.Time `json:"ended_at"`
}

// Open opens the bucket, making it where it is missing.
func Open(ctx context.Context, b *bus.Bus, v *vault.Vault, log *slog.Logger) (*Keys, error) {
	keys, err := store.Open[record](ctx, b, store.Config{Bucket: bucket, MaxBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	return &Keys{keys: keys, vault: v, open: store.NewView[openRun](b, openRuns), runs: store.NewView[run](b, runs), log: log}, nil
}

func label(tenant string, v int32) vault.Label {
	return vault.Label{Purpose: purpose, Tenant: tenant, Version: int64(v)}
}

// Get returns a version of the tenant's key. Version 0 is the present one, which is made where there is none, or where it
// was destroyed. The error is NotFound, reason "no_such_data_key", for a version that never was, and Precondition, reason
// "data_key_destroyed", for one that was destroyed.
func (k *Keys) Get(ctx context.Context, tenant string, v int32) (Key, error) {
	rec, _, err := k.keys.Get(ctx, store.Key(tenant))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Key{}, fmt.Errorf("read the data key of tenant %s: %w", tenant, err)
	}
	if v == 0 {
		if v = rec.present(); v == 0 {
			return k.create(ctx, tenant)
		}
	}
	return k.unseal(rec, tenant, v)
}

// present is the version in use, 0 for none.
func (r record) present() int32 {
	if n := len(r.Versions); n > 0 && r.Versions[n-1].Sealed != nil && !r.Versions[n-1].Retired {
		return int32(n)
	}
	return 0
}

func (k *Keys) unseal(rec record, tenant string, v int32) (Key, error) {
	if v < 1 || int(v) > len(rec.Versions) {
		return Key{}, errs.New(errs.NotFound, "no_such_data_key", "tenant %s has no data key of version %d", tenant, v)
	}
	have := rec.Versions[v-1]
	if have.Sealed == nil {
		return Key{}, errs.New(errs.Precondition, "data_key_destroyed", "the data key of tenant %s was destroyed at %s: what was sealed with it can never be read again",
			tenant, have.DestroyedAt.Format(time.RFC3339))
	}
	plain, err := k.vault.Open(have.Sealed, label(tenant, v))
	if err != nil {
		return Key{}, errs.Wrap(err, errs.Internal, "data_key_unreadable", "the data key of tenant %s cannot be opened: it was changed outside this program", tenant)
	}
	return Key{Version: v, Secret: config.NewSecret(string(plain))}, nil
}

// create makes the next version, unless somebody else was faster.
func (k *Keys) create(ctx context.Context, tenant string) (Key, error) {
	secret := make([]byte, size)
	_, _ = rand.Read(secret) // never fails
	rec, err := k.keys.Upsert(ctx, store.Key(tenant), func(rec record, _ bool) (record, error) {
		if rec.present() > 0 {
			return rec, store.NoChange
		}
		next := int32(len(rec.Versions) + 1)
		sealed, err := k.vault.Seal(secret, label(tenant, next))
		if err != nil {
			return rec, err
		}
		rec.Versions = append(rec.Versions, version{Sealed: sealed, CreatedAt: time.Now().UTC().Truncate(time.Millisecond)})
		return rec, nil
	})
	if err != nil {
		return Key{}, fmt.Errorf("make a data key for tenant %s: %w", tenant, err)
	}
	return k.unseal(rec, tenant, rec.present())
}

// Destroy destroys every version of the tenant's key; the next [Keys.Get] makes a new one. It may be repeated. While a run
// of the tenant is open, or when one begins meanwhile, the error is Precondition, reason "run_open": try again when it has
// ended.
func (k *Keys) Destroy(ctx context.Context, tenant string) error {
	open, err := k.runOf(ctx, tenant)
	if err != nil {
		return err
	}
	if open != "" {
		return runOpen(tenant, open)
	}
	// A run that begins from here on is given another version. One that was given a marked version is open by now, so that
	// the second look finds it.
	mark := rand.Text()
	err = k.change(ctx, tenant, func(v *version, now time.Time) {
		if !v.Retired || v.Mark != "" {
			v.Retired, v.Mark, v.MarkedAt = true, mark, now
		}
	})
	if err != nil {
		return err
	}
	open, err = k.runOf(ctx, tenant)
	if err != nil || open != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
		defer cancel()
		back := k.change(ctx, tenant, func(v *version, _ time.Time) {
			if v.Mark == mark {
				v.Retired, v.Mark, v.MarkedAt = false, "", time.Time{}
			}
		})
		if err = errors.Join(err, back); err != nil {
			return err
		}
		return runOpen(tenant, open)
	}
	others := false
	err = k.change(ctx, tenant, func(v *version, now time.Time) {
		switch {
		case v.Retired && (v.Mark == mark || v.Mark == ""):
			v.destroy(now)
		case v.Mark != "":
			others = true
		}
	})
	if err == nil && others {
		return errs.New(errs.Conflict, "destroying_at_once", "the data key of tenant %s is being destroyed by another caller as well: try again", tenant)
	}
	return err
}

func runOpen(tenant, run string) error {
	return errs.New(errs.Precondition, "run_open", "run %s of tenant %s has not ended, and needs the data key: cancel it or wait, then try again", run, tenant)
}

// destroy takes the key away.
func (v *version) destroy(now time.Time) {
	v.Sealed, v.DestroyedAt, v.Mark, v.MarkedAt = nil, now, "", time.Time{}
}

// Retire destroys the versions that the tenant's key has now, or, while a run of the tenant is open, has [Keys.Run] destroy
// them as soon as none is. It reports whether they are destroyed.
func (k *Keys) Retire(ctx context.Context, tenant string) (destroyed bool, err error) {
	err = k.change(ctx, tenant, func(v *version, _ time.Time) { v.Retired, v.Mark, v.MarkedAt = true, "", time.Time{} })
	if err != nil {
		return false, err
	}
	return k.sweep(ctx, tenant)
}

// sweep destroys the retired versions of the tenant's key unless a run is open.
func (k *Keys) sweep(ctx context.Context, tenant string) (destroyed bool, err error) {
	if open, err := k.runOf(ctx, tenant); err != nil || open != "" {
		return false, err
	}
	return true, k.change(ctx, tenant, func(v *version, now time.Time) {
		if v.Retired && (v.Mark == "" || now.Sub(v.MarkedAt) > markLife) {
			v.destroy(now)
		}
	})
}

// change changes every version of the tenant's key that is not destroyed.
func (k *Keys) change(ctx context.Context, tenant string, fn func(v *version, now time.Time)) error {
	_, err := k.keys.Update(ctx, store.Key(tenant), func(rec record) (record, error) {
		changed := false
		for i := range rec.Versions {
			if v := &rec.Versions[i]; v.Sealed != nil {
				before := *v
				fn(v, time.Now().UTC().Truncate(time.Millisecond))
				changed = changed || v.Retired != before.Retired || v.Mark != before.Mark || v.Sealed == nil
			}
		}
		if !changed {
			return rec, store.NoChange
		}
		return rec, nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("destroy the data key of tenant %s: %w", tenant, err)
	}
	return nil
}

// Run destroys retired keys whose time has come, until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		if err := k.sweepAll(ctx); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "retired data keys are not destroyed yet", telemetry.Err(err))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (k *Keys) sweepAll(ctx context.Context) error {
	entries, err := k.keys.List(ctx, "")
	if err != nil {
		return fmt.Errorf("list the data keys: %w", err)
	}
	var failed error
	for _, e := range entries {
		if !slices.ContainsFunc(e.Value.Versions, func(v version) bool { return v.Retired && v.Sealed != nil }) {
			continue
		}
		parts, err := store.Parts(e.Key)
		if err == nil {
			_, err = k.sweep(ctx, parts[0])
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// runOf returns a run of the tenant that has not ended, or nothing.
func (k *Keys) runOf(ctx context.Context, tenant string) (string, error) {
	marks, err := k.open.List(ctx, "")
	if err != nil {
		return "", fmt.Errorf("look for open runs of tenant %s: %w", tenant, err)
	}
	for _, m := range marks {
		if m.Value.Tenant != tenant {
			continue
		}
		r, _, err := k.runs.Get(ctx, store.Key(tenant, m.Value.RunID))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", fmt.Errorf("read run %s: %w", m.Value.RunID, err)
		}
		if err != nil || r.EndedAt.IsZero() { // marked and not made yet counts, too
			return m.Value.RunID, nil
		}
	}
	return "", nil
}
