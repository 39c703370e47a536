// Package oauthpage owns the pages by which a browser links an org with a user's consent: the start page, which says whose
// link it is before anybody goes to Salesforce, and the page at which Salesforce's redirect ends.
//
// It decides nothing and keeps nothing but a cookie: auth knows the tickets and states, and which browser session they
// belong to.
package oauthpage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// Paths of the pages. The callback is registered with apps in Salesforce.
const (
	PathStart    = "/oauth/start"
	PathCallback = "/oauth/callback"
)

// cookieSeconds is longer than a link may take.
const cookieSeconds = 20 * 60

// Pages serve the way of a browser to Salesforce and back.
type Pages struct {
	// Auth leads to the auth service.
	Auth authv1.ConnectionServiceClient
	// PublicURL is the origin at which browsers reach the pages.
	PublicURL string
	Log       *slog.Logger
}

// Handlers are the pages by method and path. That a form comes from a page of ours is for the caller to check.
func (p *Pages) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET " + PathStart:    http.HandlerFunc(p.start),
		"POST " + PathStart:   http.HandlerFunc(p.open),
		"GET " + PathCallback: http.HandlerFunc(p.callback),
	}
}

// URL is the address of the start page for a ticket.
func URL(publicURL, ticket string) string {
	return publicURL + PathStart + "?" + url.Values{"ticket": {ticket}}.Encode()
}

// Conn is a connection to auth that fills in where a browser goes on with a link that was begun. publicURL returns the
// origin at which browsers reach the pages; empty when they are not served.
func Conn(auth grpc.ClientConnInterface, publicURL func() string) grpc.ClientConnInterface {
	return urls{auth, publicURL}
}

type urls struct {
	grpc.ClientConnInterface
	publicURL func() string
}

// Invoke makes the call.
func (u urls) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if err := u.ClientConnInterface.Invoke(ctx, method, args, reply, opts...); err != nil {
		return err
	}
	if begun, ok := reply.(*authv1.BeginLinkResponse); ok && begun.GetTicket() != "" {
		if origin := u.publicURL(); origin != "" {
			begun.Url = URL(origin, begun.GetTicket())
		}
	}
	return nil
}

// internal is the context of the pages' own calls: nobody has signed in, and what they may do follows from the ticket, the
// state and the cookie.
func internal(r *http.Request) context.Context {
	return rpc.WithCaller(r.Context(), rpc.Caller{Subject: "gateway", Role: optionsv1.Role_ROLE_INTERNAL})
}

// start says whose link it is. It uses up nothing: mail scanners and previews come here too.
func (p *Pages) start(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	link, err := p.Auth.ShowLink(internal(r), &authv1.ShowLinkRequest{Ticket: ticket})
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, link.GetHost(), page{
		Title: "Link Salesforce",
		Text: "Salesforce will ask you to log in and to allow access. Go on only if you, or somebody whom you know, has just begun this: " +
			"whoever began it will then be able to read and write data of the org as the user with whom you log in.",
		Facts:  []fact{{"Catalog account", link.GetTenant()}, {"Begun by", link.GetAuthor()}, {"Salesforce login at", link.GetHost()}},
		Ticket: ticket, Callback: p.callbackURL(),
	})
}

func (p *Pages) callbackURL() string { return p.PublicURL + PathCallback }

// open binds the link to this browser and sends it to Salesforce.
func (p *Pages) open(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.refuse(w, r, errs.New(errs.Invalid, "bad_form", "the form cannot be read"))
		return
	}
	session := rand.Text() + rand.Text() // 260 random bits
	opened, err := p.Auth.OpenLink(internal(r), &authv1.OpenLinkRequest{
		Ticket: r.PostForm.Get("ticket"), SessionHash: hash(session), RedirectUri: p.callbackURL(),
	})
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.setCookie(w, session, cookieSeconds)
	secure(w)
	w.Header().Set("Location", opened.GetAuthorizeUrl())
	w.WriteHeader(http.StatusSeeOther)
}

// callback takes what Salesforce's redirect brought.
func (p *Pages) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query() // decodes once
	req := &authv1.FinishLinkRequest{
		State: valid(q.Get("state")), Code: valid(q.Get("code")), Error: valid(q.Get("error")), ErrorDescription: valid(q.Get("error_description")),
	}
	if c, err := r.Cookie(p.cookieName()); err == nil {
		req.SessionHash = hash(c.Value)
	}
	res, err := p.Auth.FinishLink(internal(r), req)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.setCookie(w, "", -1)
	link := res.GetLink()
	if link.GetState() == authv1.LinkState_LINK_STATE_LINKED {
		c := link.GetConnection()
		p.show(w, r, http.StatusOK, "", page{
			Title: "Linked", Mood: "good", Text: "Salesforce is linked. You may close this page.",
			Facts: []fact{{"Connection", c.GetName()}, {"Org", org(c)}, {"User", c.GetUsername()}, {"E-mail of the user", c.GetUserEmail()}},
		})
		return
	}
	p.show(w, r, http.StatusBadRequest, "", page{
		Title: "Not linked", Mood: "bad", Text: "The org is not linked, and nothing was stored.",
		Facts:  []fact{{"What happened", link.GetErrorDescription()}, {"Code", link.GetError()}},
		Advice: link.GetAdvice(), Callback: p.callbackURL(),
	})
}

func org(c *authv1.Connection) string {
	if c.GetOrgName() == "" {
		return c.GetOrgId()
	}
	return c.GetOrgName() + " (" + c.GetOrgId() + ")"
}

// valid replaces what is no text, which protobuf does not take.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// refuse shows why a page cannot go on.
func (p *Pages) refuse(w http.ResponseWriter, r *http.Request, err error) {
	content := page{Title: "This cannot go on", Mood: "bad", Text: errs.Message(err)}
	status := http.StatusBadRequest
	switch kind := errs.KindOf(err); kind {
	case errs.NotFound, errs.Invalid:
	case errs.Unavailable, errs.Exhausted, errs.RateLimited:
		status, content.Advice = kind.HTTP(), "Try again in a moment: begin the link again if the address no longer works."
	default:
		p.Log.ErrorContext(r.Context(), "a page of a link failed", telemetry.Err(err))
		status, content.Text = http.StatusInternalServerError, "Something went wrong here; the log of the services says more."
	}
	p.show(w, r, status, "", content)
}

func hash(session string) []byte {
	sum := sha256.Sum256([]byte(session))
	return sum[:]
}

func (p *Pages) secureOrigin() bool { return strings.HasPrefix(p.PublicURL, "https://") }

// cookieName has a prefix by which browsers let nobody but this host set the cookie, and only by HTTPS.
func (p *Pages) cookieName() string {
	if p.secureOrigin() {
		return "__Host-catalogsync-link"
	}
	return "catalogsync-link"
}

// setCookie sets the cookie. Lax, not Strict: the redirect back from Salesforce comes from another site.
func (p *Pages) setCookie(w http.ResponseWriter, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: p.cookieName(), Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: p.secureOrigin(), SameSite: http.SameSiteLaxMode,
	})
}
