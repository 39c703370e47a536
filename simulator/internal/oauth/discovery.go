package oauth

import (
	"net/http"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
)

type discovery struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Revocation    string   `json:"revocation_endpoint"`
	Userinfo      string   `json:"userinfo_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Registration  string   `json:"registration_endpoint"`
	Introspection string   `json:"introspection_endpoint"`
	Scopes        []string `json:"scopes_supported"`
	Responses     []string `json:"response_types_supported"`
	Subjects      []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Displays      []string `json:"display_values_supported"`
	Methods       []string `json:"token_endpoint_auth_methods_supported"`
}

// Discovery answers /.well-known/openid-configuration.
func (s *Server) Discovery(w http.ResponseWriter, r *http.Request) {
	o := Origin(r)
	at := o + "/services/oauth2/"
	reply.JSON(w, http.StatusOK, discovery{
		o, at + "authorize", at + "token", at + "revoke", at + "userinfo", o + "/id/keys", at + "register", at + "introspect", scopes,
		[]string{"code", "token", "token id_token"},
		[]string{"public"},
		[]string{"RS256"},
		[]string{"page", "popup", "touch"},
		[]string{"client_secret_post", "client_secret_basic", "private_key_jwt"},
	})
}
