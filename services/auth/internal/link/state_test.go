package link_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

func reason(err error) string { return errs.ReasonOf(err) }

// opened is a link whose browser is at Salesforce.
type opened struct {
	link          link.Link
	ticket, state string
	session       []byte
}

func (p *parts) opened(t testing.TB) opened {
	t.Helper()
	tenant := rand.Text() // a fuzz test begins more links than one tenant may
	ctx := rpc.WithCaller(t.Context(), rpc.Caller{Tenant: tenant, Subject: "test"})
	l, ticket, err := p.linker.Begin(ctx, link.Request{Tenant: tenant, Host: "acme.my.salesforce.com"})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(rand.Text()))
	to, err := p.linker.Open(ctx, ticket.Expose(), sum[:], "https://sync.example.com/oauth/callback")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return opened{l, ticket.Expose(), u.Query().Get("state"), sum[:]}
}

// The room for pending links is everybody's, so one tenant does not take all of it.
func TestATenantBeginsSoManyLinks(t *testing.T) {
	t.Parallel()
	p := newParts(t, testkit.Bus(t), slog.New(slog.DiscardHandler))
	p.linker.App = oauth.ClientCredentials{ClientID: "app"}
	begin := func(tenant string) error {
		_, _, err := p.linker.Begin(t.Context(), link.Request{Tenant: tenant, Host: "acme.my.salesforce.com"})
		return err
	}
	for i := range 100 {
		if err := begin("acme"); err != nil {
			t.Fatalf("link %d: %v", i, err)
		}
	}
	if err := begin("acme"); errs.KindOf(err) != errs.Exhausted || reason(err) != "too_many_links" {
		t.Errorf("one more: %v", err)
	}
	if err := begin("umbrella"); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}

// TestBadStates hands in 10,000 states that must not work: made up, changed by a bit, cut, of other links, with other
// sessions, used up. The one that works still works then, once.
func TestBadStates(t *testing.T) {
	t.Parallel()
	p := newParts(t, testkit.Bus(t), slog.New(slog.DiscardHandler))
	p.linker.App = oauth.ClientCredentials{ClientID: "app"}
	good, other, used := p.opened(t), p.opened(t), p.opened(t)
	finish := func(state string, session []byte) error {
		_, _, err := p.linker.Finish(t.Context(), link.Return{State: state, Session: session, Error: "access_denied"})
		return err
	}
	if err := finish(used.state, used.session); err != nil {
		t.Fatal(err)
	}
	var random [32]byte
	tried := 0
	bad := func(state string, session []byte) {
		tried++
		if err := finish(state, session); reason(err) != "bad_state" {
			t.Fatalf("state %q: %v", state, err)
		}
	}
	for _, session := range [][]byte{other.session, used.session, nil, make([]byte, 32), good.session[:31], append(good.session[:31:31], good.session[31]^1), append(good.session[:32:32], 0)} {
		bad(good.state, session)
	}
	bad(used.state, used.session)
	bad(used.state, good.session)
	bad(other.state, good.session)
	bad(good.ticket, good.session)
	bad(good.link.ID, good.session)
	bad(good.link.ID+".", good.session)
	for i := range len(good.state) {
		bad(good.state[:i], good.session)
		for bit := range 7 {
			changed := []byte(good.state)
			changed[i] ^= 1 << bit
			bad(string(changed), good.session)
		}
		bad(good.state+good.state[i:], good.session)
	}
	for _, s := range []string{"", ".", "lnk_", "lnk_.", "lnk_*.x", "lnk_>.x", "lnk_x.y", "$KV.LINKS.x", "lnk_\x00.x", "LNK_" + good.state[4:], " " + good.state, good.state + " ", strings.ToUpper(good.state), strings.Repeat("a", 1<<16)} {
		bad(s, good.session)
	}
	for tried < 10_000 {
		_, _ = rand.Read(random[:])
		text := base64.RawURLEncoding.EncodeToString(random[:])
		switch tried % 4 {
		case 0:
			bad(text, good.session)
		case 1:
			bad(good.link.ID+"."+text, good.session) // the right link
		case 2:
			bad("lnk_"+strings.ToLower(rand.Text())+"."+text, good.session)
		default:
			session := sha256.Sum256(random[:])
			bad(good.state, session[:]) // the right state
		}
	}
	if all, err := p.conns.All(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d connections are stored, %v", len(all), err)
	}
	if err := finish(good.state, good.session); err != nil {
		t.Errorf("the one that works does not: %v", err)
	}
	bad(good.state, good.session)
}

// mustBeSalesforce fails the test unless the origin is one of Salesforce's own, by https, at the default port.
func mustBeSalesforce(t testing.TB, origin string) {
	t.Helper()
	host, ok := strings.CutPrefix(origin, "https://")
	if !ok || strings.ContainsAny(host, "/\\:@?#%[] \t\r\n") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		t.Fatalf("%q passes", origin)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		t.Fatalf("%q passes", origin)
	}
	if host != "login.salesforce.com" && host != "test.salesforce.com" && (!strings.HasSuffix(host, ".my.salesforce.com") || host == ".my.salesforce.com") {
		t.Fatalf("%q passes", origin)
	}
}

// evil are hosts that must never be asked for a token.
func evil() (all []string) {
	addresses := []string{
		"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1.nip.io", "0.0.0.0", "0", "localhost", "localhost.localdomain",
		"169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.169.254.nip.io", "metadata.google.internal", "100.100.100.200",
		"10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]",
		"[::ffff:7f00:1]", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::1]", "[fe80::1%25eth0]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fc00::1]", "kubernetes.default.svc",
		"①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1",
	}
	names := []string{
		"evil.example", "salesforce.com", "my.salesforce.com", ".my.salesforce.com", "-a.my.salesforce.com", "a-.my.salesforce.com", "a..my.salesforce.com", "a_b.my.salesforce.com",
		"xmy.salesforce.com", "evilmy.salesforce.com", "acme.my.salesforce.com.evil.example", "acme.my.salesforce.com.", "acme.my.salesforce.com.evil.example.",
		"login.salesforce.com.", "login.salesforce.com.evil.example", "xlogin.salesforce.com", "login-salesforce.com", "na1.salesforce.com", "cs42.salesforce.com",
		"acme.salesforce.com", "acme.force.com", "acme.my.site.com", "acme.my.salesforce-sites.com", "acme.content.force.com", "acme.secure.force.com", "acme.cloudforce.com",
		"acme.salesforceliveagent.com", "acme.my.salesforce.mil", "acme.my.sfcrmproducts.cn", "acme.sfcrmproducts.cn", "acme.crmforce.mil", "setup.salesforce-setup.com",
		"acmé.my.salesforce.com", "acme.my.salesforce.com", "acme.my.ѕalesforce.com", "acme.my.salesforce.co", "acme.my.salesforce.comx", strings.Repeat("a", 64) + ".my.salesforce.com",
	}
	for _, h := range append(addresses, names...) {
		if h == "acme.my.salesforce.com" {
			continue
		}
		all = append(all, h, "https://"+h, "http://"+h, "https://"+h+":443", "https://"+h+"/")
	}
	good := "acme.my.salesforce.com"
	for _, form := range []string{
		"http://%s", "ftp://%s", "file:///%s", "gopher://%s", "javascript://%s", "//%s", "https:%s", "https:/%s", "https:///%s", "https://%s:8443", "https://%s:80", "https://%s:0", "https://%s:",
		"https://%s:443:443", "https://user@%s", "https://user:pw@%s", "https://evil.example@%s", "https://%s@evil.example", "https://%s:pw@evil.example", "https://evil.example/%s",
		"https://evil.example?%s", "https://evil.example#%s", "https://evil.example\\%s", "https://%s\\@evil.example", "https://%s#@evil.example", "https://%s?@evil.example",
		"https://%s/services", "https://%s/../", "https://%s?x", "https://%s#x", "https://%s%%2eevil.example", "https://%s%%00.evil.example", "https://%s\x00.evil.example",
		"https://%s\n.evil.example", "https://%s\r\nHost: evil.example", "https://%s evil.example", "https://evil.example %s", "https://%s,evil.example", "https://%s;evil.example",
		"https://[%s]", "https://*.%s", "https://%%61.%s", "https://a b.%s", "jar:https://%s!/", "https://%s:443@evil.example", "https://evil.example:443/%s", "https://evil.example/.lightning.force.com/%s",
		"https://user@%s.lightning.force.com", "https://evil.example#.lightning.force.com/%s", "https://evil.example?.lightning.force.com/%s", "https://evil.example:1.lightning.force.com/%s",
	} {
		all = append(all, fmt.Sprintf(form, good))
	}
	return all
}

// TestEvilHosts proves for more than 300 variants that they are refused as a host, and never repeat a password.
func TestEvilHosts(t *testing.T) {
	t.Parallel()
	all := evil()
	if len(all) < 300 {
		t.Fatalf("%d variants", len(all))
	}
	for _, s := range all {
		origin, err := link.Origin(salesforce.HostPolicy{}, s)
		if err == nil {
			t.Errorf("%q becomes %q", s, origin)
		} else if reason(err) != "host_refused" || strings.Contains(errs.Message(err), "pw") {
			t.Errorf("%q: %v", s, err)
		}
	}
	t.Logf("%d variants refused", len(all))
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"acme.my.salesforce.com":                                                 "https://acme.my.salesforce.com",
		" HTTPS://Acme.My.Salesforce.com:443/ ":                                  "https://acme.my.salesforce.com",
		"login.salesforce.com":                                                   "https://login.salesforce.com",
		"test.salesforce.com":                                                    "https://test.salesforce.com",
		"acme--uat.sandbox.my.salesforce.com":                                    "https://acme--uat.sandbox.my.salesforce.com",
		"acme-dev-ed.develop.my.salesforce.com":                                  "https://acme-dev-ed.develop.my.salesforce.com",
		"acme.lightning.force.com":                                               "https://acme.my.salesforce.com",
		"https://acme.lightning.force.com/lightning/page/home?x#y":               "https://acme.my.salesforce.com",
		"https://acme--uat.sandbox.lightning.force.com/one":                      "https://acme--uat.sandbox.my.salesforce.com",
		"https://acme.my.salesforce-setup.com/lightning/setup/SetupOneHome/home": "https://acme.my.salesforce.com",
	} {
		if got, err := link.Origin(salesforce.HostPolicy{}, given); err != nil || got != want {
			t.Errorf("%q becomes %q, %v, want %q", given, got, err, want)
		}
	}
	for _, given := range []string{"acme.my.salesforce.mil", "acme.lightning.crmforce.mil"} {
		if got, err := link.Origin(salesforce.HostPolicy{AllowGov: true}, given); err != nil || got != "https://acme.my.salesforce.mil" {
			t.Errorf("%q becomes %q, %v", given, got, err)
		}
	}
}
