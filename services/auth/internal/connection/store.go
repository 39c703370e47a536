package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// The buckets. Nobody else writes to them.
const (
	connectionsBucket = "CONNECTIONS"
	credentialsBucket = "CREDENTIALS"
)

// attempts bounds how often Link starts over because somebody else changed the tenant's connections.
const attempts = 10

// Store keeps connections and their credentials.
type Store struct {
	tenants     *store.Bucket[record]
	credentials *store.Bucket[sealed]
	vault       *vault.Vault
	log         *slog.Logger
}

// sealed is one version of a connection's credentials.
type sealed struct {
	Sealed []byte `json:"sealed"`
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
	if id == "" {
		return Connection{}, errs.New(errs.NotFound, "not_linked", "tenant %s is not linked to an org: link one first", tenant)
	}
	return Connection{}, notFound(tenant, id)
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

// Link stores a connection that has been tried, with its credentials. ID, State, LinkedAt and CredentialVersion of c are
// decided here. A tenant's connection to the same org keeps its id and gets the new credentials; a tenant that is
// linked to another org is refused.
func (s *Store) Link(ctx context.Context, c Connection, creds Credentials) (Connection, error) {
	for range attempts {
		linked, err := s.link(ctx, c, creds)
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return Connection{}, err
		}
		s.forget(ctx, linked)
		return linked, nil
	}
	return Connection{}, errs.New(errs.Conflict, "linking_at_once", "tenant %s is being linked by several callers at once: try again", c.Tenant)
}

func (s *Store) link(ctx context.Context, c Connection, creds Credentials) (Connection, error) {
	key := store.Key(c.Tenant)
	rec, rev, err := s.tenants.Get(ctx, key)
	fresh := errors.Is(err, store.ErrNotFound)
	if err != nil && !fresh {
		return Connection{}, fmt.Errorf("read the connections of tenant %s: %w", c.Tenant, err)
	}
	i := rec.find("")
	c.ID, c.CredentialVersion = newID(), 1
	if i >= 0 {
		old := rec.Connections[i]
		if old.OrgID != c.OrgID {
			return Connection{}, errs.New(errs.Precondition, "other_org_linked",
				"tenant %s is linked to org %s (%s), and these credentials belong to org %s (%s): a tenant writes to one org. Give credentials of org %s, or link org %s to another tenant",
				c.Tenant, old.OrgID, old.Host, c.OrgID, c.Host, old.OrgID, c.OrgID)
		}
		c.ID = old.ID
		if c.CredentialVersion, err = s.nextVersion(ctx, old); err != nil {
			return Connection{}, err
		}
	}
	c.State, c.Reason, c.LinkedAt = Linked, "", time.Now().UTC().Truncate(time.Millisecond)
	if err := s.seal(ctx, c, creds); err != nil {
		return Connection{}, err
	}
	if fresh {
		_, err = s.tenants.Create(ctx, key, rec.with(i, c))
	} else {
		_, err = s.tenants.Replace(ctx, key, rec.with(i, c), rev)
	}
	if err != nil {
		return Connection{}, fmt.Errorf("store connection %s: %w", c.ID, err)
	}
	return c, nil
}

// Good records that Salesforce gave a token for the credentials: the connection is linked, and its API is at
// instanceURL. It returns the connection as it now stands.
func (s *Store) Good(ctx context.Context, c Connection, instanceURL string) (Connection, error) {
	return s.change(ctx, c, func(c Connection) Connection {
		c.State, c.Reason, c.InstanceURL = Linked, "", instanceURL
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

// secrets is the content of a sealed record.
type secrets struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

func label(c Connection) vault.Label {
	return vault.Label{Purpose: string(c.Flow), Tenant: c.Tenant, Connection: c.ID, Version: c.CredentialVersion}
}

func credentialsKey(id string, version int64) string {
	return store.Key(id, strconv.FormatInt(version, 10))
}

func (s *Store) seal(ctx context.Context, c Connection, creds Credentials) error {
	plain, err := json.Marshal(secrets{ClientID: creds.ClientID, ClientSecret: creds.ClientSecret.Expose()})
	if err != nil {
		return fmt.Errorf("encode the credentials of connection %s: %w", c.ID, err)
	}
	box, err := s.vault.Seal(plain, label(c))
	if err != nil {
		return err
	}
	if _, err := s.credentials.Create(ctx, credentialsKey(c.ID, c.CredentialVersion), sealed{box}); err != nil {
		return fmt.Errorf("store the credentials of connection %s: %w", c.ID, err)
	}
	return nil
}

// Credentials opens the connection's credentials. NotFound, reason "credentials_replaced", when the connection has been
// given others in the meantime.
func (s *Store) Credentials(ctx context.Context, c Connection) (Credentials, error) {
	box, _, err := s.credentials.Get(ctx, credentialsKey(c.ID, c.CredentialVersion))
	if errors.Is(err, store.ErrNotFound) {
		return Credentials{}, errs.New(errs.Unavailable, "credentials_replaced", "the credentials of connection %q were replaced just now: try again", c.Name)
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("read the credentials of connection %s: %w", c.ID, err)
	}
	plain, err := s.vault.Open(box.Sealed, label(c))
	if err != nil {
		return Credentials{}, errs.Wrap(err, errs.Internal, "credentials_unreadable",
			"the stored credentials of connection %q cannot be opened: they were changed outside this program or belong to another key file", c.Name)
	}
	var sec secrets
	if err := json.Unmarshal(plain, &sec); err != nil {
		return Credentials{}, fmt.Errorf("decode the credentials of connection %s", c.ID) // the cause would quote them
	}
	return Credentials{ClientID: sec.ClientID, ClientSecret: config.NewSecret(sec.ClientSecret)}, nil
}

// nextVersion returns a version that no credentials of the connection have, not even such as a crash left behind before
// the connection named them.
func (s *Store) nextVersion(ctx context.Context, c Connection) (int64, error) {
	next := c.CredentialVersion + 1
	err := s.versions(ctx, c, func(_ string, v int64) error {
		next = max(next, v+1)
		return nil
	})
	return next, err
}

// forget deletes the credentials older than those that the connection uses. Newer ones belong to somebody who is
// linking right now. What cannot be deleted now goes with the next link.
func (s *Store) forget(ctx context.Context, c Connection) {
	err := s.versions(ctx, c, func(key string, v int64) error {
		if v >= c.CredentialVersion {
			return nil
		}
		return s.credentials.Delete(ctx, key, 0)
	})
	if err != nil {
		s.log.WarnContext(ctx, "old credentials not deleted", slog.String(telemetry.KeyConnection, c.ID), telemetry.Err(err))
	}
}

func (s *Store) versions(ctx context.Context, c Connection, each func(key string, version int64) error) error {
	entries, err := s.credentials.List(ctx, store.Key(c.ID))
	if err != nil {
		return fmt.Errorf("list the credentials of connection %s: %w", c.ID, err)
	}
	for _, e := range entries {
		v, err := strconv.ParseInt(e.Key[strings.LastIndexByte(e.Key, '.')+1:], 10, 64)
		if err != nil {
			return fmt.Errorf("key %q in bucket %s is no version: %w", e.Key, credentialsBucket, err)
		}
		if err := each(e.Key, v); err != nil {
			return fmt.Errorf("credentials %s: %w", e.Key, err)
		}
	}
	return nil
}
