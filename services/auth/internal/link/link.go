// Package link owns how a tenant comes to be linked to an org, and how a link ends. Nothing is stored before Salesforce
// has accepted the credentials and said whose they are; and from the moment that an admin ends a link nobody gets a
// token, whatever becomes of the rest.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
)

// Linker links.
type Linker struct {
	OAuth    *oauth.Client
	Policy   salesforce.HostPolicy
	Conns    *connection.Store
	Tokens   *token.Source
	Keys     *signkey.Store
	Audit    *audit.Log
	Pending  *Pending
	Unlinker *Unlinker
	// App is the installation's own app, for consents that name none; the zero value for none.
	App oauth.ClientCredentials
	Log *slog.Logger
}

// Link tries the credentials at the org, by client credentials or with a signed key, and stores the connection.
func (l *Linker) Link(ctx context.Context, r Request) (connection.Connection, error) {
	if err := r.clean(); err != nil {
		return connection.Connection{}, err
	}
	before, err := l.Conns.Check(ctx, r.Tenant, r.Purpose, r.Name, r.Terms)
	if err != nil {
		return connection.Connection{}, err
	}
	if r.Host == "" {
		r.Host = before.Host
	}
	if r.Host, err = r.origin(l.Policy, ""); err != nil {
		return connection.Connection{}, err
	}
	var tok oauth.Token
	switch r.Flow {
	case connection.JWTBearer:
		if r.SigningKey != "" {
			if r.Credentials.PrivateKey, err = l.Keys.Private(ctx, r.Tenant, r.SigningKey); err != nil {
				return connection.Connection{}, err
			}
		}
		tok, err = l.OAuth.JWT(ctx, r.Host, oauth.JWTCredentials{
			ClientID: r.Credentials.ClientID, Username: r.Credentials.Username,
			Audience: r.Credentials.Audience, PrivateKey: r.Credentials.PrivateKey,
		})
	default:
		tok, err = l.OAuth.Token(ctx, r.Host, oauth.ClientCredentials{ClientID: r.Credentials.ClientID, ClientSecret: r.Credentials.ClientSecret})
	}
	if err != nil {
		return connection.Connection{}, asError(err)
	}
	return l.accept(ctx, r, tok)
}

// accept checks what a token is good for and whose it is, and stores the connection. Every flow ends here.
func (l *Linker) accept(ctx context.Context, r Request, tok oauth.Token) (connection.Connection, error) {
	needed := []string{"api"}
	if r.Flow == connection.WebServer {
		needed = strings.Fields(oauth.Scopes)
	}
	if err := missingScopes(tok, needed); err != nil {
		return connection.Connection{}, err
	}
	if r.Flow == connection.WebServer && r.Credentials.RefreshToken.IsZero() {
		return connection.Connection{}, errs.New(errs.Precondition, "no_refresh_token",
			"Salesforce gave no refresh token, so access would end with this session: let the app's refresh token policy be \"valid until revoked\" (the app > Policies > OAuth Policies), and %s", oauth.ScopeAdvice("refresh_token"))
	}
	user, err := l.whose(ctx, tok)
	if err != nil {
		return connection.Connection{}, err
	}
	if r.Flow == connection.WebServer && user.APIOnly {
		no := &oauth.Refusal{Code: "api_only_user", Description: "user " + user.Username + " has the licence for integrations, with which nobody may use the web interface"}
		return connection.Connection{}, errs.New(errs.Precondition, "api_only_user", "%s. %s", no.Description, no.Advice())
	}
	out, err := l.Conns.Link(ctx, connection.Connection{
		Tenant: r.Tenant, Name: r.Name, Flow: r.Flow, Host: r.Host, Purpose: r.Purpose, CompanyNames: r.CompanyNames,
		OrgID: tok.OrgID, InstanceURL: tok.InstanceURL, UserID: tok.UserID, Username: user.Username, UserEmail: user.Email,
		OrgName: user.Domain, Scopes: tok.Scopes, ClientID: r.Credentials.ClientID,
	}, r.Credentials, r.Terms)
	if err != nil {
		return connection.Connection{}, err
	}
	conn := out.Connection
	l.Tokens.Adopt(conn, tok)
	if err := l.Keys.Use(ctx, conn.Tenant, r.SigningKey, conn.ID); err != nil {
		// The link stands: the key lies among its credentials.
		l.Log.WarnContext(ctx, "signing key not marked as used", slog.String(telemetry.KeyConnection, conn.ID), telemetry.Err(err))
	}
	l.Log.InfoContext(ctx, "linked", slog.String(telemetry.KeyTenant, conn.Tenant),
		slog.String(telemetry.KeyConnection, conn.ID), slog.String(telemetry.KeyOrg, conn.OrgID))
	if !out.Former.IsZero() {
		l.revokeFormer(ctx, out)
	}
	if out.Replaced != nil {
		if _, err := l.Unlinker.wind(ctx, *out.Replaced); err != nil {
			l.Log.WarnContext(ctx, "what is left of the replaced connection goes later", slog.String(telemetry.KeyConnection, out.Replaced.ID), telemetry.Err(err))
		}
	}
	return conn, nil
}

// revokeFormer ends the refresh token that a connection had before it was linked anew. The new link stands whatever becomes
// of that.
func (l *Linker) revokeFormer(ctx context.Context, out connection.Outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	conn := out.Connection
	err := l.Audit.Write(ctx, audit.Entry{Tenant: conn.Tenant, Action: "token.revoke", Subject: conn.ID, Detail: "linked anew to org " + conn.OrgID})
	if err == nil {
		err = l.OAuth.Revoke(ctx, out.FormerHost, out.Former)
	}
	if err != nil {
		l.Log.WarnContext(ctx, "the refresh token of before is not revoked; it ends by itself",
			slog.String(telemetry.KeyTenant, conn.Tenant), slog.String(telemetry.KeyConnection, conn.ID), telemetry.Err(err))
	}
}

// missingScopes names the scopes that were not granted.
func missingScopes(tok oauth.Token, needed []string) error {
	missing := tok.Missing(needed...)
	if missing == nil {
		return nil
	}
	advice := make([]string, len(missing))
	for i, scope := range missing {
		advice[i] = oauth.ScopeAdvice(scope)
	}
	return errs.New(errs.Precondition, "missing_scope", "the app grants the scopes %q, and %s is not among them: %s, and link again",
		strings.Join(tok.Scopes, " "), strings.Join(missing, " and "), strings.Join(advice, "; "))
}

// whose asks Salesforce who the token acts as.
func (l *Linker) whose(ctx context.Context, tok oauth.Token) (oauth.User, error) {
	user, err := l.OAuth.UserInfo(ctx, tok)
	if r, ok := errors.AsType[*oauth.Refusal](err); ok {
		// The token is good for the API; who it acts as is only for people to see.
		l.Log.WarnContext(ctx, "userinfo refused", slog.String(telemetry.KeyOrg, tok.OrgID), slog.String(telemetry.KeyReason, r.Words()))
		return oauth.User{}, nil
	}
	if err != nil {
		return oauth.User{}, asError(err)
	}
	if user.OrgID != tok.OrgID || user.UserID != tok.UserID {
		return oauth.User{}, asError(&oauth.Untrusted{Host: tok.InstanceURL, Problem: fmt.Sprintf(
			"userinfo names user %s of org %s, and the token response named user %s of org %s", user.UserID, user.OrgID, tok.UserID, tok.OrgID)})
	}
	return user, nil
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
	if u, ok := errors.AsType[*oauth.Untrusted](err); ok {
		return errs.New(errs.Precondition, "answer_not_trusted", "%v", u)
	}
	return err
}
