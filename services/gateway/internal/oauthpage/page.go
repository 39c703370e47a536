package oauthpage

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"

	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:38em;margin:3em auto;padding:0 1em;color:#1a1a1a;background:#fff}
h1{font-size:1.5em}dt{color:#555;font-size:.9em}dd{margin:0 0 .8em;overflow-wrap:anywhere}
button{font:inherit;padding:.6em 1.4em;border:0;border-radius:.4em;background:#0b5cab;color:#fff;cursor:pointer}
.good{border-left:.4em solid #2e844a;padding-left:1em}.bad{border-left:.4em solid #b3261e;padding-left:1em}
.hint{margin-top:2.5em;font-size:.95em;color:#333}code{overflow-wrap:anywhere}`

var pages = template.Must(template.New("frame").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}} | catalogsync</title>
<style>` + style + `</style></head><body>
<main><h1{{with .Mood}} class="{{.}}"{{end}}>{{.Title}}</h1>
{{with .Text}}<p id="text">{{.}}</p>{{end}}
{{with .Facts}}<dl>{{range .}}{{if .Value}}<dt>{{.Name}}</dt><dd>{{.Value}}</dd>{{end}}{{end}}</dl>{{end}}
{{with .Advice}}<p id="advice"><strong>What to do:</strong> {{.}}</p>{{end}}
{{with .Ticket}}<form method="post" action="/oauth/start"><input type="hidden" name="ticket" value="{{.}}"><button>Continue to Salesforce</button></form>{{end}}
{{with .Callback}}<section class="hint"><h2>Did you see a Salesforce error?</h2>
<p>Some errors end at a page of Salesforce, which does not lead back here. Then this link is not made, and the attempt ends by itself.</p>
<ul>
<li><strong>redirect_uri_mismatch</strong>: add <code id="callback">{{.}}</code> to the callback URLs in the app's OAuth settings.</li>
<li><strong>OAUTH_APPROVAL_ERROR_GENERIC</strong>, or the app must be installed: an admin of the org installs or unblocks the app under Setup &gt; Connected Apps OAuth Usage.</li>
<li><strong>invalid_client_id</strong>: copy the consumer key again. A new app takes 2 to 10 minutes to become known. Check that the host is that of the org with the app.</li>
<li><strong>The login is refused</strong> though the password is right: the user may use the API only, or may not log in from here or at this hour. Consent as a user who may use the web interface, or link by client credentials or with a signed key instead.</li>
</ul></section>{{end}}
</main></body></html>
`))

// fact is a line of what is known.
type fact struct{ Name, Value string }

// page is what a template shows.
type page struct {
	Title    string
	Mood     string // good, bad or nothing
	Text     string
	Facts    []fact
	Advice   string
	Ticket   string // of the form; empty for none
	Callback string // of the hints; empty for none
}

// styleSource allows the one style of the pages, and no other.
var styleSource = func() string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// show writes a page. The browser may send its form to the host too, since it is redirected there.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, status int, host string, content page) {
	var b bytes.Buffer
	if err := pages.Execute(&b, content); err != nil {
		p.Log.ErrorContext(r.Context(), "page not written", telemetry.Err(err))
		http.Error(w, "Something went wrong here; the log of the services says more.", http.StatusInternalServerError)
		return
	}
	forms := "'none'"
	if content.Ticket != "" {
		// Salesforce's own redirects belong to the same submission.
		forms = "'self' https://*.salesforce.com"
		if u, err := url.Parse(host); err == nil && u.Host != "" {
			forms += " " + u.Scheme + "://" + u.Host
		}
	}
	secure(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src "+styleSource+"; form-action "+forms+"; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// secure sets the headers that all answers have: addresses here hold secrets, which must not be kept or passed on.
func secure(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
}
