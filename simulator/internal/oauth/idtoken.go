package oauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
)

// keyID names the org's one signing key.
const keyID = "200"

// signer signs id_tokens with a key that is made when it is first needed.
type signer struct {
	once sync.Once
	key  *rsa.PrivateKey
}

func (g *signer) get() *rsa.PrivateKey {
	g.once.Do(func() {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil { // without random numbers nothing of the org works
			panic("oauth: signing key: " + err.Error())
		}
		g.key = key
	})
	return g.key
}

// idToken is the identity of a session's user for the app, as OpenID Connect has it.
func (s *Server) idToken(r *http.Request, x *Session) string {
	half := sha256.Sum256([]byte(x.Token))
	claims := struct {
		AtHash string `json:"at_hash"`
		Sub    string `json:"sub"`
		Aud    string `json:"aud"`
		Iss    string `json:"iss"`
		Exp    int64  `json:"exp"`
		Iat    int64  `json:"iat"`
		Nonce  string `json:"nonce,omitempty"`
	}{
		base64.RawURLEncoding.EncodeToString(half[:16]), s.identity(r, x.UserID), x.ClientID, Origin(r), x.issued.Unix() + 120, x.issued.Unix(), x.nonce,
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return ""
	}
	head := `{"kid":"` + keyID + `","typ":"JWT","alg":"RS256"}`
	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.signer.get(), crypto.SHA256, sum[:])
	if err != nil {
		return ""
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// openID reports whether a scope asks for an id_token.
func openID(scope string) bool { return slices.Contains(strings.Fields(scope), "openid") }

// Keys answers /id/keys with the public key of id_tokens.
func (s *Server) Keys(w http.ResponseWriter) {
	type key struct {
		Kty string `json:"kty"`
		N   string `json:"n"`
		E   string `json:"e"`
		Alg string `json:"alg"`
		Use string `json:"use"`
		Kid string `json:"kid"`
	}
	public := s.signer.get().PublicKey
	reply.JSON(w, http.StatusOK, map[string][]key{"keys": {{
		"RSA", base64.RawURLEncoding.EncodeToString(public.N.Bytes()), base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()), "RS256", "sig", keyID,
	}}})
}
