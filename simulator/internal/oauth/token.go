package oauth

import (
	"net/http"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
)

const defaultScope = "id api refresh_token"

// refusal is an OAuth error and what LoginHistory says about it.
type refusal struct{ code, text, status string }

var (
	badClientID  = &refusal{"invalid_client_id", "client identifier invalid", "Failed: Invalid Client Id"}
	badSecret    = &refusal{"invalid_client", "invalid client credentials", "Failed: Invalid Client Credentials"}
	missingParam = func(name string) *refusal {
		return &refusal{"invalid_request", "missing required parameter: " + name, "Failed: Missing Parameter"}
	}
	expiredToken  = &refusal{"invalid_grant", "expired access/refresh token", "Failed: Expired Token"}
	badLogin      = &refusal{"invalid_grant", "authentication failure", "Invalid Password"}
	inactive      = &refusal{"invalid_grant", "inactive user", "User is Inactive"}
	ipRestricted  = &refusal{"invalid_grant", "ip restricted", "Restricted IP"}
	outsideHours  = &refusal{"invalid_grant", "invalid login hours", "Outside Login Hours"}
	apiOnly       = &refusal{"invalid_grant", "api only user", "API Only User"}
	appBlocked    = &refusal{"app_blocked", "this app is blocked by admin", "Failed: App Blocked"}
	wrongDomain   = &refusal{"invalid_grant", "request not supported on this domain", "Failed: Wrong Domain"}
	noRunAs       = &refusal{"invalid_grant", "no client credentials user enabled", "Failed: No Client Credentials User"}
	badGrantType  = &refusal{"unsupported_grant_type", "unsupported_grant_type", "Failed: Unsupported Grant Type"}
	retryRequest  = &refusal{"retry_request", "retry your request", "Failed: Concurrent Logins"}
	basicMalfomed = &refusal{"invalid_basic_auth_header", "invalid basic auth header", "Failed: Invalid Basic Auth Header"}
)

// Token answers POST /services/oauth2/token.
func (s *Server) Token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		reply.OAuth(w, "invalid_request", "must use HTTP POST")
		return
	}
	if err := r.ParseForm(); err != nil {
		reply.OAuth(w, "invalid_request", "the body is not form encoded")
		return
	}
	if r.Method == http.MethodGet {
		reply.OAuth(w, "invalid_request", "must use HTTP POST")
		return
	}
	s.mu.Lock()
	x, refresh, no := s.grantToken(r)
	if no == nil {
		s.counters.Tokens++
	}
	s.mu.Unlock()
	if no != nil {
		noStore(w)
		s.history(r, "", no.status)
		reply.OAuth(w, no.code, no.text)
		return
	}
	s.history(r, x.UserID, "Success")
	s.answer(w, r, x, refresh)
}

func (s *Server) grantToken(r *http.Request) (*Session, string, *refusal) {
	if s.policy.Collide > 0 {
		s.policy.Collide--
		return nil, "", retryRequest
	}
	switch r.Form.Get("grant_type") {
	case "client_credentials":
		return s.clientCredentials(r)
	case "refresh_token":
		return s.refresh(r)
	case "authorization_code":
		return s.redeem(r)
	case "password":
		return s.password(r)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		return s.jwtBearer(r)
	case "":
		return nil, "", missingParam("grant_type")
	}
	return nil, "", badGrantType
}

// client checks the app's own authentication; needSecret is false where a public client may ask.
func (s *Server) client(r *http.Request, needSecret bool) *refusal {
	id, secret := r.Form.Get("client_id"), r.Form.Get("client_secret")
	if h := r.Header.Get("Authorization"); strings.HasPrefix(strings.ToLower(h), "basic ") {
		u, p, ok := r.BasicAuth()
		if !ok {
			return basicMalfomed
		}
		id, secret = u, p
	}
	switch {
	case id == "":
		return missingParam("client_id")
	case !equal(id, s.cfg.ClientID):
		return badClientID
	case s.policy.BlockApp:
		return appBlocked
	case secret == "" && !needSecret:
		return nil
	case !equal(secret, s.cfg.ClientSecret):
		return badSecret
	}
	return nil
}

// allowed checks the user and the org's login policies.
func (s *Server) allowed(userID string) *refusal {
	switch {
	case s.policy.RestrictIP:
		return ipRestricted
	case s.policy.OutsideHours:
		return outsideHours
	case s.user(userID, "IsActive") != "true":
		return inactive
	}
	return nil
}

func (s *Server) clientCredentials(r *http.Request) (*Session, string, *refusal) {
	if no := s.client(r, true); no != nil {
		return nil, "", no
	}
	host := strings.ToLower(r.Host)
	switch {
	case strings.HasPrefix(host, "login.") || strings.HasPrefix(host, "test."):
		return nil, "", wrongDomain
	case s.policy.NoRunAs:
		return nil, "", noRunAs
	}
	if no := s.allowed(s.cfg.RunAs); no != nil {
		return nil, "", no
	}
	return s.open(s.cfg.RunAs, "id api", nil), "", nil
}

func (s *Server) password(r *http.Request) (*Session, string, *refusal) {
	if no := s.client(r, true); no != nil {
		return nil, "", no
	}
	id, no := s.login(r.Form.Get("username"), r.Form.Get("password"), true)
	if no != nil {
		return nil, "", no
	}
	return s.open(id, "id api", nil), "", nil
}

// login checks a username and password and gives the user's id.
func (s *Server) login(username, password string, withToken bool) (string, *refusal) {
	id := s.userByName(username)
	want := s.cfg.Password
	if withToken {
		want += s.cfg.SecurityToken
	}
	if id == "" || !equal(password, want) {
		return "", badLogin
	}
	if no := s.allowed(id); no != nil {
		return "", no
	}
	return id, nil
}

func (s *Server) refresh(r *http.Request) (*Session, string, *refusal) {
	if no := s.client(r, false); no != nil {
		return nil, "", no
	}
	token := r.Form.Get("refresh_token")
	if token == "" {
		return nil, "", missingParam("refresh_token")
	}
	g := s.grants[token]
	if g == nil {
		if old := s.retired[token]; old != nil { // a rotated token used again: the grant may be stolen
			if !old.dead {
				s.counters.Reuses++
			}
			s.end(old)
		}
		return nil, "", expiredToken
	}
	if no := s.allowed(g.userID); no != nil {
		return nil, "", no
	}
	if !s.cfg.Rotation {
		return s.open(g.userID, g.scope, g), "", nil
	}
	s.counters.Rotations++
	delete(s.grants, g.refresh)
	s.retired[g.refresh] = g
	g.refresh = s.issue(newRefreshToken())
	s.grants[g.refresh] = g
	return s.open(g.userID, g.scope, g), g.refresh, nil
}

func newRefreshToken() string { return "5Aep861" + tokenAlphabet.Replace(random(60)) }

// end kills a grant with all its access tokens.
func (s *Server) end(g *grant) {
	g.dead = true
	delete(s.grants, g.refresh)
	for token, x := range s.sessions {
		if x.grant == g {
			delete(s.sessions, token)
		}
	}
}

// Revoke answers /services/oauth2/revoke.
func (s *Server) Revoke(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		reply.OAuth(w, "invalid_request", "the body is not form encoded")
		return
	}
	token := r.Form.Get("token")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case token == "":
		reply.OAuth(w, "invalid_request", "missing required parameter: token")
	case s.grants[token] != nil:
		s.end(s.grants[token])
		w.WriteHeader(http.StatusOK)
	case s.sessions[token] != nil:
		delete(s.sessions, token)
		w.WriteHeader(http.StatusOK)
	default:
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("error=unsupported_token_type&error_description=this+token+type+is+not+supported"))
	}
}

// Introspect answers POST /services/oauth2/introspect.
func (s *Server) Introspect(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		reply.OAuth(w, "invalid_request", "must use HTTP POST with a form")
		return
	}
	s.mu.Lock()
	no := s.client(r, true)
	token := r.Form.Get("token")
	x, g := s.sessions[token], s.grants[token]
	timeout := s.cfg.SessionTimeout
	s.mu.Unlock()
	switch {
	case no != nil:
		reply.OAuth(w, no.code, no.text)
	case x != nil && s.db.Now().Sub(x.used) <= timeout:
		reply.JSON(w, http.StatusOK, introspection{
			true, x.Scope, s.cfg.ClientID, s.user(x.UserID, "Username"), s.identity(r, x.UserID), "access_token",
			x.used.Add(timeout).Unix(), x.issued.Unix(), x.issued.Unix(),
		})
	case g != nil:
		reply.JSON(w, http.StatusOK, introspection{
			true, g.scope, s.cfg.ClientID, s.user(g.userID, "Username"), s.identity(r, g.userID), "refresh_token",
			g.created.AddDate(1, 0, 0).Unix(), g.created.Unix(), g.created.Unix(),
		})
	default:
		reply.JSON(w, http.StatusOK, map[string]bool{"active": false})
	}
}

type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope"`
	ClientID  string `json:"client_id"`
	Username  string `json:"username"`
	Sub       string `json:"sub"`
	TokenType string `json:"token_type"`
	Exp       int64  `json:"exp"`
	Iat       int64  `json:"iat"`
	Nbf       int64  `json:"nbf"`
}
