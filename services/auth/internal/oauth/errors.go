package oauth

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Refusal is Salesforce's own no.
type Refusal struct {
	// Code is Salesforce's error code, such as invalid_client.
	Code string
	// Description is Salesforce's own words; at times empty.
	Description string
	// Status is the HTTP status that came with it.
	Status int
}

// Error quotes Salesforce. It holds no secret.
func (r *Refusal) Error() string { return "Salesforce says " + r.Words() }

// Words are Salesforce's code and text as one.
func (r *Refusal) Words() string {
	if r.Description == "" {
		return fmt.Sprintf("%q", r.Code)
	}
	return fmt.Sprintf("%q", r.Code+": "+r.Description)
}

// Scrubbed returns a refusal that came by way of a browser, with its texts made fit for logs and people.
func Scrubbed(code, description string) *Refusal {
	return &Refusal{Code: scrub(code, 64), Description: scrub(description, 512), Status: http.StatusBadRequest}
}

// Advice says what to do about it.
func (r *Refusal) Advice() string { return adviceFor(r.Code, r.Description).text }

// Definite reports whether the same request keeps being refused until somebody changes something at Salesforce or
// here. Codes that nobody knows are definite, unless the server says that it is at fault itself.
func (r *Refusal) Definite() bool {
	a := adviceFor(r.Code, r.Description)
	return !a.transient && (a.code != "" || r.Status < http.StatusInternalServerError)
}

// AtFault reports whether Salesforce says that it failed itself: it may have failed after it had done what was asked, so
// that nobody knows what became of a refresh token that was sent.
func (r *Refusal) AtFault() bool {
	if r.Status >= http.StatusInternalServerError {
		return true
	}
	switch strings.ToLower(r.Code) {
	case "server_error", "unknown_error", "service_unavailable", "temporarily_unavailable", "system_down":
		return true
	}
	return false
}

// NoAnswer says that a host could not be reached or answered something that is not OAuth. Nothing is known about the
// credentials.
type NoAnswer struct {
	Host   string // origin
	Status int    // HTTP status; 0 when nothing came
	Err    error  // why nothing came; nil when something did
}

// Error says what came instead of an answer. It holds no secret and nothing of the reply.
func (n *NoAnswer) Error() string {
	switch {
	case n.Err != nil:
		return fmt.Sprintf("%s could not be reached: %v", n.Host, n.Err)
	case n.Status >= 300 && n.Status < 400:
		return fmt.Sprintf("%s answers with a redirect (HTTP %d), which is not followed: give the org's My Domain host as Setup shows it", n.Host, n.Status)
	case n.Status == http.StatusOK:
		return fmt.Sprintf("%s answers, but with no token response: is it the org's My Domain?", n.Host)
	case n.Status >= http.StatusInternalServerError, n.Status == http.StatusTooManyRequests:
		return fmt.Sprintf("%s is at fault or overloaded (HTTP %d)", n.Host, n.Status)
	default:
		return fmt.Sprintf("%s answers HTTP %d without an OAuth error: is it the org's My Domain?", n.Host, n.Status)
	}
}

// Unwrap returns why nothing came.
func (n *NoAnswer) Unwrap() error { return n.Err }

// Untrusted says that an answer came which is not to be believed.
type Untrusted struct {
	Host    string // origin
	Problem string // what is wrong with the answer
}

// Error says what is wrong with the answer.
func (u *Untrusted) Error() string {
	return fmt.Sprintf("the answer of %s is not trusted: %s", u.Host, u.Problem)
}

// secretShapes are what Salesforce's secrets look like: access tokens, refresh tokens, JSON web tokens.
var secretShapes = regexp.MustCompile(`00D\w{12,15}![\w.]*|5Aep[\w.]+|eyJ[\w-]+\.[\w-]+(\.[\w-]*)?`)

// scrub makes text from outside fit for logs and people: secrets out, control characters out, at most n bytes.
func scrub(s string, n int, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) >= 6 { // shorter ones are words of the text
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	s = secretShapes.ReplaceAllString(s, "[redacted]")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return strings.TrimSpace(s)
}
