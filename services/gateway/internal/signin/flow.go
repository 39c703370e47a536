package signin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// flow is one sign-in that a browser has begun: 256 random bits in a cookie of that browser. State, nonce and PKCE verifier
// are made of them, so that nothing is kept here, and what a page of somebody else begins cannot be ended in this browser.
type flow string

func newFlow() flow {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return flow(base64.RawURLEncoding.EncodeToString(b[:]))
}

// valid reports whether the text may be one that newFlow made.
func (f flow) valid() bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(f))
	return err == nil && len(b) == 32
}

func (f flow) derive(purpose string) string {
	sum := sha256.Sum256([]byte("catalogsync sign-in " + purpose + "\x00" + string(f)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (f flow) state() string    { return f.derive("state") }
func (f flow) nonce() string    { return f.derive("nonce") }
func (f flow) verifier() string { return f.derive("verifier") }

// began reports whether the state is that of this sign-in.
func (f flow) began(state string) bool {
	return f.valid() && subtle.ConstantTimeCompare([]byte(state), []byte(f.state())) == 1
}
