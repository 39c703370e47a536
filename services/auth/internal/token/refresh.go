package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

// refresh uses this process's turn: it asks Salesforce for a token, once, and gives the turn back. again says that the
// connection has changed meanwhile and that the flight begins anew.
func (s *Source) refresh(ctx context.Context, e *entry, f *flight, h *held) (again bool) {
	note := func(*turn) {} // what the record says afterwards
	defer func() {
		ectx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
		defer cancel()
		if err := h.end(ectx, note); err != nil {
			s.log.WarnContext(ectx, "turn to refresh a token not given back; it runs out", append(s.attrs(f.conn), telemetry.Err(err))...)
		}
	}()
	if h.lost(f.conn) > 0 {
		if f.conn, _, f.err = s.conns.Recover(ctx, f.conn); f.err != nil {
			return errs.ReasonOf(f.err) == "credentials_replaced"
		}
	}
	// Who acts without a record does not act.
	f.err = s.audit.Write(ctx, audit.Entry{Tenant: f.conn.Tenant, Action: "token.refresh", Subject: f.conn.ID, Detail: string(f.conn.Flow)})
	if f.err != nil {
		return false
	}
	creds, err := s.conns.Credentials(ctx, f.conn)
	if err != nil {
		f.err = err
		return errs.ReasonOf(err) == "credentials_replaced"
	}
	rotates := f.conn.Flow == connection.WebServer
	if rotates {
		if f.err = h.intend(ctx, f.conn); f.err != nil {
			return false
		}
	}
	tok, sent, err := s.call(ctx, f.conn, creds)
	if err == nil {
		if err = misplaced(f.conn, tok); err == nil {
			note, again = s.granted(ctx, e, f, h, creds, tok)
			return again
		}
	}
	if n, ok := errors.AsType[*oauth.NoAnswer](err); ok {
		s.meters.request(ctx, "unanswered")
		answer := errs.Wrap(n.Err, errs.Unavailable, "salesforce_unreachable", "%s", n.Error())
		if rotates && sent {
			note = (*turn).lose
			answer = s.lost(ctx, f.conn, n.Error())
		}
		f.err = s.pause(e, answer)
		return false
	}
	if r, ok := errors.AsType[*oauth.Refusal](err); ok && !r.Definite() {
		s.meters.request(ctx, "unanswered")
		if rotates && r.AtFault() {
			note = (*turn).lose // Salesforce may have used the refresh token up before it failed
			f.err = s.pause(e, s.lost(ctx, f.conn, r.Error()))
			return false
		}
		f.refusal, f.err = r, s.pause(e, busy(r))
		return false
	}
	if _, ok := errors.AsType[*oauth.Untrusted](err); ok && rotates {
		note = (*turn).lose // it may hold the new refresh token
	}
	return s.refused(ctx, f, h, err)
}

// lost tells whoever watches that a refresh brought no answer that says what became of the refresh token, and returns the
// error that says so to the caller. why is what came instead.
func (s *Source) lost(ctx context.Context, c connection.Connection, why string) *errs.Error {
	s.meters.event(ctx, "unknown")
	s.log.WarnContext(ctx, "answer to a token refresh lost", append(s.attrs(c), slog.String(telemetry.KeyReason, why))...)
	e := unknown(c, s.opt.Settle)
	e.Msg = why + "; " + e.Msg
	return e
}

// call makes the one call. sent says that it may have reached Salesforce.
func (s *Source) call(ctx context.Context, conn connection.Connection, creds connection.Credentials) (tok oauth.Token, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	ctx, span := s.tracer.Start(ctx, "salesforce token request", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String(telemetry.KeyConnection, conn.ID), attribute.String(telemetry.KeyOrg, conn.OrgID)))
	defer span.End()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	switch conn.Flow {
	case connection.WebServer:
		tok, err = s.oauth.Refresh(ctx, conn.Host, oauth.RefreshCredentials{ClientID: creds.ClientID, ClientSecret: creds.ClientSecret, RefreshToken: creds.RefreshToken})
	case connection.JWTBearer:
		tok, err = s.oauth.JWT(ctx, conn.Host, oauth.JWTCredentials{ClientID: creds.ClientID, Username: creds.Username, Audience: creds.Audience, PrivateKey: creds.PrivateKey})
	case connection.ClientCredentials:
		tok, err = s.oauth.Token(ctx, conn.Host, oauth.ClientCredentials{ClientID: creds.ClientID, ClientSecret: creds.ClientSecret})
	default:
		err = fmt.Errorf("connection %s has the flow %q, which this version does not know", conn.ID, conn.Flow)
	}
	if err != nil {
		span.SetStatus(otelcodes.Error, "no token")
	}
	return tok, connected.Load(), err
}

// misplaced says that a token is not for the connection.
func misplaced(conn connection.Connection, tok oauth.Token) error {
	switch {
	case tok.OrgID != conn.OrgID:
		return &oauth.Untrusted{Host: conn.Host, Problem: "it is for org " + tok.OrgID + ", and the connection is to org " + conn.OrgID +
			": the host belongs to another org now, or the sandbox was refreshed. Link again"}
	case conn.Flow == connection.WebServer && conn.UserID != "" && tok.UserID != conn.UserID:
		return &oauth.Untrusted{Host: conn.Host, Problem: "it is for user " + tok.UserID + ", and user " + conn.UserID + " gave the consent. Link again"}
	}
	return nil
}

// granted makes durable what Salesforce gave, and then makes the token known.
func (s *Source) granted(ctx context.Context, e *entry, f *flight, h *held, creds connection.Credentials, tok oauth.Token) (note func(*turn), again bool) {
	s.meters.request(ctx, "granted")
	before := f.conn
	now, err := s.renew(ctx, before, creds, connection.Renewal{RefreshToken: tok.RefreshToken, InstanceURL: tok.InstanceURL, Scopes: tok.Scopes, At: s.opt.Now()})
	switch {
	case errs.ReasonOf(err) == "credentials_replaced":
		if now.State == connection.Unlinked {
			s.revoke(ctx, now, tok)
		}
		f.err = err
		return func(*turn) {}, true
	case err != nil:
		s.log.ErrorContext(ctx, "what Salesforce gave could not be stored", append(s.attrs(before), telemetry.Err(err))...)
		f.err = errs.Wrap(err, errs.Unavailable, "not_durable", "Salesforce gave a token for connection %q, but it could not be stored: try again when the message bus works", before.Name)
		return (*turn).lose, false
	}
	f.conn = now
	if now.CredentialVersion != before.CredentialVersion {
		s.meters.event(ctx, "rotated")
	}
	if before.State != connection.Linked {
		s.log.InfoContext(ctx, "connection is usable", s.attrs(now)...)
	}
	answered := func(t *turn) { t.Lost, t.LostVersion = 0, 0 }
	if missing := tok.Missing("api"); len(missing) > 0 {
		f.refusal = &oauth.Untrusted{Host: now.Host, Problem: fmt.Sprintf("it grants the scopes %q, and %s is not among them: add \"Manage user data via APIs (api)\" in the app's OAuth settings and link again",
			strings.Join(tok.Scopes, " "), missing[0])}
		if f.conn, f.err = s.mustReconnect(ctx, now, "scope_missing", f.refusal.Error()); f.err == nil {
			f.err = f.conn.NeedsReconnectError()
		}
		return answered, false
	}
	if !tok.AccessToken.IsZero() && tok.AccessToken.Equal(f.want.rejected) {
		f.err = s.pause(e, errs.New(errs.Unavailable, "token_still_rejected",
			"Salesforce gives the same access token again that its API has just refused: check that the app grants the scope api and that API access is not blocked in the org"))
		return answered, false
	}
	f.grant = Grant{AccessToken: tok.AccessToken, InstanceURL: tok.InstanceURL, OrgID: tok.OrgID}
	if err := s.shares.put(ctx, now, h.epoch, f.grant); err != nil {
		s.log.WarnContext(ctx, "access token not shared; other processes ask for one of their own", append(s.attrs(now), telemetry.Err(err))...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.learn(f.grant, now.CredentialVersion, h.epoch)
	return func(t *turn) { answered(t); t.TokenEpoch = t.Epoch }, false
}

// revoke ends tokens that came after the connection had been unlinked. Whoever unlinked it has written that down.
func (s *Source) revoke(ctx context.Context, conn connection.Connection, tok oauth.Token) {
	last := tok.AccessToken
	if !tok.RefreshToken.IsZero() {
		last = tok.RefreshToken
	}
	if err := s.oauth.Revoke(ctx, conn.Host, last); err != nil {
		s.log.WarnContext(ctx, "a token that came after the connection was unlinked is not revoked", append(s.attrs(conn), telemetry.Err(err))...)
	}
}

// renew stores what Salesforce gave, and does not give up while there is hope: nobody has it but this process.
func (s *Source) renew(ctx context.Context, conn connection.Connection, creds connection.Credentials, r connection.Renewal) (connection.Connection, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Durable)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		now, err := s.conns.Renew(ctx, conn, creds, r)
		if err == nil || errs.ReasonOf(err) == "credentials_replaced" || errs.KindOf(err) == errs.NotFound {
			return now, err
		}
		if sleep(ctx, wait) != nil {
			return conn, err
		}
	}
}

// refused records why there is no token, where that is a matter of Salesforce's.
func (s *Source) refused(ctx context.Context, f *flight, h *held, err error) (again bool) {
	code, reason := "answer_not_trusted", err.Error()
	if r, ok := errors.AsType[*oauth.Refusal](err); ok {
		code, reason = r.Code, r.Error()+". "+r.Advice()
		if f.conn.Flow == connection.WebServer && spent(r) {
			if h.lost(f.conn) > 0 {
				code = "lost_reply"
				reason = "the answer to a token refresh was lost on the way, and Salesforce takes each refresh token once. " + reason
			} else {
				defer func() {
					if !again {
						s.suspect(ctx, f.conn)
					}
				}()
			}
		}
	} else if _, ok := errors.AsType[*oauth.Untrusted](err); !ok {
		f.err = err // not about Salesforce
		return false
	}
	s.meters.request(ctx, "refused")
	// By compare-and-set: if another process has rotated meanwhile, the refusal says nothing about what it got.
	now, serr := s.mustReconnect(ctx, f.conn, code, reason)
	if serr != nil {
		f.err = serr
		return errs.ReasonOf(serr) == "credentials_replaced"
	}
	f.conn, f.refusal, f.err = now, err, now.NeedsReconnectError()
	return false
}

// suspect tells whoever watches that a refresh token is refused although it was sent once only: it was revoked or has
// expired, or somebody else has used it.
func (s *Source) suspect(ctx context.Context, conn connection.Connection) {
	s.meters.event(ctx, "reuse_suspected")
	s.log.ErrorContext(ctx, "refresh token refused that was sent only once: revoked in the org, expired, or used by somebody else", s.attrs(conn)...)
}

// spent reports whether Salesforce says that a refresh token is of no use any more, and not that the user or the app may
// not have a token now.
func spent(r *oauth.Refusal) bool {
	return r.Code == "invalid_grant" && (r.Description == "" || strings.Contains(strings.ToLower(r.Description), "token"))
}

// busy is a refusal that time may mend.
func busy(r *oauth.Refusal) *errs.Error {
	e := errs.New(errs.Unavailable, "salesforce_busy", "%s. %s", r.Error(), r.Advice())
	if r.Code == "rate_limit_exceeded" {
		e.RetryAfter = time.Minute
	}
	return e
}
