package oauth

import (
	"context"
	"errors"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/catalogsync/catalogsync/internal/config"
)

// Scopes are what the web server flow asks for: the data API, a refresh token, and whose the token is.
const Scopes = "api refresh_token id"

// Verifier is the secret of one consent, of which Salesforce first sees the SHA-256 alone (PKCE, S256). Only
// [NewVerifier] and [RestoreVerifier] make one that works, and every request of the web server flow takes one.
type Verifier struct{ secret config.Secret }

// NewVerifier draws a verifier of 256 bits.
func NewVerifier() Verifier { return Verifier{config.NewSecret(oauth2.GenerateVerifier())} }

// RestoreVerifier makes one of what [Verifier.Secret] gave.
func RestoreVerifier(secret config.Secret) (Verifier, error) {
	if n := len(secret.Expose()); n < 43 || n > 128 {
		return Verifier{}, errors.New("this is no PKCE verifier: it has 43 to 128 characters")
	}
	return Verifier{secret}, nil
}

// Secret is what is kept of it until the consent comes back.
func (v Verifier) Secret() config.Secret { return v.secret }

// Consent is one consent of a user, from the authorize page to the code. The same host is asked for the code and for
// the token, so that no other server is ever sent the code.
type Consent struct {
	// Host is the origin of both, which passed the policy.
	Host string
	// ClientID is the consumer key.
	ClientID string
	// ClientSecret is the consumer secret; empty for an app that has none. It goes with the verifier, not in its place.
	ClientSecret config.Secret
	// RedirectURI is the callback, exactly as it is registered with the app.
	RedirectURI string
	// Verifier ties the code to whoever began.
	Verifier Verifier
}

var errNoVerifier = errors.New("oauth: a consent without a PKCE verifier")

// AuthorizeURL is where the browser goes. state comes back with the code.
func (c Consent) AuthorizeURL(state config.Secret) (string, error) {
	if c.Verifier.secret.IsZero() {
		return "", errNoVerifier
	}
	q := url.Values{
		"response_type":         {"code"},
		"client_id":             {c.ClientID},
		"redirect_uri":          {c.RedirectURI},
		"scope":                 {Scopes},
		"state":                 {state.Expose()},
		"code_challenge":        {oauth2.S256ChallengeFromVerifier(c.Verifier.secret.Expose())},
		"code_challenge_method": {"S256"},
		// A login that is still open may be another user's than the one who is meant.
		"prompt": {"login consent"},
	}
	return c.Host + "/services/oauth2/authorize?" + q.Encode(), nil
}

// Redeem gives the code of the callback for tokens. Errors are as for [Client.Token]. A code works once: after any
// error the consent is over.
func (c *Client) Redeem(ctx context.Context, consent Consent, code config.Secret) (Token, error) {
	if consent.Verifier.secret.IsZero() {
		return Token{}, errNoVerifier
	}
	return c.ask(ctx, consent.Host, request{
		grantType: "authorization_code", clientID: consent.ClientID, clientSecret: consent.ClientSecret,
		params: map[string]config.Secret{
			"code": code, "redirect_uri": config.NewSecret(consent.RedirectURI), "code_verifier": consent.Verifier.secret,
		},
	})
}
