package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/gateway"
)

// visit makes a request as a browser does, follows nothing, and returns the answer with its body.
func visit(t *testing.T, method, address, form string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestBeginLinkNamesThePage(t *testing.T) {
	t.Parallel()
	for name, public := range map[string]string{"its own address": "", "the public one": "https://sync.example.com"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, func(c *gateway.Config) { c.PublicURL = public })
			w.reply(authv1.ConnectionService_BeginLink_FullMethodName, &authv1.BeginLinkResponse{LinkId: "lnk_1", Ticket: "lnk_1.a+b"})
			// The page's address is known once the HTTP server listens, which an answer of it proves.
			visit(t, http.MethodGet, w.url+"/healthz", "", nil)
			ctx := with(t.Context(), w.token(t, "acme", admin))
			res, err := authv1.NewConnectionServiceClient(w.conn).BeginLink(ctx, &authv1.BeginLinkRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if public == "" {
				public = w.url
			}
			if want := public + "/oauth/start?ticket=lnk_1.a%2Bb"; res.GetUrl() != want {
				t.Errorf("URL is %s, want %s", res.GetUrl(), want)
			}
		})
	}
}

func TestStartPage(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.answer(authv1.ConnectionService_ShowLink_FullMethodName, func(_ context.Context, req proto.Message, send func(proto.Message) error) error {
		if req.(*authv1.ShowLinkRequest).GetTicket() != "t" {
			return errs.New(errs.NotFound, "bad_ticket", "this address is not valid any more")
		}
		return send(&authv1.ShowLinkResponse{Tenant: "<script>alert(1)</script>", Author: "mia & co", Host: "https://acme.my.salesforce.com"})
	})
	res, body := visit(t, http.MethodGet, w.url+"/oauth/start?ticket=t", "", nil)
	if res.StatusCode != http.StatusOK || strings.Contains(body, "<script") || !strings.Contains(body, "mia &amp; co") || !strings.Contains(body, `value="t"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	csp := res.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "style-src 'sha256-", "form-action 'self' https://*.salesforce.com https://acme.my.salesforce.com", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, part) {
			t.Errorf("the policy is %q, without %q", csp, part)
		}
	}
	if strings.Contains(csp, "unsafe") || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Referrer-Policy") != "no-referrer" || len(res.Cookies()) != 0 {
		t.Errorf("headers are %v", res.Header)
	}
	// The one style of the page is the one that the policy allows.
	style := body[strings.Index(body, "<style>")+len("<style>") : strings.Index(body, "</style>")]
	if sum := sha256.Sum256([]byte(style)); !strings.Contains(csp, b64(sum[:])) {
		t.Error("the policy does not allow the style of the page")
	}
	for _, call := range w.got(authv1.ConnectionService_ShowLink_FullMethodName) {
		if call.caller.Role != optionsv1.Role_ROLE_INTERNAL || call.caller.Tenant != "" {
			t.Errorf("the page calls as %v", call.caller)
		}
	}
	if res, body := visit(t, http.MethodGet, w.url+"/oauth/start?ticket=x", "", nil); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "not valid any more") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
		if res, _ := visit(t, method, w.url+"/oauth/start?ticket=t", "", nil); res.StatusCode < 400 {
			t.Errorf("%s gets %d", method, res.StatusCode)
		}
	}
}

func TestOpeningSetsACookieAndRedirects(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ public, cookie string }{
		"https":    {"https://sync.example.com", "__Host-catalogsync-link"},
		"loopback": {"", "catalogsync-link"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, func(c *gateway.Config) { c.PublicURL = tc.public })
			w.reply(authv1.ConnectionService_OpenLink_FullMethodName, &authv1.OpenLinkResponse{AuthorizeUrl: "https://login.salesforce.com/services/oauth2/authorize?state=s"})
			for _, cross := range []http.Header{
				{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
			} {
				if res, _ := visit(t, http.MethodPost, w.url+"/oauth/start", "ticket=t", cross); res.StatusCode != http.StatusForbidden {
					t.Errorf("%v gets %d", cross, res.StatusCode)
				}
			}
			if n := len(w.got(authv1.ConnectionService_OpenLink_FullMethodName)); n != 0 {
				t.Fatalf("%d links were opened from elsewhere", n)
			}
			res, body := visit(t, http.MethodPost, w.url+"/oauth/start", "ticket=t", http.Header{"Sec-Fetch-Site": {"same-origin"}})
			if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "https://login.salesforce.com/services/oauth2/authorize?state=s" ||
				res.Header.Get("Referrer-Policy") != "no-referrer" || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v %s", res.StatusCode, res.Header, body)
			}
			cookies := res.Cookies()
			if len(cookies) != 1 {
				t.Fatalf("cookies are %v", cookies)
			}
			c := cookies[0]
			if c.Name != tc.cookie || len(c.Value) < 43 || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != (tc.public != "") {
				t.Errorf("cookie is %v", c)
			}
			opened := w.got(authv1.ConnectionService_OpenLink_FullMethodName)[0].sent[0].(*authv1.OpenLinkRequest)
			sum := sha256.Sum256([]byte(c.Value))
			public := tc.public
			if public == "" {
				public = w.url
			}
			if opened.GetTicket() != "t" || !bytes.Equal(opened.GetSessionHash(), sum[:]) || opened.GetRedirectUri() != public+"/oauth/callback" {
				t.Errorf("auth is told %v", opened)
			}
			res, _ = visit(t, http.MethodPost, w.url+"/oauth/start", "ticket=t", nil)
			if again := res.Cookies(); len(again) != 1 || again[0].Value == c.Value {
				t.Error("two links get the same cookie")
			}
		})
	}
}

func TestCallbackPage(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.answer(authv1.ConnectionService_FinishLink_FullMethodName, func(_ context.Context, req proto.Message, send func(proto.Message) error) error {
		switch r := req.(*authv1.FinishLinkRequest); {
		case r.GetState() == "bad":
			return errs.New(errs.NotFound, "bad_state", "this answer does not belong to a link that was begun in this browser")
		case r.GetState() == "down":
			return errs.New(errs.Unavailable, "no_bus", "NATS does not answer")
		case r.GetState() == "broken":
			return errs.New(errs.Internal, "broken", "canary of an internal error")
		case r.GetError() != "":
			return send(&authv1.FinishLinkResponse{Link: &authv1.GetLinkResponse{
				State: authv1.LinkState_LINK_STATE_FAILED, Error: r.GetError(), ErrorDescription: r.GetErrorDescription(), Advice: "Do this.",
			}})
		}
		return send(&authv1.FinishLinkResponse{Link: &authv1.GetLinkResponse{
			State: authv1.LinkState_LINK_STATE_LINKED, Connection: &authv1.Connection{Name: "<b>Sales</b>", OrgId: "00D5g000001AbCdEAK", OrgName: "acme.my.salesforce.com", Username: "u@acme.example"},
		}})
	})
	evil := `"><img src=x onerror=alert(1)><script>alert(2)</script>`
	for name, tc := range map[string]struct {
		query  string
		status int
		words  []string
	}{
		"linked":   {"state=s&code=aPrx%3D%3D", 200, []string{"Linked", "&lt;b&gt;Sales", "acme.my.salesforce.com (00D5g000001AbCdEAK)", "u@acme.example"}},
		"refused":  {"state=s&" + url.Values{"error": {evil}, "error_description": {evil}}.Encode(), 400, []string{"Not linked", "&lt;img", "Do this.", "Did you see a Salesforce error?"}},
		"no text":  {"state=s&error=%ff%fe&error_description=%00", 400, []string{"Not linked"}},
		"bad":      {"state=bad", 400, []string{"does not belong"}},
		"down":     {"state=down", 503, []string{"NATS does not answer", "Try again"}},
		"broken":   {"state=broken", 500, []string{"Something went wrong here"}},
		"nonsense": {"%zz&;;=&state=bad", 400, nil},
	} {
		res, body := visit(t, http.MethodGet, w.url+"/oauth/callback?"+tc.query, "", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Cookie": {"catalogsync-link=abc"}})
		if res.StatusCode != tc.status || strings.Contains(body, "<img") || strings.Contains(body, "<script") || strings.Contains(body, "<b>") || strings.Contains(body, "canary") {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
		for _, word := range tc.words {
			if !strings.Contains(body, word) {
				t.Errorf("%s: there is no %q in %s", name, word, body)
			}
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || !strings.Contains(csp, "form-action 'none'") || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers are %v", name, res.Header)
		}
	}
	sum := sha256.Sum256([]byte("abc"))
	for _, call := range w.got(authv1.ConnectionService_FinishLink_FullMethodName) {
		r := call.sent[0].(*authv1.FinishLinkRequest)
		if !bytes.Equal(r.GetSessionHash(), sum[:]) {
			t.Errorf("auth is told %v", r)
		}
		if r.GetState() == "s" && r.GetError() == "" && r.GetCode() != "aPrx==" {
			t.Errorf("the code is %q", r.GetCode())
		}
	}
}

func TestNoRunOnWhatIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := with(t.Context(), w.token(t, "acme", admin))
	for name, tc := range map[string]struct {
		connection *authv1.Connection
		reason     string
	}{
		"a source": {&authv1.Connection{Id: "con_acme", Purpose: authv1.Purpose_PURPOSE_SOURCE, State: authv1.ConnectionState_CONNECTION_STATE_LINKED}, "source_is_read_only"},
		"unlinked": {&authv1.Connection{Id: "con_acme", State: authv1.ConnectionState_CONNECTION_STATE_UNLINKED}, "unlinked"},
	} {
		w.reply(authv1.ConnectionService_GetConnection_FullMethodName, &authv1.GetConnectionResponse{Connection: tc.connection})
		for _, method := range []string{"/catalogsync.sync.v1.RunService/StartRun", "/catalogsync.scheduler.v1.ScheduleService/SetSchedule"} {
			if _, err := w.do(ctx, method); errs.ReasonOf(err) != tc.reason {
				t.Errorf("%s, %s: %v", name, method, err)
			}
			if len(w.got(method)) != 0 {
				t.Errorf("%s: %s was forwarded", name, method)
			}
		}
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
