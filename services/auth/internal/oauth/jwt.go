package oauth

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/catalogsync/catalogsync/internal/config"
)

const (
	// assertionLife is how long an assertion is good for. Salesforce takes up to three minutes; less leaves room for
	// clocks that differ.
	assertionLife = 150 * time.Second
	// minKeyBits is the smallest RSA key that is taken.
	minKeyBits = 2048
	// maxKeyBits bounds what a signature may cost.
	maxKeyBits = 8192
)

// JWTCredentials are what a token is asked for with in the JWT bearer flow.
type JWTCredentials struct {
	// ClientID is the consumer key.
	ClientID string
	// Username is the user to sign in as.
	Username string
	// Audience is the aud claim, an origin; that of the host where empty.
	Audience string
	// PrivateKey is PEM, PKCS 1 or 8; see [ParsePrivateKey].
	PrivateKey config.Secret
}

// JWT asks host for an access token by a signed assertion. Errors are as for [Client.Token]; a key that is none is
// refused before anything is sent.
func (c *Client) JWT(ctx context.Context, host string, creds JWTCredentials) (Token, error) {
	assertion, err := assertion(host, creds, time.Now())
	if err != nil {
		return Token{}, err
	}
	return c.ask(ctx, host, request{
		grantType: "urn:ietf:params:oauth:grant-type:jwt-bearer",
		params:    map[string]config.Secret{"assertion": assertion},
	})
}

// assertion signs who asks for whom. It has no scope, which Salesforce does not know here, and no jti, which it would
// have to remember.
func assertion(host string, creds JWTCredentials, now time.Time) (config.Secret, error) {
	key, err := ParsePrivateKey(creds.PrivateKey)
	if err != nil {
		return config.Secret{}, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, nil)
	if err != nil {
		return config.Secret{}, fmt.Errorf("sign with the private key: %w", err)
	}
	audience := creds.Audience
	if audience == "" {
		audience = host
	}
	signed, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": creds.ClientID, "sub": creds.Username, "aud": audience, "exp": now.Add(assertionLife).Unix(),
	}).Serialize()
	if err != nil {
		return config.Secret{}, fmt.Errorf("sign with the private key: %w", err)
	}
	return config.NewSecret(signed), nil
}

// ParsePrivateKey reads an RSA key of at least 2048 bits from PEM, PKCS 1 or 8. Its errors say what is wrong and hold
// nothing of the text.
func ParsePrivateKey(text config.Secret) (*rsa.PrivateKey, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(text.Expose())))
	switch {
	case block == nil:
		return nil, errors.New("the private key is not in PEM format: it begins with -----BEGIN PRIVATE KEY-----")
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("the file holds more than one private key: give the key alone, without certificates")
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("the private key is protected by a password: write it without one with openssl pkey -in FILE -out NEW, and delete the new file once the org is linked")
	}
	var key *rsa.PrivateKey
	switch block.Type {
	case "RSA PRIVATE KEY":
		k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the private key cannot be read: it is damaged")
		}
		key = k
	case "PRIVATE KEY":
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the private key cannot be read: it is damaged, or of a kind that is not known")
		}
		ok := false
		if key, ok = k.(*rsa.PrivateKey); !ok {
			return nil, errors.New("the private key is no RSA key: Salesforce takes RSA keys of at least 2048 bits")
		}
	default:
		return nil, fmt.Errorf("the file holds %s where a private key was expected", strings.ToLower(scrub(block.Type, 40)))
	}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return nil, fmt.Errorf("the private key has %d bits: give one of %d to %d", bits, minKeyBits, maxKeyBits)
	}
	return key, nil
}
