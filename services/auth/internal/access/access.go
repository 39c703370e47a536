// Package access owns who may have the access token of a connection: whoever holds the lease of a task of one of its
// runs, and whoever holds a grant that was made for one request. Nobody else, whatever service it is.
//
// The first use of a token by a run is written to the audit log before the token is given, and that of a grant before the
// grant is made.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/lease"
	"github.com/catalogsync/catalogsync/internal/store"
)

const (
	// grantsBucket holds the grants that are in force, by the hash of their secret.
	grantsBucket = "GRANTS"
	// GrantLife is how long a grant is good for.
	GrantLife = 2 * time.Minute
	// trusted is how long a yes is believed without asking again: a second more with a token that the caller has anyway
	// changes nothing, for what fences writes is the ledger, which the worker asks itself before each of them. A no is
	// never remembered.
	trusted = time.Second
	// crowded is how many answers are remembered before those that are too old are dropped.
	crowded = 4096
)

// grant is what a grant is for.
type grant struct {
	Tenant       string `json:"tenant"`
	ConnectionID string `json:"connection_id"`
}

// Control decides. It is safe for concurrent use.
type Control struct {
	ledger *lease.Ledger
	grants *store.Bucket[grant]
	audit  *audit.Log

	mu   sync.Mutex
	yes  map[claim]time.Time // when it was said
	told map[string]bool     // runs whose first use is in the audit log
}

// claim is a question that was answered with yes.
type claim struct {
	tenant, connection string
	task               lease.Task
	grant              string // its hash
}

// Open opens the bucket of grants, making it where it is missing.
func Open(ctx context.Context, b *bus.Bus, log *audit.Log) (*Control, error) {
	grants, err := store.Open[grant](ctx, b, store.Config{Bucket: grantsBucket, History: 1, MaxBytes: 16 << 20, TTL: GrantLife})
	if err != nil {
		return nil, err
	}
	return &Control{ledger: lease.Open(b), grants: grants, audit: log, yes: map[claim]time.Time{}, told: map[string]bool{}}, nil
}

// Grant makes a grant for the tenant's connection. It ends by itself. Viewers make grants, as often as they look at the org.
func (c *Control) Grant(ctx context.Context, tenant, connection string) (config.Secret, error) {
	e := audit.Entry{Tenant: tenant, Action: "token.use", Subject: connection, Detail: "one request outside of runs"}
	if err := c.audit.WriteAside(ctx, e); err != nil {
		return config.Secret{}, err
	}
	secret := rand.Text() + rand.Text() // 256 bits
	if _, err := c.grants.Create(ctx, hash(secret), grant{Tenant: tenant, ConnectionID: connection}); err != nil {
		return config.Secret{}, fmt.Errorf("store a grant for connection %s: %w", connection, err)
	}
	return config.NewSecret(secret), nil
}

// ByLease returns nil when the task is held under its epoch for a run at the tenant's connection; Denied, reason
// "no_lease", otherwise.
func (c *Control) ByLease(ctx context.Context, tenant, connection string, t lease.Task) error {
	k := claim{tenant: tenant, connection: connection, task: t}
	if !c.believed(k) {
		if err := c.ledger.Check(ctx, tenant, connection, t); err != nil {
			return err
		}
		c.believe(k)
	}
	return c.tell(ctx, "run "+t.RunID, audit.Entry{Tenant: tenant, Action: "token.use", Subject: t.RunID, Detail: "connection " + connection})
}

// ByGrant returns nil when the grant is in force and for the tenant's connection; Denied, reason "no_grant", otherwise.
func (c *Control) ByGrant(ctx context.Context, tenant, connection string, secret config.Secret) error {
	k := claim{tenant: tenant, connection: connection, grant: hash(secret.Expose())}
	if !c.believed(k) {
		have, _, err := c.grants.Get(ctx, k.grant)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && have != grant{Tenant: tenant, ConnectionID: connection}:
			return errs.New(errs.Denied, "no_grant", "the grant is not in force, or not for this connection")
		case err != nil:
			return fmt.Errorf("read a grant for connection %s: %w", connection, err)
		}
		c.believe(k)
	}
	return nil
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func (c *Control) believed(k claim) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.yes[k]
	return ok && time.Since(at) < trusted
}

func (c *Control) believe(k claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.yes) >= crowded {
		maps.DeleteFunc(c.yes, func(_ claim, at time.Time) bool { return time.Since(at) >= trusted })
	}
	c.yes[k] = time.Now()
}

// tell writes down a first use, in all processes once. Where it cannot be written the token is not used.
func (c *Control) tell(ctx context.Context, key string, e audit.Entry) error {
	c.mu.Lock()
	told := c.told[key]
	c.mu.Unlock()
	if told {
		return nil
	}
	if err := c.audit.WriteOnce(ctx, "token.use "+key, e); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.told) >= crowded {
		clear(c.told) // they are told again, which stores nothing
	}
	c.told[key] = true
	return nil
}
