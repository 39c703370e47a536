package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// codeLife is how long an authorization code may be redeemed.
const codeLife = 15 * time.Minute

// maxGrants is how many active authorisations one user may have for one app.
const maxGrants = 5

type code struct {
	userID, scope, redirect, challenge, nonce string
	made                                      time.Time
}

// login is an authorize request on its way through the pages.
type login struct {
	redirect, state, scope, challenge, nonce string
	userID                                   string // set once the user has logged in
}

var pages = template.Must(template.New("pages").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>{{.Title}} | Salesforce simulator</title>
<body style="font-family:sans-serif;max-width:26em;margin:4em auto"><p><small>This is a simulator, not Salesforce.</small></p><h1>{{.Title}}</h1>
{{with .Error}}<p role="alert" id="error">{{.}}</p>{{end}}
{{if .Login}}<form method="post" action="/services/oauth2/authorize"><input type="hidden" name="flow" value="{{.Flow}}">
<p><label>Username <input id="username" name="username" type="email" value="{{.Hint}}" autocomplete="username"></label></p>
<p><label>Password <input id="password" name="pw" type="password" autocomplete="current-password"></label></p>
<p><button id="Login" name="do" value="login">Log In</button></p></form>{{end}}
{{if .Consent}}<form method="post" action="/services/oauth2/authorize"><input type="hidden" name="flow" value="{{.Flow}}"><p>{{.User}} lets the app use:</p>
<ul>{{range .Scopes}}<li>{{.}}</li>{{end}}</ul><p><button id="oaapprove" name="do" value="allow">Allow</button> <button id="oadeny" name="do" value="deny">Deny</button></p></form>{{end}}
</body></html>`))

type page struct {
	Title, Error, Flow, Hint, User string
	Login, Consent                 bool
	Scopes                         []string
}

func show(w http.ResponseWriter, status int, p page) {
	noStore(w)
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = pages.Execute(w, p)
}

func oauthError(w http.ResponseWriter, code, text string) {
	show(w, http.StatusBadRequest, page{Title: "OAuth Error", Error: "error=" + code + "&error_description=" + text})
}

// Authorize answers GET and POST /services/oauth2/authorize: the request, the login form and the consent form.
func (s *Server) Authorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		oauthError(w, "invalid_request", "the request cannot be read")
		return
	}
	if r.Method == http.MethodPost && r.PostForm.Get("flow") != "" {
		s.step(w, r)
		return
	}
	q := r.Form
	redirect := q.Get("redirect_uri")
	s.mu.Lock()
	blocked := s.policy.BlockApp
	s.mu.Unlock()
	switch {
	case q.Get("client_id") == "":
		oauthError(w, "invalid_request", "missing required parameter: client_id")
		return
	case !equal(q.Get("client_id"), s.cfg.ClientID):
		oauthError(w, "invalid_client_id", "client identifier invalid")
		return
	case blocked:
		show(w, http.StatusBadRequest, page{Title: "OAuth Error", Error: "OAUTH_APPROVAL_ERROR_GENERIC: error=invalid_client&error_description=app must be installed into org"})
		return
	case redirect == "":
		oauthError(w, "redirect_uri_missing", "redirect_uri missing")
		return
	case !s.redirects(redirect):
		oauthError(w, "redirect_uri_mismatch", "redirect_uri must match configuration")
		return
	case q.Get("response_type") != "code":
		back(w, r, redirect, url.Values{"error": {"unsupported_response_type"}, "error_description": {"response type not supported"}, "state": q["state"]})
		return
	case q.Get("code_challenge_method") != "" && q.Get("code_challenge_method") != "S256":
		back(w, r, redirect, url.Values{"error": {"invalid_request"}, "error_description": {"unsupported code_challenge_method"}, "state": q["state"]})
		return
	case q.Get("immediate") == "true":
		back(w, r, redirect, url.Values{"error": {"immediate_unsuccessful"}, "state": q["state"]})
		return
	}
	scope := q.Get("scope")
	for _, one := range strings.Fields(scope) {
		if !slices.Contains(scopes, one) {
			back(w, r, redirect, url.Values{"error": {"invalid_scope"}, "error_description": {"the requested scope is not allowed"}, "state": q["state"]})
			return
		}
	}
	if scope == "" {
		scope = defaultScope
	}
	flow := random(24)
	s.mu.Lock()
	s.logins[flow] = &login{redirect: redirect, state: q.Get("state"), scope: scope, challenge: q.Get("code_challenge"), nonce: q.Get("nonce")}
	s.mu.Unlock()
	show(w, http.StatusOK, page{Title: "Login", Login: true, Flow: flow, Hint: q.Get("login_hint")})
}

var scopes = []string{"api", "refresh_token", "offline_access", "id", "openid", "profile", "email", "address", "phone", "full", "web", "chatter_api", "custom_permissions", "lightning", "content", "visualforce"}

// step handles a form of the pages.
func (s *Server) step(w http.ResponseWriter, r *http.Request) {
	flow := r.PostForm.Get("flow")
	s.mu.Lock()
	l := s.logins[flow]
	s.mu.Unlock()
	if l == nil {
		oauthError(w, "invalid_request", "this page has expired: start again")
		return
	}
	switch r.PostForm.Get("do") {
	case "allow", "deny":
		s.decide(w, r, flow, l)
	default:
		s.mu.Lock()
		id, no := s.login(r.PostForm.Get("username"), r.PostForm.Get("pw"), false)
		if no == nil && s.policy.APIOnly {
			no = apiOnly
		}
		if no == nil {
			l.userID = id
		}
		s.mu.Unlock()
		if no != nil {
			s.history(r, "", no.status)
			show(w, http.StatusOK, page{
				Title: "Login", Login: true, Flow: flow, Hint: r.PostForm.Get("username"),
				Error: "Please check your username and password. If you still can't log in, contact your Salesforce administrator.",
			})
			return
		}
		s.history(r, id, "Success")
		show(w, http.StatusOK, page{Title: "Allow Access?", Consent: true, Flow: flow, User: r.PostForm.Get("username"), Scopes: strings.Fields(l.scope)})
	}
}

func (s *Server) decide(w http.ResponseWriter, r *http.Request, flow string, l *login) {
	s.mu.Lock()
	if l.userID == "" {
		s.mu.Unlock()
		oauthError(w, "login_error", "log in first")
		return
	}
	delete(s.logins, flow)
	if r.PostForm.Get("do") == "deny" {
		s.mu.Unlock()
		back(w, r, l.redirect, url.Values{"error": {"access_denied"}, "error_description": {"end-user denied authorization"}, "state": {l.state}})
		return
	}
	c := "aPrx" + tokenAlphabet.Replace(random(58)) + "=="
	s.codes[s.issue(c)] = &code{userID: l.userID, scope: l.scope, redirect: l.redirect, challenge: l.challenge, nonce: l.nonce, made: s.db.Now()}
	s.mu.Unlock()
	back(w, r, l.redirect, url.Values{"code": {c}, "state": {l.state}})
}

// back redirects to the app.
func back(w http.ResponseWriter, r *http.Request, redirect string, q url.Values) {
	if q.Get("state") == "" {
		q.Del("state")
	}
	sep := "?"
	if strings.Contains(redirect, "?") {
		sep = "&"
	}
	http.Redirect(w, r, redirect+sep+q.Encode(), http.StatusFound)
}

// redirects reports whether a callback is registered: exactly, or any on loopback when none is.
func (s *Server) redirects(uri string) bool {
	if len(s.cfg.RedirectURIs) > 0 {
		return slices.Contains(s.cfg.RedirectURIs, uri)
	}
	u, err := url.Parse(uri)
	return err == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
}

func (s *Server) redeem(r *http.Request) (*Session, string, *refusal) {
	if no := s.client(r, false); no != nil {
		return nil, "", no
	}
	given := r.Form.Get("code")
	if given == "" {
		return nil, "", missingParam("code")
	}
	c := s.codes[given]
	delete(s.codes, given)
	switch {
	case c == nil:
		return nil, "", &refusal{"invalid_grant", "invalid authorization code", "Failed: Invalid Authorization Code"}
	case s.db.Now().Sub(c.made) > codeLife:
		return nil, "", &refusal{"invalid_grant", "expired authorization code", "Failed: Expired Authorization Code"}
	case r.Form.Get("redirect_uri") != c.redirect:
		return nil, "", &refusal{"redirect_uri_mismatch", "redirect_uri must match configuration", "Failed: Redirect URI Mismatch"}
	}
	verifier := r.Form.Get("code_verifier")
	secret := r.Form.Get("client_secret") != "" || r.Header.Get("Authorization") != ""
	switch {
	case c.challenge == "" && !secret:
		return nil, "", badSecret
	case c.challenge != "" && verifier == "":
		return nil, "", &refusal{"invalid_grant", "code verifier required", "Failed: Missing Code Verifier"}
	case c.challenge != "":
		sum := sha256.Sum256([]byte(verifier))
		if !equal(base64.RawURLEncoding.EncodeToString(sum[:]), strings.TrimRight(c.challenge, "=")) {
			return nil, "", &refusal{"invalid_grant", "invalid code verifier", "Failed: Invalid Code Verifier"}
		}
	}
	if no := s.allowed(c.userID); no != nil {
		return nil, "", no
	}
	refreshable := strings.Contains(c.scope, "refresh_token") || strings.Contains(c.scope, "offline_access")
	g := &grant{userID: c.userID, scope: c.scope, refresh: s.issue(newRefreshToken()), created: s.db.Now()}
	if !refreshable {
		x := s.open(c.userID, c.scope, nil)
		x.nonce = c.nonce
		return x, "", nil
	}
	s.pushOut(c.userID)
	s.grants[g.refresh] = g
	x := s.open(c.userID, c.scope, g)
	x.nonce = c.nonce
	return x, g.refresh, nil
}

// pushOut ends the oldest authorisations of a user beyond what an app may have.
func (s *Server) pushOut(userID string) {
	var mine []*grant
	for _, g := range s.grants {
		if g.userID == userID {
			mine = append(mine, g)
		}
	}
	slices.SortFunc(mine, func(a, b *grant) int { return a.created.Compare(b.created) })
	for len(mine) >= maxGrants {
		s.end(mine[0])
		mine = mine[1:]
	}
}
