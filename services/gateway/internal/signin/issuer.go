// Package signin owns how people come in by an OpenID Connect issuer: with a JSON web token that the issuer made for them,
// or with a browser, by the authorization code flow, which ends in a session.
//
// An issuer is believed for what it signs by a pinned algorithm, for our audience, within its time. Two claims say for which
// tenant and in which role; without them nobody comes in.
package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/egress"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
)

const (
	// timeout bounds one exchange with the issuer.
	timeout = 10 * time.Second
	// maxAnswer is the longest answer of the issuer that is read.
	maxAnswer = 1 << 20
	// maxToken is the longest token that is looked at.
	maxToken = 16 << 10
	// skew is by how much the issuer's clock may be ahead.
	skew = 5 * time.Minute
)

// Config says who is believed, and for what.
type Config struct {
	// Issuer is the issuer's URL, as it stands in its tokens.
	Issuer string
	// ClientID and ClientSecret are ours at the issuer. The secret is empty for a client that has none.
	ClientID     string
	ClientSecret config.Secret
	// Audience is what tokens that come with calls must be made for; ClientID where empty.
	Audience string
	// Algorithms are those by which tokens may be signed.
	Algorithms []string
	// TenantClaim and RoleClaim name the claims that say for which tenant and in which role somebody comes in.
	TenantClaim, RoleClaim string
}

// Issuer is an OpenID Connect issuer. It is asked for its metadata when it is first needed. It is safe for concurrent use.
type Issuer struct {
	cfg  Config
	http *http.Client

	mu       sync.Mutex
	provider *oidc.Provider
	keys     oidc.KeySet
}

// NewIssuer returns the issuer. It asks nothing.
func NewIssuer(cfg Config) *Issuer {
	if cfg.Audience == "" {
		cfg.Audience = cfg.ClientID
	}
	o := egress.Options{
		Admit:   func(string) error { return nil }, // it says itself where its keys and its token endpoint are
		Private: true, MaxResponseBytes: maxAnswer,
	}
	if u, err := url.Parse(cfg.Issuer); err == nil {
		o.DevOrigins = []string{u.Scheme + "://" + u.Host} // whoever runs the installation named it: any port will do
	}
	client := egress.NewClient(o)
	client.Timeout = timeout
	client.Transport = newRecent(client.Transport)
	return &Issuer{cfg: cfg, http: client}
}

// connect asks the issuer for its metadata, unless it has answered before.
func (i *Issuer) connect(ctx context.Context) (*oidc.Provider, oidc.KeySet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.provider != nil {
		return i.provider, i.keys, nil
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, i.http), timeout)
	defer cancel()
	p, err := oidc.NewProvider(ctx, i.cfg.Issuer)
	if err != nil {
		return nil, nil, errs.Wrap(err, errs.Unavailable, "issuer_unavailable",
			"the issuer %s cannot be asked for its metadata: try again later, or check -oidc-issuer", i.cfg.Issuer)
	}
	var metadata struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&metadata); err != nil || metadata.Keys == "" {
		return nil, nil, errs.New(errs.Unavailable, "issuer_unavailable", "the metadata of the issuer %s names no keys", i.cfg.Issuer)
	}
	i.provider = p
	i.keys = keys{oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), i.http), metadata.Keys)}
	return i.provider, i.keys, nil
}

// Bearer checks a token that came with a call.
func (i *Issuer) Bearer(ctx context.Context, token string) (rpc.Caller, error) {
	p, err := i.verify(ctx, token, i.cfg.Audience)
	return p.caller(), err
}

// person is who a token is about.
type person struct {
	subject string // the issuer's id
	name    string // for people
	nonce   string
	tenant  string
	role    optionsv1.Role
}

func (p person) caller() rpc.Caller {
	if p.subject == "" {
		return rpc.Caller{}
	}
	return rpc.Caller{Tenant: p.tenant, Subject: "oidc:" + p.subject, Role: p.role}
}

// verify checks a token of the issuer for an audience.
func (i *Issuer) verify(ctx context.Context, token, audience string) (person, error) {
	if len(token) > maxToken {
		return person{}, errs.New(errs.Unauthenticated, "malformed_token", "the token has %d bytes: at most %d are looked at", len(token), maxToken)
	}
	_, keys, err := i.connect(ctx)
	if err != nil {
		return person{}, err
	}
	var fetch fetchError
	v := oidc.NewVerifier(i.cfg.Issuer, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: i.cfg.Algorithms})
	t, err := v.Verify(context.WithValue(ctx, fetchKey{}, &fetch), token)
	if expired, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return person{}, errs.New(errs.Unauthenticated, "expired_token", "the token expired at %s: sign in again", expired.Expiry.UTC().Format(time.RFC3339))
	}
	if fetch.err != nil {
		return person{}, errs.Wrap(fetch.err, errs.Unavailable, "issuer_unavailable", "the issuer %s cannot be asked for its keys: try again later", i.cfg.Issuer)
	}
	if err != nil {
		return person{}, errs.Wrap(err, errs.Unauthenticated, "invalid_token",
			"the token is not one that %s made for %q, signed by %s, and valid now", i.cfg.Issuer, audience, strings.Join(i.cfg.Algorithms, " or "))
	}
	if t.Subject == "" || t.Issuer != i.cfg.Issuer {
		return person{}, errs.New(errs.Unauthenticated, "invalid_token", "the token does not say who it is about, or names another issuer")
	}
	if t.IssuedAt.After(time.Now().Add(skew)) {
		return person{}, errs.New(errs.Unauthenticated, "invalid_token", "the token was made in the future, at %s: check the clocks", t.IssuedAt.UTC().Format(time.RFC3339))
	}
	return i.read(t)
}

// read takes from a token what it says of its bearer.
func (i *Issuer) read(t *oidc.IDToken) (person, error) {
	var claims map[string]any
	if err := t.Claims(&claims); err != nil {
		return person{}, errs.Wrap(err, errs.Unauthenticated, "invalid_token", "the claims of the token cannot be read")
	}
	if azp, ok := claims["azp"].(string); ok && len(t.Audience) > 1 && azp != i.cfg.ClientID && azp != i.cfg.Audience {
		return person{}, errs.New(errs.Unauthenticated, "invalid_token", "the token was made for the use of another application")
	}
	p := person{subject: t.Subject, nonce: t.Nonce}
	for _, claim := range []string{"email", "preferred_username", "name"} {
		if name, ok := claims[claim].(string); ok && name != "" && p.name == "" {
			p.name = name
		}
	}
	p.tenant, _ = claims[i.cfg.TenantClaim].(string)
	if !access.ValidTenant(p.tenant) {
		return person{}, errs.New(errs.Denied, "no_tenant", "the token names no tenant: the issuer must put one into the claim %q", i.cfg.TenantClaim)
	}
	for _, name := range texts(claims[i.cfg.RoleClaim]) {
		if r, ok := access.RoleNamed(name); ok {
			p.role = max(p.role, r)
		}
	}
	if p.role == optionsv1.Role_ROLE_UNSPECIFIED {
		return person{}, errs.New(errs.Denied, "no_role", "the token names no role: the issuer must put viewer, admin or owner into the claim %q", i.cfg.RoleClaim)
	}
	return p, nil
}

// texts are the texts of a claim that is one or a list of them.
func texts(claim any) (all []string) {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// oauth returns how the authorization code flow is done with the issuer.
func (i *Issuer) oauth(ctx context.Context, redirect string) (*oauth2.Config, error) {
	p, _, err := i.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &oauth2.Config{
		ClientID: i.cfg.ClientID, ClientSecret: i.cfg.ClientSecret.Expose(), Endpoint: p.Endpoint(), RedirectURL: redirect,
		Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}
	var metadata struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	_ = p.Claims(&metadata) // connect has read them
	// Said, not found out by trying: a code may be sent once.
	c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if i.cfg.ClientSecret.IsZero() || len(metadata.Methods) > 0 && !slices.Contains(metadata.Methods, "client_secret_basic") {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	if u, err := url.Parse(c.Endpoint.AuthURL); err != nil || u.Host == "" || u.Scheme != "https" && !strings.HasPrefix(c.Endpoint.AuthURL, i.cfg.Issuer) {
		return nil, errs.New(errs.Unavailable, "issuer_unavailable", "the metadata of the issuer %s names no place to sign in at", i.cfg.Issuer)
	}
	return c, nil
}

// redeem exchanges the code of a sign-in for the token of who signed in.
func (i *Issuer) redeem(ctx context.Context, redirect, code string, f flow) (person, error) {
	c, err := i.oauth(ctx, redirect)
	if err != nil {
		return person{}, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, i.http), timeout)
	defer cancel()
	t, err := c.Exchange(ctx, code, oauth2.VerifierOption(f.verifier()))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response.StatusCode < http.StatusInternalServerError {
			return person{}, errs.New(errs.Unauthenticated, "sign_in_refused", "the issuer does not take the code that it sent: sign in again")
		}
		return person{}, errs.New(errs.Unavailable, "issuer_unavailable", "the issuer %s does not answer: try again later", i.cfg.Issuer)
	}
	raw, _ := t.Extra("id_token").(string)
	if raw == "" {
		return person{}, errs.New(errs.Unauthenticated, "sign_in_refused", "the issuer sent no token that says who signed in")
	}
	p, err := i.verify(ctx, raw, i.cfg.ClientID)
	if err != nil {
		return person{}, err
	}
	if subtle.ConstantTimeCompare([]byte(p.nonce), []byte(f.nonce())) != 1 {
		return person{}, errs.New(errs.Unauthenticated, "sign_in_refused", "the token is not of this sign-in: sign in again")
	}
	return p, nil
}
