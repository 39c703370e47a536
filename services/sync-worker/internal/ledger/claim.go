package ledger

import (
	"context"
	"errors"

	"github.com/catalogsync/catalogsync/internal/store"
)

// Claim is an org's object in the hands of one tenant and of at most one writing run.
type Claim struct {
	// Tenant that owns the org's object for good.
	Tenant string `json:"tenant"`
	// RunID is the run that writes now; empty when none does.
	RunID string `json:"run_id,omitempty"`
}

// ErrOtherTenant: the org's object belongs to another tenant.
var ErrOtherTenant = errors.New("ledger: another tenant of this installation writes to this org's object")

func claimKey(r Run) string { return store.Key(r.OrgID, r.Object) }

// Acquire lets the run write to its org's object. It reports false while another run does.
func (l *Ledger) Acquire(ctx context.Context, r Run) (bool, error) {
	got := false
	_, err := l.claims.Upsert(ctx, claimKey(r), func(c Claim, found bool) (Claim, error) {
		got = false
		if found && c.Tenant != r.Tenant {
			return c, ErrOtherTenant
		}
		if c.RunID != "" && c.RunID != r.ID {
			holder, err := l.Run(ctx, c.Tenant, c.RunID)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return c, err
			}
			if err == nil && !holder.State.Final() {
				return c, nil
			}
		}
		got = true
		return Claim{Tenant: r.Tenant, RunID: r.ID}, nil
	})
	return got, err
}

// release lets the next run write.
func (l *Ledger) release(ctx context.Context, r Run) error {
	_, err := l.claims.Update(ctx, claimKey(r), func(c Claim) (Claim, error) {
		if c.RunID != r.ID {
			return c, store.NoChange
		}
		c.RunID = ""
		return c, nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// Writer returns the run that may write to the org's object of r now; ErrNotFound where none may.
func (l *Ledger) Writer(ctx context.Context, r Run) (Run, error) {
	c, _, err := l.claims.Get(ctx, claimKey(r))
	if err != nil {
		return Run{}, err
	}
	if c.RunID == "" {
		return Run{}, store.ErrNotFound
	}
	return l.Run(ctx, c.Tenant, c.RunID)
}
