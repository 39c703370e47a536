package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/catalogsync/catalogsync/internal/store"
)

// end makes a connection unlinked. What follows from it is done by whoever sees the marker.
func (c *Connection) end(now time.Time, replaced bool) {
	c.State, c.Reason, c.ReasonCode, c.UnlinkedAt = Unlinked, "", "", now
	c.Ending = &Ending{Replaced: replaced}
}

// Unlink ends a connection, the write target where id is empty: nobody gets a token for it from now on. It is marked
// until [Store.Ended]; its credentials are still there. Ending it again changes nothing.
func (s *Store) Unlink(ctx context.Context, tenant, id string) (now Connection, err error) {
	_, err = s.tenants.Upsert(ctx, store.Key(tenant), func(rec record, _ bool) (record, error) {
		i := rec.find(id)
		if i < 0 {
			return record{}, missing(tenant, id)
		}
		now = rec.Connections[i]
		if now.State == Unlinked {
			return record{}, store.NoChange
		}
		now.end(time.Now().UTC().Truncate(time.Millisecond), false)
		return rec.with(i, now), nil
	})
	if err != nil {
		return Connection{}, fmt.Errorf("unlink: %w", err)
	}
	return now, nil
}

// NoteRevocation records what came of revoking the tokens of an unlinked connection, unless that is known already. It
// returns what is recorded, and whether this call did it.
func (s *Store) NoteRevocation(ctx context.Context, c Connection, r Revocation) (kept Revocation, first bool, err error) {
	_, err = s.tenants.Update(ctx, store.Key(c.Tenant), func(rec record) (record, error) {
		kept, first = r, false
		i := rec.find(c.ID)
		if i < 0 {
			return record{}, notFound(c.Tenant, c.ID)
		}
		now := rec.Connections[i]
		if now.Revocation != nil {
			kept = *now.Revocation
			return record{}, store.NoChange
		}
		now.Revocation, first = &r, true
		return rec.with(i, now), nil
	})
	if err != nil {
		return r, false, fmt.Errorf("store connection %s: %w", c.ID, err)
	}
	return kept, first, nil
}

// Ended takes the marker off an unlinked connection.
func (s *Store) Ended(ctx context.Context, c Connection) error {
	_, err := s.tenants.Update(ctx, store.Key(c.Tenant), func(rec record) (record, error) {
		i := rec.find(c.ID)
		if i < 0 || rec.Connections[i].Ending == nil {
			return record{}, store.NoChange
		}
		now := rec.Connections[i]
		now.Ending = nil
		return rec.with(i, now), nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("store connection %s: %w", c.ID, err)
	}
	return nil
}

// IsLast reports whether the tenant has no connection any more that is not unlinked.
func (s *Store) IsLast(ctx context.Context, tenant string) (bool, error) {
	all, err := s.List(ctx, tenant)
	if err != nil {
		return false, err
	}
	for _, c := range all {
		if c.State != Unlinked {
			return false, nil
		}
	}
	return true, nil
}
