package cli_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/cli"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
)

// browser is a browser of somebody who links.
type browser struct {
	t      *testing.T
	client *http.Client
}

// page is what a browser shows.
type page struct {
	status int
	body   string
	header http.Header
	url    *url.URL
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t, &http.Client{Transport: transport, Jar: jar, Timeout: 30 * time.Second}}
}

func (b *browser) show(res *http.Response, err error) page {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, string(body), res.Header, res.Request.URL}
}

func (b *browser) get(address string) page {
	b.t.Helper()
	return b.show(b.client.Get(address))
}

func (b *browser) post(address string, form url.Values) page {
	b.t.Helper()
	return b.show(b.client.PostForm(address, form))
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]+)">`)

// submit sends the form of a page with more values.
func (b *browser) submit(p page, path string, more url.Values) page {
	b.t.Helper()
	for _, field := range hidden.FindAllStringSubmatch(p.body, -1) {
		more.Set(field[1], field[2])
	}
	if len(more) == 0 {
		b.t.Fatalf("no form on the page: %s", p.body)
	}
	return b.post(p.url.Scheme+"://"+p.url.Host+path, more)
}

// toConsent goes from the start page to Salesforce's consent page.
func (b *browser) toConsent(address string) page {
	b.t.Helper()
	login := b.submit(b.get(address), "/oauth/start", url.Values{})
	if !strings.Contains(login.body, `id="Login"`) {
		b.t.Fatalf("no login page: %d %s", login.status, login.body)
	}
	return b.submit(login, "/services/oauth2/authorize", url.Values{"do": {"login"}, "username": {"admin@simulator.example"}, "pw": {"simulator-password"}})
}

// decide answers the consent page. The browser ends at our callback page.
func (b *browser) decide(consent page, decision string) page {
	b.t.Helper()
	return b.submit(consent, "/services/oauth2/authorize", url.Values{"do": {decision}})
}

// comeBack is decide for a browser that does not follow the redirect; it returns the callback's address.
func (b *browser) comeBack(consent page, decision string) string {
	b.t.Helper()
	follow := b.client.CheckRedirect
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { b.client.CheckRedirect = follow }()
	back := b.decide(consent, decision).header.Get("Location")
	if !strings.Contains(back, "/oauth/callback?") {
		b.t.Fatalf("the browser is sent to %q", back)
	}
	return back
}

// linking is a `catalogsync link --web` that waits.
type linking struct {
	url  string
	done chan result
}

// linkByWeb calls link --web and returns when it has said where a browser goes on.
func (w *world) linkByWeb(t *testing.T, args ...string) *linking {
	t.Helper()
	secret := w.file(t, "secret", w.org.ClientSecret()+"\n")
	args = append([]string{"link", "--web", "--host", w.org.URL, "--client-id", w.org.ClientID(), "--client-secret-file", secret}, args...)
	l := &linking{done: make(chan result, 1)}
	var out, errOut buffer
	go func() {
		err := cli.Run(t.Context(), &app.Env{Name: "catalogsync", Args: args, Environ: w.environ, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut})
		r := result{out: out.String(), errOut: errOut.String()}
		if err != nil {
			r.code, r.errOut = 1, r.errOut+err.Error()
		}
		l.done <- r
	}()
	testkit.Eventually(t, 10*time.Second, func() error {
		found := regexp.MustCompile(`http://\S+/oauth/start\?ticket=\S+`).FindString(errOut.String())
		if found == "" {
			return io.ErrUnexpectedEOF
		}
		l.url = found
		return nil
	})
	return l
}

func TestLinkByConsentWithABrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Rotation: true})
	l := w.linkByWeb(t)
	b := newBrowser(t)
	start := b.get(l.url)
	contains(t, start.body, "acme", "Begun by", "test", w.org.URL, "Did you see a Salesforce error?", "OAUTH_APPROVAL_ERROR_GENERIC", "/oauth/callback", "Continue to Salesforce")
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
	} {
		if got := start.header.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	contains(t, start.header.Get("Content-Security-Policy"), "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", w.org.URL)
	contains(t, w.ok(t, "connections"), "linking")
	contains(t, w.ok(t, "status"), "not linked")

	// Not by a form of another site.
	u, _ := url.Parse(l.url)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+u.Host+"/oauth/start", strings.NewReader(u.RawQuery))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if p := b.show(b.client.Do(req)); p.status != http.StatusForbidden {
		t.Errorf("a form of another site gets %d", p.status)
	}

	back := b.comeBack(b.toConsent(l.url), "allow")
	// In another browser, and in none, it is refused; the ticket does not work twice.
	for name, other := range map[string]page{
		"another browser": newBrowser(t).get(back), "the ticket again": b.get(l.url),
		"no state": b.get("http://" + u.Host + "/oauth/callback?code=x"), "a made-up ticket": b.get("http://" + u.Host + "/oauth/start?ticket=lnk_x.y"),
	} {
		if other.status != http.StatusBadRequest || !strings.Contains(other.body, "Begin the link again") {
			t.Errorf("%s: %d %s", name, other.status, other.body)
		}
	}
	contains(t, w.ok(t, "status"), "not linked")
	done := b.get(back)
	if done.status != http.StatusOK {
		t.Fatalf("%d %s", done.status, done.body)
	}
	contains(t, done.body, "Linked", w.org.OrgID(), "admin@simulator.example", "You may close this page")
	if again := b.get(back); again.status != http.StatusBadRequest || !strings.Contains(again.body, "Begin the link again") {
		t.Errorf("the callback twice: %d %s", again.status, again.body)
	}
	r := <-l.done
	if r.code != 0 {
		t.Fatalf("link ends with %s", r.errOut)
	}
	contains(t, r.out, "linked", "web server", w.org.OrgID(), "api refresh_token id")
	contains(t, w.ok(t, "status"), "linked")
	contains(t, w.ok(t, "test"), "The connection works")

	// Unlinking asks; then nothing can run.
	w.fails(t, 2, []string{"--yes", "It is the last one", "no run can be undone"}, "unlink")
	contains(t, w.ok(t, "status"), "linked")
	w.ok(t, "map", "set", w.file(t, "map.yaml", mapFile))
	id := regexp.MustCompile(`con_\w+`).FindString(r.out)
	gone := w.call(t, "unlink", "--yes")
	contains(t, gone.out, "unlinked", id)
	contains(t, gone.errOut, "the data key is destroyed")
	contains(t, w.ok(t, "connections"), "unlinked")
	contains(t, w.ok(t, "status"), "not linked")
	for _, args := range [][]string{{"run"}, {"plan"}, {"test"}, {"schedule", "set", "02:00", "--zone", "UTC"}} {
		if r := w.call(t, args...); r.code == 0 {
			t.Errorf("%v is possible after unlinking: %s", args, r.out)
		}
	}
	w.fails(t, 1, []string{"unlinked"}, "run", "--connection", id)
}

func TestConsentThatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	l := w.linkByWeb(t)
	b := newBrowser(t)
	end := b.decide(b.toConsent(l.url), "deny")
	if end.status != http.StatusBadRequest {
		t.Errorf("status %d", end.status)
	}
	contains(t, end.body, "Not linked", "access_denied", "end-user denied authorization", "What to do", "Did you see a Salesforce error?")
	if r := <-l.done; r.code == 0 {
		t.Errorf("link ends with %s", r.out)
	} else {
		contains(t, r.errOut, "access_denied", "end-user denied authorization", "allow access")
	}
	// What Salesforce says is text, whatever it is.
	l = w.linkByWeb(t)
	back, err := url.Parse(b.comeBack(b.toConsent(l.url), "deny"))
	if err != nil {
		t.Fatal(err)
	}
	q := back.Query()
	q.Set("error", `x"><script>alert(1)</script>`)
	q.Set("error_description", "<img src=x onerror=alert(1)>\x1b[2J")
	back.RawQuery = q.Encode()
	end = b.get(back.String())
	if strings.Contains(end.body, "<script") || strings.Contains(end.body, "<img") || !strings.Contains(end.body, "&lt;img") {
		t.Errorf("the page is %s", end.body)
	}
	if r := <-l.done; strings.Contains(r.errOut, "\x1b") {
		t.Errorf("the terminal gets %q", r.errOut)
	}
}

func TestLinkFlagsThatDoNotFit(t *testing.T) {
	t.Parallel()
	environ := []string{"CATALOGSYNC_TOKEN=x"}
	for line, word := range map[string]string{
		"link --web --jwt":                                "--web and --jwt",
		"link --jwt --host h --client-id i":               "--username",
		"link --jwt --username u --key a --signing-key b": "either --key or --signing-key",
		"link --username u --host h --client-id i":        "--jwt",
		"link --sandbox --host h --web":                   "--sandbox and --host",
		"link --company x --host h --client-id i":         "--source",
		"link --source a --name b":                        "--source and --name",
		"link --reconnect=x --replace-org y":              "--reconnect keeps the org",
		"link --host h":                                   "--client-id",
	} {
		r := call(t.Context(), environ, nil, strings.Fields(line)...)
		if r.code != 2 || !strings.Contains(r.errOut, word) {
			t.Errorf("%s: %d %s", line, r.code, r.errOut)
		}
	}
}
