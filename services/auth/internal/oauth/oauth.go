// Package oauth owns what is said to the OAuth endpoints of a Salesforce org, and what is believed of the answers:
// a token response counts only when it is signed where it claims to be, names the org and the user, and its API origin
// passes the host policy.
//
// It repeats nothing: whoever asks for a token decides when to ask again.
package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// Timeout bounds one exchange with an OAuth endpoint. It is less than what callers wait, so that they learn the reason.
const Timeout = 20 * time.Second

// RefreshTimeout bounds a refresh, which is given more time: giving up loses more than an answer.
const RefreshTimeout = 30 * time.Second

// ClientCredentials are the consumer key and secret of an app that runs as a user chosen by the org's admin.
type ClientCredentials struct {
	// ClientID is the consumer key.
	ClientID string
	// ClientSecret is the consumer secret.
	ClientSecret config.Secret
}

// Client asks OAuth endpoints. It is safe for concurrent use.
type Client struct {
	http   *http.Client
	policy salesforce.HostPolicy
}

// New returns a client that sends over http, which [salesforce.NewOAuthClient] made for the same policy.
func New(http *http.Client, policy salesforce.HostPolicy) *Client {
	return &Client{http: http, policy: policy}
}

// Token asks host, an origin that passed the policy, for an access token by client credentials. The error is a
// [*Refusal] when Salesforce says no, a [*NoAnswer] when it says nothing of use, and a [*Untrusted] when the answer is
// not to be believed.
func (c *Client) Token(ctx context.Context, host string, creds ClientCredentials) (Token, error) {
	return c.ask(ctx, host, request{grantType: "client_credentials", clientID: creds.ClientID, clientSecret: creds.ClientSecret})
}

// RefreshCredentials are what an access token of the web server flow is renewed with.
type RefreshCredentials struct {
	// ClientID is the consumer key.
	ClientID string
	// ClientSecret is the consumer secret; empty for an app that has none.
	ClientSecret config.Secret
	// RefreshToken is the one in force. Whether or not an answer comes, it may have been used up by this call.
	RefreshToken config.Secret
}

// Refresh asks host for a new access token. RefreshToken of the result is the one that takes the place of the one that
// was sent; it is empty where the app does not rotate them, and the one that was sent stays in force. Errors are as for
// [Client.Token]; after a [*NoAnswer], and after any answer that is not believed, nobody knows whether the refresh
// token that was sent is still good.
func (c *Client) Refresh(ctx context.Context, host string, creds RefreshCredentials) (Token, error) {
	return c.ask(ctx, host, request{
		grantType: "refresh_token", clientID: creds.ClientID, clientSecret: creds.ClientSecret,
		params: map[string]config.Secret{"refresh_token": creds.RefreshToken}, timeout: RefreshTimeout,
	})
}

// request is one call of a token endpoint.
type request struct {
	grantType    string
	clientID     string
	clientSecret config.Secret            // empty: not sent, and the signature of the answer cannot be checked
	params       map[string]config.Secret // sent beside those
	timeout      time.Duration            // Timeout when 0
}

// ask makes the request at host and checks the answer.
func (c *Client) ask(ctx context.Context, host string, r request) (Token, error) {
	if r.timeout == 0 {
		r.timeout = Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	params := url.Values{"grant_type": {r.grantType}}
	secrets := []string{r.clientSecret.Expose()}
	for name, value := range r.params {
		params.Set(name, value.Expose())
		secrets = append(secrets, value.Expose())
	}
	conf := clientcredentials.Config{
		ClientID:       r.clientID,
		ClientSecret:   r.clientSecret.Expose(),
		TokenURL:       host + "/services/oauth2/token",
		AuthStyle:      oauth2.AuthStyleInParams,
		EndpointParams: params, // grant_type among them takes the place of client_credentials
	}
	raw, err := conf.Token(context.WithValue(ctx, oauth2.HTTPClient, c.http))
	if err != nil {
		return Token{}, classify(host, err, secrets)
	}
	return c.read(host, raw, r.clientSecret)
}

// classify turns an error of x/oauth2 into one of this package. The original is dropped: it holds the raw reply, which
// a hostile host may have filled with what it was sent.
func classify(host string, err error, secrets []string) error {
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := re.Response.StatusCode
		if re.ErrorCode == "" {
			return &NoAnswer{Host: host, Status: status}
		}
		return &Refusal{
			Code:        scrub(re.ErrorCode, 64, secrets...),
			Description: scrub(re.ErrorDescription, 512, secrets...),
			Status:      status,
		}
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return &NoAnswer{Host: host, Err: ue.Err}
	}
	return &NoAnswer{Host: host, Status: http.StatusOK}
}
