package signin

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestFlow(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		f := newFlow()
		if !f.valid() || !f.began(f.state()) || f.began(f.nonce()) || f.began("") {
			t.Fatalf("flow %q", f)
		}
		for _, s := range []string{string(f), f.state(), f.nonce(), f.verifier()} {
			if seen[s] || len(s) != 43 { // 256 bits; a verifier has 43 characters at least
				t.Fatalf("%q", s)
			}
			seen[s] = true
		}
	}
	for _, f := range []flow{"", "x", flow(strings.Repeat("x", 44)), flow(strings.Repeat("*", 43)), flow(strings.Repeat("A", 42) + "B")} {
		if f.valid() || f.began(f.state()) {
			t.Errorf("%q is taken for a flow", f)
		}
	}
}

// Whatever a browser brings back, it comes in with the sign-in that it began alone, and the page shows no markup of others.
func FuzzCallback(f *testing.F) {
	iss := testkit.NewIssuer(f)
	p := &Pages{
		Issuer: NewIssuer(Config{Issuer: iss.URL, ClientID: iss.ClientID, Algorithms: []string{"RS256"}}), PublicURL: "https://sync.example.com", Log: slog.New(slog.DiscardHandler),
	}
	own := newFlow()
	f.Add("code=x&state="+own.state(), string(own))
	f.Add("code=x&state="+own.state(), "")
	f.Add("error=access_denied&state="+own.state(), string(own))
	f.Add("error=%3Cscript%3E&state="+own.state(), string(own))
	f.Add("state=a&state=b&code=c&iss=d", string(newFlow()))
	f.Add("%zz", "\x00")
	f.Add(";&=", "a;b")
	iss.Down.Store(true) // nobody gets further than this
	f.Fuzz(func(t *testing.T, query, cookie string) {
		r := httptest.NewRequest(http.MethodGet, "/signin/callback", nil)
		r.URL.RawQuery = query
		r.Header.Set("Cookie", p.cookieName("signin")+"="+url.QueryEscape(cookie))
		w := httptest.NewRecorder()
		p.callback(w, r)
		if w.Code < 400 || strings.Contains(strings.Join(w.Header().Values("Set-Cookie"), "\n"), "session=") && !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
			t.Errorf("%q with cookie %q: %d %v", query, cookie, w.Code, w.Header())
		}
		if body := w.Body.String(); strings.Contains(body, "<script") || strings.Count(body, "<") > 20 {
			t.Errorf("%q: %s", query, body)
		}
	})
}

type scripted struct {
	asked int
	err   error
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(r.URL.Path)), Request: r}, nil
}

func TestTheIssuerIsNotAskedAllTheTime(t *testing.T) {
	t.Parallel()
	next, now := &scripted{}, time.Now()
	c := newRecent(next)
	c.now = func() time.Time { return now }
	get := func(path string) (string, error) {
		req := httptest.NewRequest(http.MethodGet, "https://issuer.example"+path, nil)
		res, err := c.RoundTrip(req)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(res.Body)
		return string(body), err
	}
	for range 100 {
		if body, err := get("/keys"); body != "/keys" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
	}
	if body, err := get("/other"); body != "/other" || err != nil || next.asked != 2 {
		t.Errorf("%q, %v, asked %d times", body, err, next.asked)
	}
	now = now.Add(recentFor)
	next.err = errors.New("down")
	for range 100 {
		if _, err := get("/keys"); err == nil {
			t.Fatal("an old answer was given")
		}
	}
	if next.asked != 3 {
		t.Errorf("asked %d times", next.asked)
	}
	next.err, now = nil, now.Add(recentFor)
	if body, err := get("/keys"); body != "/keys" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}
