// Package oauth owns who may use the org: the registered app, grants, access tokens and their ends, and the endpoints
// below /services/oauth2 and /id.
package oauth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// Config is the registered app and the policies of the org.
type Config struct {
	ClientID, ClientSecret string
	Password               string // of every user who logs in
	SecurityToken          string
	RedirectURIs           []string // empty: any on loopback
	JWTCerts               [][]byte // PEM
	Rotation               bool
	SessionTimeout         time.Duration // idle life of an access token
	Latest                 string        // version that ?version=latest stands for
	RunAs                  string        // user id of client credentials
	OrgID                  string        // 18 characters
}

// Session is one access token.
type Session struct {
	Token    string
	UserID   string
	Scope    string
	ClientID string
	grant    *grant
	issued   time.Time
	used     time.Time
	nonce    string // of the authorize request, for the id_token
}

// API reports whether the session may use data calls.
func (s *Session) API() bool {
	for _, scope := range strings.Fields(s.Scope) {
		if scope == "api" || scope == "full" || scope == "web" {
			return true
		}
	}
	return false
}

// grant is a user's approval of the app with its refresh token.
type grant struct {
	userID  string
	scope   string
	refresh string
	created time.Time
	dead    bool
}

// Server answers the OAuth endpoints and checks tokens. Its methods may be called at the same time.
type Server struct {
	cfg Config
	db  *store.DB

	mu       sync.Mutex
	sessions map[string]*Session
	grants   map[string]*grant // by current refresh token
	retired  map[string]*grant // by refresh tokens that were rotated away
	codes    map[string]*code
	logins   map[string]*login // authorize pages on the way, by their form token
	jtis     map[string]bool
	policy   Policy
	counters Counters
	issued   []string // every code and token so far, the oldest forgotten
	signer   signer
}

// Counters count what came to the token endpoint.
type Counters struct {
	Tokens    int64 // access tokens given
	Rotations int64 // refresh tokens that were replaced
	Reuses    int64 // refresh tokens that came again after they had been replaced, the grant being alive; each ends it
}

// Counters tells what came so far.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}

// Policy is what the org's admin allows; the zero value allows everything.
type Policy struct {
	RestrictIP     bool // logins answer "ip restricted"
	OutsideHours   bool // logins answer "invalid login hours"
	BlockApp       bool // the app is blocked by the admin
	RequireApprove bool // JWT bearer: the user has not approved the app
	NoRunAs        bool // client credentials: no user is set
	NoAPI          bool // sessions lack the api scope
	APIOnly        bool // the users may use the API only: they cannot log in through the pages
	Collide        int  // so many token requests answer retry_request
}

// New makes the OAuth side of an org.
func New(cfg Config, db *store.DB) *Server {
	return &Server{
		cfg: cfg, db: db, sessions: map[string]*Session{}, grants: map[string]*grant{}, retired: map[string]*grant{}, codes: map[string]*code{},
		logins: map[string]*login{}, jtis: map[string]bool{},
	}
}

// SetPolicy replaces the admin's policy.
func (s *Server) SetPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// SetRunAs sets the user of client credentials.
func (s *Server) SetRunAs(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.RunAs = userID
}

// ExpireAll ends every access token.
func (s *Server) ExpireAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Expire ends one access token.
func (s *Server) Expire(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, token)
}

// Check finds the live session of a token and counts the use.
func (s *Server) Check(token string) (*Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.sessions[token]
	if x == nil {
		return nil, false
	}
	now := s.db.Now()
	if now.Sub(x.used) > s.cfg.SessionTimeout {
		delete(s.sessions, token)
		return nil, false
	}
	x.used = now
	return x, true
}

// Origin is the request's own origin, which is the org's instance URL.
func Origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

var tokenAlphabet = strings.NewReplacer("-", ".", "_", "_")

// open makes a session; the caller holds s.mu.
func (s *Server) open(userID, scope string, g *grant) *Session {
	now := s.db.Now()
	x := &Session{Token: s.cfg.OrgID[:15] + "!AQEAQ" + tokenAlphabet.Replace(random(66)), UserID: userID, Scope: scope, ClientID: s.cfg.ClientID, grant: g, issued: now, used: now}
	if s.policy.NoAPI {
		x.Scope = "id"
	}
	s.sessions[s.issue(x.Token)] = x
	return x
}

// maxIssued is how many codes and tokens are remembered.
const maxIssued = 10_000

// issue remembers a code or token that is about to be given; the caller holds s.mu.
func (s *Server) issue(token string) string {
	if len(s.issued) >= maxIssued {
		s.issued = append(s.issued[:0], s.issued[maxIssued/2:]...)
	}
	s.issued = append(s.issued, token)
	return token
}

// Issued tells the codes and tokens that were given, oldest first.
func (s *Server) Issued() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.issued)
}

// NewSession opens a session for a user without any flow.
func (s *Server) NewSession(userID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(userID, "full", nil).Token
}

// NewGrant makes a user's approval of the app without any flow and returns its refresh token.
func (s *Server) NewGrant(userID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &grant{userID: userID, scope: defaultScope, refresh: s.issue(newRefreshToken()), created: s.db.Now()}
	s.grants[g.refresh] = g
	return g.refresh
}

// tokenReply is a success of the token endpoint, in Salesforce's order.
type tokenReply struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Signature    string `json:"signature"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token,omitempty"`
	InstanceURL  string `json:"instance_url"`
	ID           string `json:"id"`
	TokenType    string `json:"token_type"`
	IssuedAt     string `json:"issued_at"`
}

// passwordReply is the same for the username-password flow, which has another order and no scope.
type passwordReply struct {
	AccessToken string `json:"access_token"`
	InstanceURL string `json:"instance_url"`
	ID          string `json:"id"`
	TokenType   string `json:"token_type"`
	IssuedAt    string `json:"issued_at"`
	Signature   string `json:"signature"`
}

func (s *Server) identity(r *http.Request, userID string) string {
	return Origin(r) + "/id/" + s.cfg.OrgID + "/" + userID
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, x *Session, refresh string) {
	issued := strconv.FormatInt(x.issued.UnixMilli(), 10)
	id := s.identity(r, x.UserID)
	mac := hmac.New(sha256.New, []byte(s.cfg.ClientSecret))
	mac.Write([]byte(id + issued))
	out := tokenReply{
		AccessToken: x.Token, RefreshToken: refresh, Signature: base64.StdEncoding.EncodeToString(mac.Sum(nil)), InstanceURL: Origin(r), ID: id,
		TokenType: "Bearer", IssuedAt: issued, Scope: x.Scope,
	}
	byPassword := r.Form.Get("grant_type") == "password"
	if openID(x.Scope) {
		out.IDToken = s.idToken(r, x)
	}
	noStore(w)
	switch format := r.Form.Get("format"); {
	case format == "urlencoded" || format == "" && strings.HasPrefix(r.Header.Get("Accept"), "application/x-www-form-urlencoded"):
		form := url.Values{"access_token": {out.AccessToken}, "signature": {out.Signature}, "instance_url": {out.InstanceURL}, "id": {out.ID}, "token_type": {out.TokenType}, "issued_at": {out.IssuedAt}}
		if !byPassword {
			form.Set("scope", out.Scope)
		}
		if out.IDToken != "" {
			form.Set("id_token", out.IDToken)
		}
		if refresh != "" {
			form.Set("refresh_token", refresh)
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
		_, _ = w.Write([]byte(form.Encode()))
	case byPassword:
		reply.JSON(w, http.StatusOK, passwordReply{out.AccessToken, out.InstanceURL, out.ID, out.TokenType, out.IssuedAt, out.Signature})
	default:
		reply.JSON(w, http.StatusOK, out)
	}
}

func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-cache,must-revalidate,max-age=0,no-store,private")
	w.Header().Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
