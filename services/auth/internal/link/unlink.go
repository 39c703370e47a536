package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
)

const (
	// revokeTimeout bounds how long credentials wait for Salesforce before they are erased all the same.
	revokeTimeout = 10 * time.Second
	// DefaultGrace is when an unlinked connection is looked at once more: later than any token request that was under way when it
	// was unlinked, which may have left a refresh token behind: its answer may take a minute to be stored.
	DefaultGrace = oauth.RefreshTimeout + time.Minute
)

// Unlinker ends connections: it revokes their tokens, erases their credentials, and tells everybody. What it could not
// do, because the process died or the store did not answer, it does later.
type Unlinker struct {
	OAuth *oauth.Client
	Conns *connection.Store
	Keys  *signkey.Store
	// Pending holds the links that end with a connection.
	Pending *Pending
	Audit   *audit.Log
	Bus     *bus.Bus
	// AccessToken returns the access token that is known of a connection, if one is, and forgets it.
	AccessToken func(connection.Connection) config.Secret
	// DestroyDataKey destroys the tenant's data key once its last connection is gone, and reports whether it is destroyed.
	DestroyDataKey func(ctx context.Context, tenant string) (bool, error)
	// Grace is when an unlinked connection is looked at once more; see [DefaultGrace].
	Grace time.Duration
	Log   *slog.Logger
}

// Unlinked is what became of a connection.
type Unlinked struct {
	Connection connection.Connection
	// Revoked says that Salesforce confirmed, or that there was nothing to revoke; Problem why not.
	Revoked bool
	Problem string
	// DataKeyDestroyed says that the tenant's data key went with its last connection.
	DataKeyDestroyed bool
}

// Unlink ends the tenant's connection, the write target where id is empty. That Salesforce does not answer does not keep
// the credentials.
func (u *Unlinker) Unlink(ctx context.Context, tenant, id string) (Unlinked, error) {
	conn, err := u.Conns.Find(ctx, tenant, id)
	if err != nil {
		return Unlinked{}, err
	}
	if err := u.audit(ctx, conn); err != nil {
		return Unlinked{}, err
	}
	if conn, err = u.Conns.Unlink(ctx, tenant, conn.ID); err != nil {
		return Unlinked{}, err
	}
	// From here on nobody gets a token, and the rest is done even if the caller goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*oauth.Timeout)
	defer cancel()
	return u.wind(ctx, conn)
}

// audit writes down that tokens are revoked, once.
func (u *Unlinker) audit(ctx context.Context, c connection.Connection) error {
	return u.Audit.WriteOnce(ctx, "token.revoke "+c.ID, audit.Entry{
		Tenant: c.Tenant, Action: "token.revoke", Subject: c.ID, Detail: "unlinked from org " + c.OrgID,
	})
}

// wind does what follows from a connection's being unlinked. Doing it again does no harm.
func (u *Unlinker) wind(ctx context.Context, c connection.Connection) (Unlinked, error) {
	done := Unlinked{Connection: c}
	if err := u.audit(ctx, c); err != nil {
		return done, err
	}
	// A later pass ends what a refresh under way left behind; what is told is what the first one found.
	revoked, problem := u.revoke(ctx, c)
	found, first, noted := u.Conns.NoteRevocation(ctx, c, connection.Revocation{Revoked: revoked, Problem: problem})
	done.Revoked, done.Problem = found.Revoked, found.Problem
	if first {
		u.Log.InfoContext(ctx, "unlinked", slog.String(telemetry.KeyTenant, c.Tenant), slog.String(telemetry.KeyConnection, c.ID),
			slog.String(telemetry.KeyOrg, c.OrgID), slog.Bool("revoked", done.Revoked))
	}
	if err := errors.Join(noted, u.Conns.Erase(ctx, c), u.Keys.Erase(ctx, c.Tenant, c.ID)); err != nil {
		return done, fmt.Errorf("connection %s is unlinked and gives no tokens; its credentials are erased as soon as the store answers: %w", c.ID, err)
	}
	last, err := u.Conns.IsLast(ctx, c.Tenant)
	if err == nil {
		err = u.Pending.drop(ctx, c, last)
	}
	if err == nil && last && u.DestroyDataKey != nil {
		err = u.Audit.WriteOnce(ctx, "key.destroy "+c.ID, audit.Entry{
			Tenant: c.Tenant, Action: "key.destroy", Subject: c.Tenant, Detail: "its last connection, " + c.ID + ", was unlinked",
		})
		if err == nil {
			done.DataKeyDestroyed, err = u.DestroyDataKey(ctx, c.Tenant)
		}
	}
	if err != nil {
		return done, fmt.Errorf("connection %s is unlinked and its credentials are erased; what else follows is done later: %w", c.ID, err)
	}
	e := &eventv1.ConnectionUnlinked{
		Tenant: c.Tenant, ConnectionId: c.ID, Replaced: c.Ending != nil && c.Ending.Replaced, DataKeyDestroyed: done.DataKeyDestroyed,
	}
	if err := u.Bus.PublishProto(ctx, event.ConnectionUnlinked(c.Tenant, c.ID), e, bus.ExpectNew()); err != nil {
		return done, fmt.Errorf("connection %s is unlinked and its credentials are erased; runs and schedules learn of it later: %w", c.ID, err)
	}
	return done, nil
}

// revoke ends the connection's tokens at Salesforce, as far as they are known here.
func (u *Unlinker) revoke(ctx context.Context, c connection.Connection) (revoked bool, problem string) {
	const byHand = "Revoke the app's access in the org: Setup > Connected Apps OAuth Usage > the app > Revoke"
	access := config.Secret{}
	if u.AccessToken != nil {
		access = u.AccessToken(c)
	}
	creds, err := u.Conns.Credentials(ctx, c)
	if err != nil && c.Flow == connection.WebServer {
		return false, "the refresh token is no longer known here. " + byHand
	}
	tok, host := creds.RefreshToken, c.Host
	if tok.IsZero() {
		tok, host = access, c.InstanceURL // the other flows have access tokens only
	}
	if tok.IsZero() {
		return true, ""
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := u.OAuth.Revoke(ctx, host, tok); err != nil {
		return false, fmt.Sprintf("%v. %s", err, byHand)
	}
	return true, ""
}

// Run goes on with what was cut off, until ctx ends.
func (u *Unlinker) Run(ctx context.Context) error {
	found := make(chan connection.Connection)
	go func() {
		defer close(found)
		for c, err := range u.Conns.Watch(ctx) {
			if err != nil || c.Ending == nil {
				continue // what cannot be read is logged by whoever keeps tokens
			}
			select {
			case found <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	open := map[string]connection.Connection{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	sweep := time.NewTicker(time.Hour)
	defer sweep.Stop()
	for {
		select {
		case c, ok := <-found:
			if !ok {
				return nil
			}
			open[c.ID] = c
		case <-tick.C:
			u.resume(ctx, open)
		case <-sweep.C:
			if err := u.Keys.Sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
				u.Log.WarnContext(ctx, "signing keys that nobody uses are not deleted", telemetry.Err(err))
			}
		}
	}
}

// resume ends those whose time has come.
func (u *Unlinker) resume(ctx context.Context, open map[string]connection.Connection) {
	for id, c := range open {
		if time.Since(c.UnlinkedAt) < u.Grace {
			continue
		}
		_, err := u.wind(ctx, c)
		if err == nil {
			err = u.Conns.Ended(ctx, c)
		}
		if err != nil {
			if ctx.Err() == nil {
				u.Log.WarnContext(ctx, "an unlinked connection is not wound up yet", slog.String(telemetry.KeyConnection, id), telemetry.Err(err))
			}
			continue
		}
		delete(open, id)
	}
}
