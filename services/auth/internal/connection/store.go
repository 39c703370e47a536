package connection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// The buckets. Nobody else writes to them.
const (
	connectionsBucket = "CONNECTIONS"
	credentialsBucket = "CREDENTIALS"
)

// Store keeps connections and their credentials.
type Store struct {
	tenants     *store.Bucket[record]
	credentials *store.Bucket[sealed]
	vault       *vault.Vault
	log         *slog.Logger
}

// Open opens the buckets, making them where they are missing.
func Open(ctx context.Context, b *bus.Bus, v *vault.Vault, log *slog.Logger) (*Store, error) {
	tenants, err := store.Open[record](ctx, b, store.Config{Bucket: connectionsBucket, History: 1, MaxBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	credentials, err := store.Open[sealed](ctx, b, store.Config{Bucket: credentialsBucket, History: 1, MaxBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	return &Store{tenants: tenants, credentials: credentials, vault: v, log: log}, nil
}

// Find returns a connection of the tenant, or its write target where id is empty. NotFound covers connections of other
// tenants too.
func (s *Store) Find(ctx context.Context, tenant, id string) (Connection, error) {
	rec, _, err := s.tenants.Get(ctx, store.Key(tenant))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Connection{}, fmt.Errorf("read the connections of tenant %s: %w", tenant, err)
	}
	if i := rec.find(id); i >= 0 {
		return rec.Connections[i], nil
	}
	return Connection{}, missing(tenant, id)
}

func missing(tenant, id string) error {
	if id == "" {
		return errs.New(errs.NotFound, "not_linked", "tenant %s is not linked to an org: link one first", tenant)
	}
	return notFound(tenant, id)
}

func notFound(tenant, id string) error {
	return errs.New(errs.NotFound, "no_such_connection", "tenant %s has no connection %s: list the connections for their ids", tenant, id)
}

// List returns the tenant's connections, oldest first.
func (s *Store) List(ctx context.Context, tenant string) ([]Connection, error) {
	rec, _, err := s.tenants.Get(ctx, store.Key(tenant))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the connections of tenant %s: %w", tenant, err)
	}
	return rec.Connections, nil
}

// All returns the connections of all tenants.
func (s *Store) All(ctx context.Context) ([]Connection, error) {
	entries, err := s.tenants.List(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("read all connections: %w", err)
	}
	var all []Connection
	for _, e := range entries {
		all = append(all, e.Value.Connections...)
	}
	return all, nil
}

// Watch yields every connection, and then those of each tenant whose connections change.
func (s *Store) Watch(ctx context.Context) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		for e, err := range s.tenants.Watch(ctx, "") {
			if err != nil {
				if !yield(Connection{}, fmt.Errorf("watch the connections: %w", err)) {
					return
				}
				continue
			}
			for _, c := range e.Value.Connections {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// Update changes what an admin says of a connection: its name, unless it is empty, and its company names.
func (s *Store) Update(ctx context.Context, tenant, id, name string, companies []string) (now Connection, err error) {
	_, err = s.tenants.Update(ctx, store.Key(tenant), func(rec record) (record, error) {
		i := rec.find(id)
		if i < 0 {
			return record{}, notFound(tenant, id)
		}
		now = rec.Connections[i]
		if now.State == Unlinked {
			return record{}, now.UnlinkedError()
		}
		if name != "" {
			if err := rec.nameIsFree(name, now.ID); err != nil {
				return record{}, err
			}
			now.Name = name
		}
		now.CompanyNames = companies
		return rec.with(i, now), nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = notFound(tenant, id)
	}
	if err != nil {
		return Connection{}, fmt.Errorf("change connection %s: %w", id, err)
	}
	return now, nil
}

// Good records that Salesforce gave a token for the credentials: the connection is linked, and its API is at
// instanceURL. It returns the connection as it now stands.
func (s *Store) Good(ctx context.Context, c Connection, instanceURL string) (Connection, error) {
	return s.change(ctx, c, func(c Connection) Connection {
		c.State, c.Reason, c.ReasonCode, c.InstanceURL = Linked, "", "", instanceURL
		return c
	})
}

// Refused records that Salesforce refuses the credentials. It returns the connection as it now stands.
func (s *Store) Refused(ctx context.Context, c Connection, reason string) (Connection, error) {
	return s.change(ctx, c, func(c Connection) Connection {
		c.State, c.Reason = NeedsReconnect, reason
		return c
	})
}

// change applies fn to the stored connection, unless its credentials are no longer those of c or it was unlinked: what
// was learnt of the old ones says nothing about the new ones.
func (s *Store) change(ctx context.Context, c Connection, fn func(Connection) Connection) (now Connection, err error) {
	_, err = s.tenants.Update(ctx, store.Key(c.Tenant), func(rec record) (record, error) {
		i := rec.find(c.ID)
		if i < 0 {
			return record{}, notFound(c.Tenant, c.ID)
		}
		now = rec.Connections[i]
		if now.CredentialVersion != c.CredentialVersion || now.State == Unlinked {
			return record{}, store.NoChange
		}
		now = fn(now)
		return rec.with(i, now), nil
	})
	if err != nil {
		return Connection{}, fmt.Errorf("store connection %s: %w", c.ID, err)
	}
	return now, nil
}
