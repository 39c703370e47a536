package auth_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth"
)

func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	nats := testkit.NATS(t)
	b := nats.Bus(t)
	p := start(t, b, filepath.Join(t.TempDir(), "key"), o)

	var errors []error
	note := func(err error) { errors = append(errors, err) }
	c := p.link(t, "acme", o)
	for _, script := range []http.HandlerFunc{
		nil,
		func(w http.ResponseWriter, r *http.Request) { // a host that says back what it was sent
			refuse("invalid_grant: "+r.FormValue("client_secret"), "no "+r.FormValue("client_secret")+" here, nor "+tokenOf(orgA, 1))(w, r)
		},
		func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			http.Error(w, "<html>"+r.Form.Encode(), http.StatusTeapot)
		},
		func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			http.Redirect(w, r, "/?"+r.Form.Encode(), http.StatusFound)
		},
	} {
		o.set(func(o *org) { o.script = script })
		_, err := p.token(t, "acme", c.GetId(), tokenOf(orgA, o.requests()))
		note(err)
		res, err := p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{})
		note(err)
		note(fmt.Errorf("%v", res))
		_, err = p.conns.LinkConnection(as(t, "acme"), linkRequest(o.URL, secret))
		note(err)
		_, err = p.conns.LinkConnection(as(t, "acme"), linkRequest("https://user:"+secret+"@acme.my.salesforce.com", secret))
		note(err)
	}
	canaries := append(p.secretsOfOtherFlows(t, o, note), secret, "AQ0AQcanary")
	list, err := p.conns.ListConnections(as(t, "acme"), &authv1.ListConnectionsRequest{})
	note(err)
	note(fmt.Errorf("%v", list))
	p.stop()
	b.Close()
	nats.Stop()

	places := map[string][]byte{"the log": p.log.bytes()}
	for i, err := range errors {
		places[fmt.Sprintf("error %d", i)] = fmt.Appendf(nil, "%v %+v", err, err)
	}
	files := 0
	err = filepath.WalkDir(nats.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		places[path], err = os.ReadFile(path)
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files in %s, %v", files, nats.Dir(), err)
	}
	if !bytes.Contains(places["the log"], []byte("needs a reconnect")) {
		t.Error("the log holds nothing of what was done: the search proves nothing")
	}
	for _, canary := range canaries {
		for enc, needle := range testkit.Encodings(canary) {
			for place, content := range places {
				if bytes.Contains(content, needle) {
					t.Errorf("%s holds the secret %q as %s", place, canary, enc)
				}
			}
		}
	}
}

// secretsOfOtherFlows links by consent and with a signed key, well and badly, and returns what must not be found anywhere.
func (p *process) secretsOfOtherFlows(t *testing.T, o *org, note func(error)) (canaries []string) {
	const code, refresh = "aPrxCanaryOfTheCode==", "5Aep861CanaryOfTheRefreshToken"
	o.set(func(o *org) {
		o.script, o.change = nil, map[string]any{"scope": "api id refresh_token", "refresh_token": refresh}
	})
	for _, browser := range []string{"the browser", "another"} {
		begun := p.begin(t, &authv1.BeginLinkRequest{Host: o.URL, ClientId: key, ClientSecret: secret})
		u, err := url.Parse(p.openLink(t, begun.GetTicket(), "the browser"))
		if err != nil {
			t.Fatal(err)
		}
		state := u.Query().Get("state")
		link, err := p.finish(t, url.Values{"state": {state}, "code": {code}}, browser)
		note(err)
		if browser == "the browser" && link.GetState() != authv1.LinkState_LINK_STATE_LINKED {
			t.Fatalf("link is %v", link)
		}
		_, err = p.finish(t, url.Values{"state": {state}, "code": {code}, "error": {"x " + code}, "error_description": {secret}}, browser)
		note(err)
		canaries = append(canaries, state[len(state)-43:], begun.GetTicket()[len(begun.GetTicket())-43:])
	}
	_, private := certificate(t)
	_, err := p.conns.CreateSigningKey(as(t, "acme"), &authv1.CreateSigningKeyRequest{})
	note(err)
	for _, text := range []string{private, private[:400], "x" + private} {
		_, err = p.conns.LinkConnection(as(t, "acme"), &authv1.LinkConnectionRequest{Host: o.URL, Credentials: &authv1.LinkConnectionRequest_JwtBearer{
			JwtBearer: &authv1.JwtBearer{ClientId: key, Username: "u@acme.example", PrivateKeyPem: text},
		}})
		note(err)
	}
	return append(canaries, code, refresh, private[100:150])
}

func TestCredentialsOpenWithTheirKeyFileAlone(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	nats := testkit.NATS(t)
	dir := t.TempDir()
	p := start(t, nats.Bus(t), filepath.Join(dir, "key"), o)
	c := p.link(t, "acme", o)
	p.stop()
	nats.Restart(t)

	b := nats.Bus(t)
	p = start(t, b, filepath.Join(dir, "key"), o)
	p.mustToken(t, "acme", c.GetId(), "")
	p.stop()

	_, err := auth.New(t.Context(), auth.Config{KeyFile: filepath.Join(dir, "lost"), CreateKeyFile: true}, auth.Deps{Log: testkit.Logger(t), Bus: b})
	if err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("without the key file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lost")); err == nil {
		t.Error("a new key file was made beside stored credentials")
	}
}

func TestCredentialsThatWereMovedDoNotOpen(t *testing.T) {
	t.Parallel()
	a, z := newOrg(t, orgA), newOrg(t, orgB)
	b := testkit.Bus(t)
	keyFile := filepath.Join(t.TempDir(), "key")
	p := start(t, b, keyFile, a, z)
	ca, cz := p.link(t, "acme", a), p.link(t, "umbrella", z)
	m, err := b.Get(t.Context(), "KV_CREDENTIALS", "$KV.CREDENTIALS."+cz.GetId()+".1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(t.Context(), "$KV.CREDENTIALS."+ca.GetId()+".1", m.Data, bus.WithHeader("moved", "1")); err != nil {
		t.Fatal(err)
	}
	p.stop()
	p = start(t, b, keyFile, a, z)
	_, err = p.token(t, "acme", ca.GetId(), tokenOf(orgA, 1))
	if err == nil || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("credentials of another tenant: %v", err)
	}
	if a.requests() != 1 {
		t.Error("Salesforce was asked")
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	err := auth.Config{DevOrigins: "http://127.0.0.1:1/x, nonsense"}.Validate()
	for _, want := range []string{"-key-file", "http://127.0.0.1:1/x", "nonsense"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %s", err, want)
		}
	}
	if _, err := auth.New(t.Context(), auth.Config{}, auth.Deps{}); err == nil {
		t.Error("New takes an empty configuration")
	}
}
