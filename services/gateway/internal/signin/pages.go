package signin

import (
	"context"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
)

// Paths of the pages.
const (
	PathBegin    = "/signin"
	PathCallback = "/signin/callback"
	PathDone     = "/signin/done"
	PathSignOut  = "/signout"
)

const (
	flowSeconds    = 10 * 60
	sessionSeconds = int(access.SessionLife / 1e9)
)

// Pages serve the way in and out for browsers.
type Pages struct {
	// Issuer is where people sign in.
	Issuer *Issuer
	// Sessions keep those who have.
	Sessions *access.Sessions
	// Audit writes down that somebody signs in; when it fails, nobody does.
	Audit func(ctx context.Context, c rpc.Caller, name string) error
	// PublicURL is the origin at which browsers reach the pages.
	PublicURL string
	Log       *slog.Logger
}

// Handlers are the pages by method and path.
func (p *Pages) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET " + PathBegin:    http.HandlerFunc(p.begin),
		"GET " + PathCallback: http.HandlerFunc(p.callback),
		"GET " + PathDone:     http.HandlerFunc(p.done),
		"POST " + PathSignOut: http.HandlerFunc(p.signOut),
	}
}

// Session returns the secret of the session that a request brings; empty for none.
func (p *Pages) Session(r *http.Request) string {
	c, err := r.Cookie(p.cookieName("session"))
	if err != nil {
		return ""
	}
	return c.Value
}

func (p *Pages) secure() bool { return strings.HasPrefix(p.PublicURL, "https://") }

// cookieName has a prefix by which browsers let nobody but this host set the cookie, and only by HTTPS.
func (p *Pages) cookieName(what string) string {
	if p.secure() {
		return "__Host-catalogsync-" + what
	}
	return "catalogsync-" + what
}

// setCookie sets a cookie, or takes it away where the value is empty.
func (p *Pages) setCookie(w http.ResponseWriter, what, value string, seconds int, same http.SameSite) {
	if value == "" {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: p.cookieName(what), Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: p.secure(), SameSite: same,
	})
}

// begin sends the browser to the issuer.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request) {
	c, err := p.Issuer.oauth(r.Context(), p.PublicURL+PathCallback)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	f := newFlow()
	// Lax: the way back from the issuer begins at another site.
	p.setCookie(w, "signin", string(f), flowSeconds, http.SameSiteLaxMode)
	headers(w)
	http.Redirect(w, r, c.AuthCodeURL(f.state(), oidc.Nonce(f.nonce()), oauth2.S256ChallengeOption(f.verifier())), http.StatusSeeOther)
}

// callback is where the issuer sends the browser back to.
func (p *Pages) callback(w http.ResponseWriter, r *http.Request) {
	var f flow
	if c, err := r.Cookie(p.cookieName("signin")); err == nil {
		f = flow(c.Value)
	}
	p.setCookie(w, "signin", "", 0, http.SameSiteLaxMode)
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(q["state"]) != 1 || !f.began(q.Get("state")) {
		p.fail(w, r, errs.New(errs.Unauthenticated, "unknown_sign_in", "this sign-in was not begun in this browser, took more than ten minutes, or is over: sign in again"))
		return
	}
	if iss, ok := q["iss"]; ok && (len(iss) != 1 || iss[0] != p.Issuer.cfg.Issuer) {
		p.fail(w, r, errs.New(errs.Unauthenticated, "wrong_issuer", "another issuer answered: sign in again"))
		return
	}
	if code := q.Get("error"); code != "" {
		p.fail(w, r, errs.New(errs.Unauthenticated, "sign_in_refused", "the issuer refused the sign-in: %s", word(code)))
		return
	}
	if len(q["code"]) != 1 || q.Get("code") == "" {
		p.fail(w, r, errs.New(errs.Unauthenticated, "sign_in_refused", "the issuer sent no code: sign in again"))
		return
	}
	if err := p.enter(w, r, f, q.Get("code")); err != nil {
		p.fail(w, r, err)
		return
	}
	// A page of our own goes on, and not the redirect: the session's cookie goes only with what begins here.
	p.page(w, r, http.StatusOK, view{Title: "Signed in", Text: "You are signed in.", Next: PathDone, Link: "Go on"})
}

// enter begins a session for who signed in, with a secret of its own, and ends the one that the browser had.
func (p *Pages) enter(w http.ResponseWriter, r *http.Request, f flow, code string) error {
	who, err := p.Issuer.redeem(r.Context(), p.PublicURL+PathCallback, code, f)
	if err != nil {
		return err
	}
	if err := p.Audit(r.Context(), who.caller(), who.name); err != nil {
		return err
	}
	if old := p.Session(r); old != "" {
		if err := p.Sessions.End(r.Context(), old); err != nil {
			return err
		}
	}
	secret, err := p.Sessions.Begin(r.Context(), who.caller())
	if err != nil {
		return err
	}
	p.setCookie(w, "session", secret.Expose(), sessionSeconds, http.SameSiteStrictMode)
	return nil
}

// done says who is signed in, and lets them sign out.
func (p *Pages) done(w http.ResponseWriter, r *http.Request) {
	s, err := p.Sessions.Use(r.Context(), p.Session(r), true)
	if errs.KindOf(err) == errs.Unauthenticated {
		p.page(w, r, http.StatusOK, view{Title: "Not signed in", Text: "You are not signed in.", Link: "Sign in", To: PathBegin})
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.page(w, r, http.StatusOK, view{
		Title: "Signed in", Text: "You are signed in to tenant " + s.Tenant + " as " + strings.ToLower(strings.TrimPrefix(s.Role.String(), "ROLE_")) + ".",
		SignOut: PathSignOut,
	})
}

// signOut ends the session. That the request comes from a page of ours is checked before.
func (p *Pages) signOut(w http.ResponseWriter, r *http.Request) {
	if secret := p.Session(r); secret != "" {
		if err := p.Sessions.End(r.Context(), secret); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	p.setCookie(w, "session", "", 0, http.SameSiteStrictMode)
	p.page(w, r, http.StatusOK, view{Title: "Signed out", Text: "You are signed out.", Link: "Sign in again", To: PathBegin})
}

// view is what a page shows.
type view struct {
	Title, Text string
	Link, To    string // a link, and where it leads; to Next where To is empty
	Next        string // where the page goes by itself
	SignOut     string // where the form for signing out is sent
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}} - catalogsync</title>
{{- if .Next}}<meta http-equiv="refresh" content="0;url={{.Next}}">{{end}}
<meta name="viewport" content="width=device-width"></head><body><h1>{{.Title}}</h1><p>{{.Text}}</p>
{{- if .Link}}<p><a href="{{if .To}}{{.To}}{{else}}{{.Next}}{{end}}">{{.Link}}</a></p>{{end}}
{{- if .SignOut}}<form method="post" action="{{.SignOut}}"><button>Sign out</button></form>{{end}}
</body></html>
`))

func (p *Pages) page(w http.ResponseWriter, r *http.Request, status int, v view) {
	headers(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := page.Execute(w, v); err != nil {
		p.Log.DebugContext(r.Context(), "a page was not sent whole", telemetry.Err(err))
	}
}

// headers keep the pages out of caches and frames, and whatever they might be made to hold from running.
func headers(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// fail shows an error.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	p.Log.LogAttrs(r.Context(), errs.KindOf(err).Level(), "sign-in failed", slog.String(telemetry.KeyReason, errs.ReasonOf(err)), telemetry.Err(err))
	p.page(w, r, errs.KindOf(err).HTTP(), view{Title: "Not signed in", Text: errs.Message(err), Link: "Sign in again", To: PathBegin})
}

// word makes an error code of the issuer fit to be shown: RFC 6749 gives them a narrow alphabet.
func word(code string) string {
	ok := len(code) <= 64 && !strings.ContainsFunc(code, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' })
	if !ok {
		return "it gave a reason that cannot be shown"
	}
	return code
}
