package salesforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// TokenSource hands out the access tokens of one connection.
type TokenSource interface {
	// Token returns a token that is believed to be good.
	Token(ctx context.Context) (Token, error)
	// Reject reports that Salesforce refused t and returns another one, or an error when there is none.
	Reject(ctx context.Context, t Token) (Token, error)
}

// Refuser is a TokenSource that is told when Salesforce refuses, for one and the same request, the token that Reject
// gave as well. The error, if any, says why the connection is of no use.
type Refuser interface {
	Refused(ctx context.Context, t Token) error
}

// Token is an access token and the origin that it is for.
type Token struct {
	AccessToken AccessToken
	InstanceURL string // the origin of every API call, as in the token response
}

const redacted = "[redacted]"

// AccessToken holds a bearer token and shows it to nobody but the caller of Expose.
type AccessToken struct{ value string }

// NewAccessToken wraps a token.
func NewAccessToken(s string) AccessToken { return AccessToken{value: s} }

// Expose returns the token itself. Its only use is the Authorization header.
func (t AccessToken) Expose() string { return t.value }

// IsZero reports whether there is no token.
func (t AccessToken) IsZero() bool { return t.value == "" }

// String hides the token.
func (t AccessToken) String() string { return redacted }

// GoString hides the token.
func (t AccessToken) GoString() string { return redacted }

// Format hides the token from every verb of package fmt.
func (t AccessToken) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText hides the token, in JSON too.
func (t AccessToken) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the token.
func (t AccessToken) LogValue() slog.Value { return slog.StringValue(redacted) }

// GobEncode refuses: a token is not to be stored or sent by this package's callers.
func (t AccessToken) GobEncode() ([]byte, error) {
	return nil, errors.New("salesforce: an access token cannot be encoded")
}
