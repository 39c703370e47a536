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

// New returns a client that sends over http, which [salesforce.NewHTTPClient] made for the same policy.
func New(http *http.Client, policy salesforce.HostPolicy) *Client {
	return &Client{http: http, policy: policy}
}

// Token asks host, an origin that passed the policy, for an access token by client credentials. The error is a
// [*Refusal] when Salesforce says no, a [*NoAnswer] when it says nothing of use, and a [*Untrusted] when the answer is
// not to be believed.
func (c *Client) Token(ctx context.Context, host string, creds ClientCredentials) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	conf := clientcredentials.Config{
		ClientID:     creds.ClientID,
		ClientSecret: creds.ClientSecret.Expose(),
		TokenURL:     host + "/services/oauth2/token",
		AuthStyle:    oauth2.AuthStyleInParams,
	}
	raw, err := conf.Token(context.WithValue(ctx, oauth2.HTTPClient, c.http))
	if err != nil {
		return Token{}, classify(host, err, creds)
	}
	return c.read(host, raw, creds.ClientSecret)
}

// classify turns an error of x/oauth2 into one of this package. The original is dropped: it holds the raw reply, which
// a hostile host may have filled with what it was sent.
func classify(host string, err error, creds ClientCredentials) error {
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := re.Response.StatusCode
		if re.ErrorCode == "" {
			return &NoAnswer{Host: host, Status: status}
		}
		secret := creds.ClientSecret.Expose()
		return &Refusal{
			Code:        scrub(re.ErrorCode, 64, secret),
			Description: scrub(re.ErrorDescription, 512, secret),
			Status:      status,
		}
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return &NoAnswer{Host: host, Err: ue.Err}
	}
	return &NoAnswer{Host: host, Status: http.StatusOK}
}
