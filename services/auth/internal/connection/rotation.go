package connection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// Renewal is what Salesforce said when it gave an access token.
type Renewal struct {
	// RefreshToken takes the place of the one in force; empty where that stays.
	RefreshToken config.Secret
	// InstanceURL is the origin of the org's API from now on.
	InstanceURL string
	// Scopes are the granted scopes; nil when it did not say.
	Scopes []string
	// At is when it came.
	At time.Time
}

// Renew records that Salesforce gave an access token for the credentials creds of c. A new refresh token is sealed as the
// next version of the credentials and named by the connection before Renew returns: only then may anybody see the access
// token. It may be called again after an error, as long as nobody knows what became of the first call.
//
// Unavailable, reason "credentials_replaced", when the connection was given other credentials meanwhile, was unlinked, or
// was found to need a reconnect: the token then belongs to nobody.
func (s *Store) Renew(ctx context.Context, c Connection, creds Credentials, r Renewal) (Connection, error) {
	next := c
	if !r.RefreshToken.IsZero() && !r.RefreshToken.Equal(creds.RefreshToken) {
		creds.RefreshToken, creds.renewed = r.RefreshToken, true
		var err error
		if next, err = s.sealNext(ctx, c, creds); err != nil {
			return Connection{}, err
		}
	}
	return s.name(ctx, c, next.CredentialVersion, func(now *Connection) {
		now.InstanceURL, now.TokenAt = r.InstanceURL, r.At.UTC().Truncate(time.Millisecond)
		if r.Scopes != nil {
			now.Scopes = r.Scopes
		}
	})
}

// Recover names credentials that a refresh stored and did not come to name, because its process ended in between. found
// is false when there are none.
func (s *Store) Recover(ctx context.Context, c Connection) (now Connection, found bool, err error) {
	next := c
	next.CredentialVersion++
	creds, err := s.Credentials(ctx, next)
	switch {
	case errs.ReasonOf(err) == "credentials_replaced" || errs.ReasonOf(err) == "credentials_unreadable":
		return c, false, nil // none, or a link's in another flow
	case err != nil:
		return c, false, err
	case !creds.renewed:
		return c, false, nil // a link's, which was not finished
	}
	now, err = s.name(ctx, c, next.CredentialVersion, func(*Connection) {})
	return now, err == nil, err
}

// MustReconnect records that the credentials of c are of no use any more. code is the stable form of reason. It returns
// the connection as it now stands, which is another when it was linked again or unlinked meanwhile.
func (s *Store) MustReconnect(ctx context.Context, c Connection, code, reason string) (Connection, error) {
	return s.change(ctx, c, func(c Connection) Connection {
		c.State, c.Reason, c.ReasonCode = NeedsReconnect, reason, code
		return c
	})
}

// sealNext stores creds as the next free version and returns c with that version.
func (s *Store) sealNext(ctx context.Context, c Connection, creds Credentials) (Connection, error) {
	next := c
	for range attempts {
		next.CredentialVersion++
		err := s.seal(ctx, next, creds)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return Connection{}, err
		}
		// An earlier call's, whose answer was lost on the bus, or that of somebody who is linking.
		if have, err := s.Credentials(ctx, next); err == nil && have.RefreshToken.Equal(creds.RefreshToken) {
			return next, nil
		}
	}
	return Connection{}, errs.New(errs.Conflict, "linking_at_once", "the credentials of connection %q are being changed by several callers at once: try again", c.Name)
}

// name makes c linked with credentials of the version, and deletes those that it had.
func (s *Store) name(ctx context.Context, c Connection, version int64, fn func(*Connection)) (now Connection, err error) {
	replaced := false
	_, err = s.tenants.Update(ctx, store.Key(c.Tenant), func(rec record) (record, error) {
		i := rec.find(c.ID)
		if i < 0 {
			return record{}, notFound(c.Tenant, c.ID)
		}
		now = rec.Connections[i]
		ours := now.CredentialVersion == version // named already, by a call whose answer was lost
		replaced = now.CredentialVersion != c.CredentialVersion && !ours || now.State != Linked && now.State != c.State
		if replaced || now.State == Unlinked {
			replaced = true
			return record{}, store.NoChange
		}
		now.CredentialVersion = version
		now.State, now.Reason, now.ReasonCode = Linked, "", ""
		fn(&now)
		return rec.with(i, now), nil
	})
	switch {
	case err != nil:
		return Connection{}, fmt.Errorf("store connection %s: %w", c.ID, err)
	case replaced:
		return now, errs.New(errs.Unavailable, "credentials_replaced", "the credentials of connection %q were replaced just now: try again", c.Name)
	}
	if version != c.CredentialVersion {
		if err := s.credentials.Delete(ctx, credentialsKey(c.ID, c.CredentialVersion), 0); err != nil {
			s.log.WarnContext(ctx, "old credentials not deleted", slog.String(telemetry.KeyConnection, c.ID), telemetry.Err(err))
		}
	}
	return now, nil
}
