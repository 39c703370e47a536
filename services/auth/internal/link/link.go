// Package link owns how a tenant comes to be linked to an org: nothing is stored before Salesforce has accepted the
// credentials and said whose they are.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
)

// Limits of what a person types.
const (
	maxName       = 80
	maxCredential = 4096
)

// Linker links.
type Linker struct {
	OAuth  *oauth.Client
	Policy salesforce.HostPolicy
	Conns  *connection.Store
	Tokens *token.Source
	Log    *slog.Logger
}

// Request names the org and how to sign in to it.
type Request struct {
	Tenant      string
	Name        string // for people; "Salesforce" where empty
	Host        string // a bare host or an https origin
	Credentials connection.Credentials
}

// ClientCredentials links by client credentials.
func (l *Linker) ClientCredentials(ctx context.Context, r Request) (connection.Connection, error) {
	if err := r.clean(); err != nil {
		return connection.Connection{}, err
	}
	host, err := l.origin(r.Host)
	if err != nil {
		return connection.Connection{}, err
	}
	tok, user, err := l.try(ctx, host, r.Credentials)
	if err != nil {
		return connection.Connection{}, err
	}
	out, err := l.Conns.Link(ctx, connection.Connection{
		Tenant: r.Tenant, Name: r.Name, Flow: connection.ClientCredentials, Host: host,
		OrgID: tok.OrgID, InstanceURL: tok.InstanceURL, UserID: tok.UserID, Username: user.Username,
	}, r.Credentials, connection.Terms{})
	if err != nil {
		return connection.Connection{}, err
	}
	conn := out.Connection
	l.Tokens.Adopt(conn, tok)
	l.Log.InfoContext(ctx, "linked", slog.String(telemetry.KeyTenant, conn.Tenant),
		slog.String(telemetry.KeyConnection, conn.ID), slog.String(telemetry.KeyOrg, conn.OrgID))
	return conn, nil
}

// clean trims what was pasted and reports everything that is wrong with it.
func (r *Request) clean() error {
	r.Name = strings.TrimSpace(r.Name)
	if r.Name == "" {
		r.Name = "Salesforce"
	}
	r.Credentials.ClientID = strings.TrimSpace(r.Credentials.ClientID)
	secret := strings.TrimSpace(r.Credentials.ClientSecret.Expose())
	r.Credentials.ClientSecret = config.NewSecret(secret)
	var problems []string
	if n := utf8.RuneCountInString(r.Name); n > maxName {
		problems = append(problems, fmt.Sprintf("name has %d characters: at most %d", n, maxName))
	}
	if strings.TrimSpace(r.Host) == "" {
		problems = append(problems, "host is missing: give the org's My Domain, such as acme.my.salesforce.com (Setup > My Domain)")
	}
	for _, f := range []struct{ name, label, value string }{
		{"client_id", "consumer key", r.Credentials.ClientID},
		{"client_secret", "consumer secret", secret},
	} {
		switch {
		case f.value == "":
			problems = append(problems, f.name+" is missing: copy the app's "+f.label+" from its OAuth settings")
		case len(f.value) > maxCredential:
			problems = append(problems, fmt.Sprintf("%s has %d bytes: at most %d", f.name, len(f.value), maxCredential))
		}
	}
	if problems != nil {
		return errs.New(errs.Invalid, "invalid_link_request", "%s", strings.Join(problems, "; "))
	}
	return nil
}

// origin makes the origin of what a person gives as the org's host: a bare host, an origin, or the address of a page of
// the org's user interface.
func (l *Linker) origin(raw string) (string, error) {
	s := strings.TrimSpace(raw)
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	scheme, rest, _ := strings.Cut(s, "://")
	page, _, _ := strings.Cut(rest, "/")
	if domain, ok := strings.CutSuffix(strings.ToLower(page), ".lightning.force.com"); ok {
		s = scheme + "://" + domain + ".my.salesforce.com"
	}
	u, err := l.Policy.Check(s)
	if err != nil {
		rule := err
		if inner := errors.Unwrap(err); inner != nil {
			rule = inner
		}
		// What was given is not repeated: it may hold a password.
		return "", errs.New(errs.Invalid, "host_refused", "host is refused: %v. Give the org's My Domain, such as acme.my.salesforce.com (Setup > My Domain)", rule)
	}
	return u.String(), nil
}

// try asks Salesforce for a token and whose it is.
func (l *Linker) try(ctx context.Context, host string, c connection.Credentials) (oauth.Token, oauth.User, error) {
	tok, err := l.OAuth.Token(ctx, host, oauth.ClientCredentials{ClientID: c.ClientID, ClientSecret: c.ClientSecret})
	if err != nil {
		return oauth.Token{}, oauth.User{}, asError(err)
	}
	if tok.Missing("api") != nil {
		return oauth.Token{}, oauth.User{}, errs.New(errs.Precondition, "missing_scope",
			"the app grants the scopes %q, and api is not among them: add \"Manage user data via APIs (api)\" in the app's OAuth settings and link again", strings.Join(tok.Scopes, " "))
	}
	user, err := l.OAuth.UserInfo(ctx, tok)
	if r, ok := errors.AsType[*oauth.Refusal](err); ok {
		// The token is good for the API; who it acts as is only for people to see.
		l.Log.WarnContext(ctx, "userinfo refused", slog.String(telemetry.KeyOrg, tok.OrgID), slog.String(telemetry.KeyReason, r.Words()))
		return tok, oauth.User{}, nil
	}
	if err != nil {
		return oauth.Token{}, oauth.User{}, asError(err)
	}
	if user.OrgID != tok.OrgID || user.UserID != tok.UserID {
		return oauth.Token{}, oauth.User{}, asError(&oauth.Untrusted{Host: tok.InstanceURL, Problem: fmt.Sprintf(
			"userinfo names user %s of org %s, and the token response named user %s of org %s", user.UserID, user.OrgID, tok.UserID, tok.OrgID)})
	}
	return tok, user, nil
}

// asError says to the person who links what Salesforce said.
func asError(err error) error {
	if r, ok := errors.AsType[*oauth.Refusal](err); ok {
		kind, reason := errs.Precondition, "salesforce_refused"
		if !r.Definite() {
			kind, reason = errs.Unavailable, "salesforce_busy"
		}
		return errs.New(kind, reason, "%s. %s", r.Error(), r.Advice())
	}
	if n, ok := errors.AsType[*oauth.NoAnswer](err); ok {
		return errs.Wrap(n.Err, errs.Unavailable, "salesforce_unreachable", "%s", n.Error())
	}
	return errs.New(errs.Precondition, "answer_not_trusted", "%v", err)
}
