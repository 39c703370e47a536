package link

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

// loginHost is where consent is asked for when nobody names a host.
const loginHost = "https://login.salesforce.com"

// callbackPath is the path of the gateway's callback page.
const callbackPath = "/oauth/callback"

var (
	// errBadTicket and errBadState say nothing about why: whoever guesses learns nothing.
	errBadTicket = errs.New(errs.NotFound, "bad_ticket", "this address is not valid any more: it works once, for ten minutes. Begin the link again")
	errBadState  = errs.New(errs.NotFound, "bad_state", "this answer does not belong to a link that was begun in this browser, or came too late or twice. Begin the link again")
)

// Begin begins a link by consent. The ticket leads a browser to it.
func (l *Linker) Begin(ctx context.Context, r Request) (link Link, ticket config.Secret, err error) {
	r.Flow = connection.WebServer
	if err := r.clean(); err != nil {
		return Link{}, config.Secret{}, err
	}
	before, err := l.Conns.Check(ctx, r.Tenant, r.Purpose, r.Name, r.Terms)
	if err != nil {
		return Link{}, config.Secret{}, err
	}
	if err := l.app(ctx, &r, before); err != nil {
		return Link{}, config.Secret{}, err
	}
	otherwise := loginHost
	if before.ID != "" {
		otherwise = before.Host
	}
	if r.Host, err = r.origin(l.Policy, otherwise); err != nil {
		return Link{}, config.Secret{}, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	caller, _ := rpc.CallerFrom(ctx)
	link = Link{
		ID: newID(), Tenant: r.Tenant, Author: caller.Subject, Role: caller.Role, State: Waiting, Host: r.Host,
		ClientID: r.Credentials.ClientID, Name: r.Name, Purpose: r.Purpose, CompanyNames: r.CompanyNames,
		Reconnect: r.Terms.Reconnect, ReplaceOrg: r.Terms.ReplaceOrg, BegunAt: now, ExpiresAt: now.Add(pendingLife),
	}
	ticket, link.TicketHash = newToken(link.ID)
	err = l.Pending.seal(&link, hidden{ClientSecret: r.Credentials.ClientSecret.Expose(), Verifier: oauth.NewVerifier().Secret().Expose()})
	if err != nil {
		return Link{}, config.Secret{}, err
	}
	if err := l.Pending.add(ctx, link); err != nil {
		return Link{}, config.Secret{}, err
	}
	return link, ticket, nil
}

// app finds the app where the request names none: that of the connection that is linked anew, or the installation's.
func (l *Linker) app(ctx context.Context, r *Request, before connection.Connection) error {
	switch {
	case r.Credentials.ClientID != "":
		return nil
	case before.Flow == connection.WebServer && before.ClientID != "":
		creds, err := l.Conns.Credentials(ctx, before)
		if err != nil {
			return err
		}
		r.Credentials.ClientID, r.Credentials.ClientSecret = creds.ClientID, creds.ClientSecret
		return nil
	case l.App.ClientID != "":
		r.Credentials.ClientID, r.Credentials.ClientSecret = l.App.ClientID, l.App.ClientSecret
		return nil
	}
	return errs.New(errs.Invalid, "missing_client_id", "client_id is missing, and this installation has no app of its own: copy the app's consumer key from its OAuth settings")
}

// Show returns the link that a ticket leads to, as long as nobody has used it.
func (l *Linker) Show(ctx context.Context, ticket string) (Link, error) {
	id := idOf(ticket)
	if id == "" {
		return Link{}, errBadTicket
	}
	link, _, err := l.Pending.links.Get(ctx, store.Key(id))
	switch {
	case errors.Is(err, store.ErrNotFound) || errs.ReasonOf(err) == "bad_key":
		return Link{}, errBadTicket
	case err != nil:
		return Link{}, fmt.Errorf("read a pending link: %w", err)
	case link.Current(time.Now()) != Waiting || !fits(ticket, link.TicketHash):
		return Link{}, errBadTicket
	}
	return link, nil
}

// Open uses up the ticket and binds the link to the browser session. It returns where the browser goes.
func (l *Linker) Open(ctx context.Context, ticket string, session []byte, redirectURI string) (string, error) {
	if len(session) != sha256.Size {
		return "", errs.New(errs.Invalid, "bad_session", "session_hash must be the SHA-256 of the browser session's cookie")
	}
	if err := checkRedirect(redirectURI); err != nil {
		return "", err
	}
	var state config.Secret
	link, err := l.Pending.step(ctx, ticket, errBadTicket, func(link *Link) bool {
		now := time.Now().UTC()
		if link.Current(now) != Waiting || !fits(ticket, link.TicketHash) {
			return false
		}
		state, link.StateHash = newToken(link.ID)
		link.State, link.SessionHash, link.RedirectURI, link.ExpiresAt = Opened, session, redirectURI, now.Add(pendingLife)
		return true
	})
	if err != nil {
		return "", err
	}
	consent, err := l.consent(link)
	if err != nil {
		return "", err
	}
	return consent.AuthorizeURL(state)
}

// checkRedirect admits our callback only: by https, or on loopback.
func checkRedirect(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Path != callbackPath || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Hostname() == "" || u.Opaque != "" {
		return errs.New(errs.Invalid, "bad_redirect_uri", "redirect_uri must be the gateway's %s", callbackPath)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return errs.New(errs.Invalid, "bad_redirect_uri", "redirect_uri must begin with https://, or lead to this machine itself")
	}
	return nil
}

func (l *Linker) consent(link Link) (oauth.Consent, error) {
	h, err := l.Pending.open(link)
	if err != nil {
		return oauth.Consent{}, err
	}
	verifier, err := oauth.RestoreVerifier(config.NewSecret(h.Verifier))
	if err != nil {
		return oauth.Consent{}, err
	}
	return oauth.Consent{
		Host: link.Host, ClientID: link.ClientID, ClientSecret: config.NewSecret(h.ClientSecret),
		RedirectURI: link.RedirectURI, Verifier: verifier,
	}, nil
}

// Return is what a redirect from Salesforce brought.
type Return struct {
	State string
	// Session is the SHA-256 of the browser session's cookie.
	Session []byte
	// Code, or Error and ErrorDescription.
	Code                    config.Secret
	Error, ErrorDescription string
}

// Finish uses up the state and links. That Salesforce or we refuse is in the link that it returns; its error says that
// the state is not one that works, or that nothing could be done.
func (l *Linker) Finish(ctx context.Context, r Return) (Link, connection.Connection, error) {
	var before Link
	_, err := l.Pending.step(ctx, r.State, errBadState, func(link *Link) bool {
		if link.Current(time.Now()) != Opened || !fits(r.State, link.StateHash) {
			return false
		}
		if len(r.Session) != sha256.Size || subtle.ConstantTimeCompare(r.Session, link.SessionHash) != 1 {
			return false // it stays open for the browser that began
		}
		before = *link
		link.State, link.StateHash, link.TicketHash, link.Sealed = Finishing, nil, nil, nil
		return true
	})
	if err != nil {
		if errors.Is(err, errBadState) {
			l.Log.WarnContext(ctx, "an answer with a state that does not work was refused")
		}
		return Link{}, connection.Connection{}, err
	}
	// What is done now is done in the name of whoever began, and to the end, even if the browser goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*oauth.Timeout)
	defer cancel()
	ctx = rpc.WithCaller(ctx, rpc.Caller{Tenant: before.Tenant, Subject: before.Author, Role: before.Role})
	conn, problem := l.finish(ctx, before, r)
	if problem != nil {
		l.Log.WarnContext(ctx, "link failed", slog.String(telemetry.KeyTenant, before.Tenant), slog.String(telemetry.KeyReason, problem.Code))
	}
	link, err := l.Pending.end(ctx, before.ID, func(link *Link) {
		link.State, link.Connection, link.Problem = Done, conn.ID, problem
		if problem != nil {
			link.State = Failed
		}
	})
	if err != nil && problem == nil {
		l.Log.WarnContext(ctx, "the end of a link is not noted", telemetry.Err(err))
		link, err = before, nil
		link.State, link.Connection = Done, conn.ID
	}
	return link, conn, err
}

// finish redeems the code and links. The link is as it was before the state was used up.
func (l *Linker) finish(ctx context.Context, link Link, r Return) (connection.Connection, *Problem) {
	if r.Error != "" {
		return connection.Connection{}, refused(oauth.Scrubbed(r.Error, r.ErrorDescription))
	}
	if r.Code.IsZero() || len(r.Code.Expose()) > maxCredential {
		return connection.Connection{}, &Problem{Code: "no_code", Description: "Salesforce sent the browser back without a code.", Advice: "Begin the link again."}
	}
	consent, err := l.consent(link)
	if err != nil {
		return connection.Connection{}, problemOf(err)
	}
	// Nothing is asked of Salesforce that cannot be written down.
	err = l.Audit.Write(ctx, audit.Entry{Tenant: link.Tenant, Action: "link.finish", Subject: link.ID, Detail: "consent at " + link.Host})
	if err != nil {
		return connection.Connection{}, problemOf(err)
	}
	tok, err := l.OAuth.Redeem(ctx, consent, r.Code)
	if err != nil {
		return connection.Connection{}, problemOf(err)
	}
	conn, err := l.accept(ctx, Request{
		Tenant: link.Tenant, Name: link.Name, Host: link.Host, Flow: connection.WebServer, Purpose: link.Purpose, CompanyNames: link.CompanyNames,
		Credentials: connection.Credentials{ClientID: link.ClientID, ClientSecret: consent.ClientSecret, RefreshToken: tok.RefreshToken},
		Terms:       connection.Terms{Reconnect: link.Reconnect, ReplaceOrg: link.ReplaceOrg},
	}, tok)
	if err != nil {
		l.giveBack(ctx, link, tok)
		return connection.Connection{}, problemOf(err)
	}
	return conn, nil
}

// giveBack revokes tokens that nothing will keep.
func (l *Linker) giveBack(ctx context.Context, link Link, tok oauth.Token) {
	t := tok.RefreshToken
	if t.IsZero() {
		t = tok.AccessToken
	}
	err := l.Audit.Write(ctx, audit.Entry{Tenant: link.Tenant, Action: "token.revoke", Subject: link.ID, Detail: "the link failed"})
	if err == nil {
		err = l.OAuth.Revoke(ctx, link.Host, t)
	}
	if err != nil {
		l.Log.WarnContext(ctx, "the token of a failed link is not revoked", slog.String(telemetry.KeyTenant, link.Tenant), telemetry.Err(err))
	}
}

func refused(r *oauth.Refusal) *Problem {
	return &Problem{Code: r.Code, Description: r.Description, Advice: r.Advice()}
}

// problemOf says what went wrong to the person at the browser.
func problemOf(err error) *Problem {
	if r, ok := errors.AsType[*oauth.Refusal](err); ok {
		return refused(r)
	}
	err = asError(err)
	reason := errs.ReasonOf(err)
	if reason == "" || errs.KindOf(err) == errs.Internal {
		return &Problem{Code: "internal", Description: "Something went wrong here.", Advice: "Begin the link again; the log of the services says more."}
	}
	what, advice, ok := strings.Cut(errs.Message(err), ": ")
	if !ok {
		what, advice = errs.Message(err), "Begin the link again."
	}
	return &Problem{Code: reason, Description: what, Advice: advice}
}
