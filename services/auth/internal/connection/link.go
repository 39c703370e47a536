package connection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// attempts bounds how often Link starts over because somebody else changed the tenant's connections.
const attempts = 10

// discardTimeout bounds how long a link that failed is cleared away.
const discardTimeout = 5 * time.Second

// Terms are what an admin says of a link beside the credentials.
type Terms struct {
	// Reconnect is the connection that gets the new credentials; empty for a link that may be a new one.
	Reconnect string
	// ReplaceOrg is the org of the write target that another org shall take the place of; empty to refuse that.
	ReplaceOrg string
}

// Outcome is what came of a link.
type Outcome struct {
	// Connection is the one that was linked.
	Connection Connection
	// Replaced is the one whose place it took, unlinked by that; nil for none.
	Replaced *Connection
	// Former is the refresh token that the connection had before, which nothing keeps any more, and FormerHost the origin
	// that gave it; empty where it had none, or has the same now.
	Former     config.Secret
	FormerHost string
}

// Link stores a connection that has been tried, with its credentials. ID, State, LinkedAt and CredentialVersion of c are
// decided here; empty names are taken from the connection that is there. A live connection to the same org for the same
// purpose keeps its id and gets the new credentials. A tenant that writes to another org is refused, unless the terms
// name that org: its connection is then unlinked in the same step.
func (s *Store) Link(ctx context.Context, c Connection, creds Credentials, terms Terms) (linked Outcome, err error) {
	c.ID = newID() // should it be a new one: the same each time, so that what an attempt leaves behind is found again
	defer func() {
		if linked.Connection.ID != c.ID {
			s.discard(ctx, c)
		}
	}()
	for range attempts {
		linked, err = s.link(ctx, c, creds, terms)
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return Outcome{}, err
		}
		s.forget(ctx, linked.Connection)
		return linked, nil
	}
	return Outcome{}, errs.New(errs.Conflict, "linking_at_once", "tenant %s is being linked by several callers at once: try again", c.Tenant)
}

// discard deletes the credentials of a connection that did not come to be: nobody would find them when the org is
// unlinked.
func (s *Store) discard(ctx context.Context, c Connection) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	_, err := s.Find(ctx, c.Tenant, c.ID)
	if errs.KindOf(err) == errs.NotFound {
		err = s.Erase(ctx, c)
	}
	if err != nil {
		s.log.WarnContext(ctx, "credentials of a link that failed not deleted", slog.String(telemetry.KeyConnection, c.ID), telemetry.Err(err))
	}
}

// Check says what Link would say of the terms, as far as it can be known before the org has answered.
func (s *Store) Check(ctx context.Context, tenant string, purpose Purpose, name string, terms Terms) (Connection, error) {
	rec, _, err := s.tenants.Get(ctx, store.Key(tenant))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Connection{}, fmt.Errorf("read the connections of tenant %s: %w", tenant, err)
	}
	if terms.Reconnect == "" {
		if purpose == Source && name == "" {
			return Connection{}, errs.New(errs.Invalid, "missing_name", "a source needs a name by which it is told from others: set name")
		}
		return Connection{}, nil
	}
	i, err := rec.reconnect(tenant, terms.Reconnect)
	if err != nil {
		return Connection{}, err
	}
	return rec.Connections[i], nil
}

func (s *Store) link(ctx context.Context, c Connection, creds Credentials, terms Terms) (Outcome, error) {
	key := store.Key(c.Tenant)
	rec, rev, err := s.tenants.Get(ctx, key)
	fresh := errors.Is(err, store.ErrNotFound)
	if err != nil && !fresh {
		return Outcome{}, fmt.Errorf("read the connections of tenant %s: %w", c.Tenant, err)
	}
	place, old, err := rec.place(c, terms)
	if err != nil {
		return Outcome{}, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	var linked Outcome
	if old >= 0 {
		gone := rec.Connections[old]
		gone.end(now, true)
		rec = rec.with(old, gone)
		linked.Replaced = &gone
	}
	before := Connection{ID: c.ID}
	if place >= 0 {
		before = rec.Connections[place]
		c.ID, c.Purpose = before.ID, before.Purpose
		if c.Name == "" {
			c.Name = before.Name
		}
		if len(c.CompanyNames) == 0 {
			c.CompanyNames = before.CompanyNames
		}
	}
	if place >= 0 && before.Flow == WebServer {
		// A rotation in between changes the record, so that this attempt starts over.
		switch had, err := s.Credentials(ctx, before); {
		case err != nil:
			s.log.WarnContext(ctx, "old credentials not read; their refresh token ends by itself", slog.String(telemetry.KeyConnection, c.ID), telemetry.Err(err))
		case !had.RefreshToken.Equal(creds.RefreshToken):
			linked.Former, linked.FormerHost = had.RefreshToken, before.Host
		}
	}
	if c.CredentialVersion, err = s.nextVersion(ctx, before); err != nil {
		return Outcome{}, err
	}
	if c.Name == "" {
		c.Name = "Salesforce"
	}
	if err := rec.nameIsFree(c.Name, c.ID); err != nil {
		return Outcome{}, err
	}
	c.State, c.Reason, c.ReasonCode, c.LinkedAt, c.TokenAt = Linked, "", "", now, now
	if err := s.seal(ctx, c, creds); err != nil {
		return Outcome{}, err
	}
	if fresh {
		_, err = s.tenants.Create(ctx, key, rec.with(place, c))
	} else {
		_, err = s.tenants.Replace(ctx, key, rec.with(place, c), rev)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("store connection %s: %w", c.ID, err)
	}
	linked.Connection = c
	return linked, nil
}

// place finds the connection whose credentials c replaces, and the one whose place it takes; -1 for none.
func (r record) place(c Connection, terms Terms) (same, replaced int, err error) {
	if terms.Reconnect != "" {
		i, err := r.reconnect(c.Tenant, terms.Reconnect)
		if err != nil {
			return -1, -1, err
		}
		if old := r.Connections[i]; old.OrgID != c.OrgID {
			return -1, -1, errs.New(errs.Precondition, "other_org",
				"connection %q is linked to org %s, and these credentials belong to org %s: give credentials of %s, or link the other org by itself",
				old.Name, old.Org(), c.Org(), old.Org())
		}
		return i, -1, nil
	}
	if c.IsSource() {
		return slices.IndexFunc(r.Connections, func(o Connection) bool {
			return o.IsSource() && o.State != Unlinked && o.OrgID == c.OrgID
		}), -1, nil
	}
	i := r.find("")
	if i < 0 || r.Connections[i].OrgID == c.OrgID {
		return i, -1, nil
	}
	old := r.Connections[i]
	switch {
	case terms.ReplaceOrg == "":
		return -1, -1, errs.New(errs.Precondition, "other_org_linked",
			"tenant %s is linked to org %s, and these credentials belong to org %s: a tenant writes to one org. Give credentials of %s, link %s to another tenant, "+
				"or replace the org by naming %s in replace_org: field maps and the records of runs of the org before go then for good",
			c.Tenant, old.Org(), c.Org(), old.Org(), c.Org(), old.OrgID)
	case !sameID(terms.ReplaceOrg, old.OrgID):
		return -1, -1, errs.New(errs.Precondition, "replace_org_differs",
			"replace_org names org %s, and the tenant is linked to org %s: name the org that is linked now, so that no other is replaced", terms.ReplaceOrg, old.Org())
	}
	return -1, i, nil
}

// reconnect finds a live connection.
func (r record) reconnect(tenant, id string) (int, error) {
	i := r.find(id)
	switch {
	case i < 0:
		return -1, notFound(tenant, id)
	case r.Connections[i].State == Unlinked:
		return -1, r.Connections[i].UnlinkedError()
	}
	return i, nil
}

// nameIsFree reports an error when another live connection has the name.
func (r record) nameIsFree(name, id string) error {
	for _, c := range r.Connections {
		if c.ID != id && c.State != Unlinked && strings.EqualFold(c.Name, name) {
			return errs.New(errs.Conflict, "name_taken", "connection %s has the name %q already: give another name", c.ID, c.Name)
		}
	}
	return nil
}

// sameID compares ids of 15 or 18 characters.
func sameID(a, b string) bool {
	return len(a) >= 15 && len(b) >= 15 && a[:15] == b[:15]
}
