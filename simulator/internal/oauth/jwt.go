package oauth

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strconv"
	"strings"
)

type claims struct {
	Iss string          `json:"iss"`
	Sub string          `json:"sub"`
	Prn string          `json:"prn"`
	Aud any             `json:"aud"`
	Exp json.RawMessage `json:"exp"`
	Jti string          `json:"jti"`
}

var badAssertion = &refusal{"invalid_grant", "invalid assertion", "Failed: Invalid Assertion"}

func (s *Server) jwtBearer(r *http.Request) (*Session, string, *refusal) {
	parts := strings.Split(r.Form.Get("assertion"), ".")
	if len(parts) != 3 {
		return nil, "", badAssertion
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var c claims
	if !decode(parts[0], &header) || !decode(parts[1], &c) || header.Alg != "RS256" {
		return nil, "", badAssertion
	}
	if !equal(c.Iss, s.cfg.ClientID) {
		return nil, "", badClientID
	}
	if s.policy.BlockApp {
		return nil, "", appBlocked
	}
	if !s.signed(parts) {
		return nil, "", badAssertion
	}
	exp, err := strconv.ParseFloat(strings.Trim(string(c.Exp), `"`), 64)
	switch {
	case err != nil:
		return nil, "", badAssertion
	case exp < float64(s.db.Now().Unix()): // milliseconds, as the sf CLI sends, are just far ahead
		return nil, "", &refusal{"invalid_grant", "expired authorization code", "Failed: Expired Assertion"}
	case !audience(c.Aud, Origin(r)):
		return nil, "", &refusal{"invalid_grant", "audience is invalid", "Failed: Invalid Audience"}
	}
	if c.Jti != "" {
		if s.jtis[c.Jti] {
			return nil, "", &refusal{"bad_jti_claim", "jti claim was used before", "Failed: Bad JTI"}
		}
		s.jtis[c.Jti] = true
	}
	if c.Sub == "" {
		c.Sub = c.Prn
	}
	id := s.userByName(c.Sub)
	if id == "" || s.policy.RequireApprove {
		return nil, "", &refusal{"invalid_grant", "user hasn't approved this consumer", "Failed: Not Approved For Access"}
	}
	if no := s.allowed(id); no != nil {
		return nil, "", no
	}
	return s.open(id, "id api", nil), "", nil
}

func decode(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	return err == nil && json.Unmarshal(b, v) == nil
}

func audience(aud any, origin string) bool {
	switch a := aud.(type) {
	case string:
		a = strings.TrimSuffix(a, "/")
		return a == "https://login.salesforce.com" || a == "https://test.salesforce.com" || a == origin
	case []any:
		for _, one := range a {
			if audience(one, origin) {
				return true
			}
		}
	}
	return false
}

// signed checks the assertion against the registered certificates.
func (s *Server) signed(parts []string) bool {
	sig, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[2], "="))
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	for _, cert := range s.cfg.JWTCerts {
		for block, rest := pem.Decode(cert); block != nil; block, rest = pem.Decode(rest) {
			x, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				continue
			}
			if key, ok := x.PublicKey.(*rsa.PublicKey); ok && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil {
				return true
			}
		}
	}
	return false
}
