package auth_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// wantError fails the test unless err has the kind and reason and its text holds all the words.
func wantError(t testing.TB, err error, kind errs.Kind, reason string, words ...string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Fatalf("error is %v %s (%v), want %v %s", errs.KindOf(err), errs.ReasonOf(err), err, kind, reason)
	}
	for _, w := range words {
		if !strings.Contains(errs.Message(err), w) {
			t.Errorf("error says %q, want it to say %q", errs.Message(err), w)
		}
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	got := p.link(t, "acme", o)
	if !strings.HasPrefix(got.GetId(), "con_") || time.Since(got.GetLinkedAt().AsTime()).Abs() > time.Minute {
		t.Errorf("id %q, linked at %v", got.GetId(), got.GetLinkedAt().AsTime())
	}
	want := &authv1.Connection{
		Id: got.GetId(), LinkedAt: got.GetLinkedAt(),
		Tenant: "acme", Name: "Salesforce", State: authv1.ConnectionState_CONNECTION_STATE_LINKED,
		Flow: authv1.Flow_FLOW_CLIENT_CREDENTIALS, Host: o.URL, OrgId: orgA, InstanceUrl: o.URL,
		Username: "api@acme.example", UserId: userID, ClientId: key, Purpose: authv1.Purpose_PURPOSE_WRITE_TARGET,
		Scopes: []string{"api", "id"}, TokenAt: got.GetTokenAt(),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for _, id := range []string{got.GetId(), ""} {
		if diff := cmp.Diff(want, p.connection(t, "acme", id), protocmp.Transform()); diff != "" {
			t.Errorf("connection %q: %s", id, diff)
		}
	}
	list, err := p.conns.ListConnections(as(t, "acme"), &authv1.ListConnectionsRequest{})
	if err != nil || len(list.GetConnections()) != 1 || !proto.Equal(list.GetConnections()[0], want) {
		t.Errorf("list is %v, %v", list, err)
	}
	if tok := p.mustToken(t, "acme", got.GetId(), ""); tok != tokenOf(orgA, 1) || o.requests() != 1 {
		t.Errorf("the token of the link is not used: %d requests", o.requests())
	}
}

func TestLinkingTheSameOrgAgainReplacesTheCredentials(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	b := testkit.Bus(t)
	p := start(t, b, filepath.Join(t.TempDir(), "key"), o)
	first := p.link(t, "acme", o)
	o.set(func(o *org) { o.secret = "S3cr3t-canary-second" })
	req := linkRequest(o.URL, "  S3cr3t-canary-second\n")
	req.Name = "Sales"
	res, err := p.conns.LinkConnection(as(t, "acme"), req)
	if err != nil {
		t.Fatal(err)
	}
	if c := res.GetConnection(); c.GetId() != first.GetId() || c.GetName() != "Sales" {
		t.Errorf("connection is %v, want id %s", c, first.GetId())
	}
	if tok := p.mustToken(t, "acme", first.GetId(), tokenOf(orgA, 2)); tok != tokenOf(orgA, 3) {
		t.Error("the second secret is not the one in use")
	}
	kept, err := b.Subjects(t.Context(), "KV_CREDENTIALS", "$KV.CREDENTIALS."+first.GetId()+".2")
	if err != nil || len(kept) != 1 {
		t.Errorf("credentials in force: %v, %v", kept, err)
	}
	m, err := b.Get(t.Context(), "KV_CREDENTIALS", "$KV.CREDENTIALS."+first.GetId()+".1")
	if err != nil || len(m.Data) != 0 {
		t.Errorf("the old credentials are still there: %v", err)
	}
}

func TestLinkAfterACrashBetweenCredentialsAndConnection(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	b := testkit.Bus(t)
	p := start(t, b, filepath.Join(t.TempDir(), "key"), o)
	c := p.link(t, "acme", o)
	// What a crash leaves: credentials of the next version, which no connection names.
	if err := b.Publish(t.Context(), "$KV.CREDENTIALS."+c.GetId()+".2", []byte(`{"sealed":"AAAA"}`)); err != nil {
		t.Fatal(err)
	}
	if again := p.link(t, "acme", o); again.GetId() != c.GetId() {
		t.Errorf("connection %s became %s", c.GetId(), again.GetId())
	}
	p.mustToken(t, "acme", c.GetId(), tokenOf(orgA, 2))
}

func TestLinkingManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	ids := make([]string, 6)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			res, err := p.conns.LinkConnection(as(t, "acme"), linkRequest(o.URL, secret))
			if err != nil && errs.ReasonOf(err) != "linking_at_once" {
				t.Error(err)
			}
			ids[i] = res.GetConnection().GetId()
		})
	}
	wg.Wait()
	c := p.connection(t, "acme", "")
	for _, id := range ids {
		if id != "" && id != c.GetId() {
			t.Errorf("connections %s and %s", id, c.GetId())
		}
	}
	p.mustToken(t, "acme", c.GetId(), p.mustToken(t, "acme", c.GetId(), ""))
}

func TestAnotherOrgIsRefused(t *testing.T) {
	t.Parallel()
	a, b := newOrg(t, orgA), newOrg(t, orgB)
	p := world(t, a, b)
	c := p.link(t, "acme", a)
	_, err := p.conns.LinkConnection(as(t, "acme"), linkRequest(b.URL, secret))
	wantError(t, err, errs.Precondition, "other_org_linked", orgA, orgB, "one org", "another tenant")
	if got := p.connection(t, "acme", ""); got.GetId() != c.GetId() || got.GetOrgId() != orgA {
		t.Errorf("connection is %v", got)
	}
	if p.link(t, "umbrella", b).GetOrgId() != orgB {
		t.Error("another tenant is not linked to its org")
	}
}

func TestHostsThatAreRefused(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	for host, rule := range map[string]string{
		"":                                   "host is missing",
		"evil.example":                       "not a Salesforce My Domain host",
		"acme.salesforce.com":                "not a Salesforce My Domain host",
		"http://acme.my.salesforce.com":      "not https",
		"ftp://acme.my.salesforce.com":       "not https",
		"acme.my.salesforce.com:8443":        "port 8443",
		"acme.my.salesforce.com/x":           "must end after the host",
		"u:pw-canary@acme.my.salesforce.com": "user or password",
		"169.254.169.254":                    "address",
		"[::1]":                              "address",
		"acme.my.salesforce.com.":            "dot",
		"acme.my.salesforce.com.evil.com":    "not a Salesforce My Domain host",
		"acme.my.salesforce.mil":             "not a Salesforce My Domain host",
		"http://localhost:1":                 "not https",
		"acmé.my.salesforce.com":             "ASCII",
		"acme.my.salesforce.com\nx":          "control characters",
	} {
		_, err := p.conns.LinkConnection(as(t, "acme"), linkRequest(host, secret))
		if errs.KindOf(err) != errs.Invalid || !strings.Contains(errs.Message(err), rule) || strings.Contains(err.Error(), "pw-canary") {
			t.Errorf("host %q: %v, want Invalid that says %q", host, err, rule)
		}
	}
	if o.requests() != 0 {
		t.Error("Salesforce was asked")
	}
}

func TestLinkRequestsThatAreIncomplete(t *testing.T) {
	t.Parallel()
	p := world(t)
	req := linkRequest("", " ")
	req.Name = strings.Repeat("é", 81)
	req.GetClientCredentials().ClientId = strings.Repeat("x", 5000)
	_, err := p.conns.LinkConnection(as(t, "acme"), req)
	wantError(t, err, errs.Invalid, "invalid_link_request", "name has 81 characters", "host is missing", "client_id has 5000 bytes", "client_secret is missing")
	_, err = p.conns.LinkConnection(as(t, "acme"), &authv1.LinkConnectionRequest{Host: "acme.my.salesforce.com"})
	wantError(t, err, errs.Invalid, "missing_credentials", "client_credentials")
}

func TestLinkIsTriedFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(*org)
		kind    errs.Kind
		reason  string
		words   []string
	}{
		"secret refused": {
			func(o *org) { o.secret = "another" }, errs.Precondition, "salesforce_refused",
			[]string{"invalid_client", "invalid client credentials", "Copy it again"},
		},
		"app too new": {
			func(o *org) { o.script = refuse("invalid_client_id", "client identifier invalid") }, errs.Precondition, "salesforce_refused",
			[]string{"client identifier invalid", "2 to 10 minutes"},
		},
		"logins collide": {
			func(o *org) { o.script = refuse("retry_request", "retry your request") }, errs.Unavailable, "salesforce_busy",
			[]string{"retry your request", "try again"},
		},
		"no OAuth there": {
			func(o *org) { o.script = http.NotFound }, errs.Unavailable, "salesforce_unreachable",
			[]string{"HTTP 404", "My Domain"},
		},
		"scope lacks api": {
			func(o *org) { o.change = map[string]any{"scope": "id openid"} }, errs.Precondition, "missing_scope",
			[]string{"id openid", "Manage user data via APIs"},
		},
		"API elsewhere": {
			func(o *org) { o.change = map[string]any{"instance_url": "https://evil.example"} }, errs.Precondition, "answer_not_trusted",
			[]string{"instance_url", "evil.example"},
		},
		"signature does not fit": {
			func(o *org) { o.change = map[string]any{"signature": "AAAA"} }, errs.Precondition, "answer_not_trusted",
			[]string{"signature"},
		},
		"userinfo names another org": {
			func(o *org) {
				o.change = map[string]any{"id": "https://login.salesforce.com/id/" + orgB + "/" + userID, "signature": ""}
			}, errs.Precondition, "answer_not_trusted", []string{orgA, orgB},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, orgA)
			p := world(t, o)
			tc.prepare(o)
			_, err := p.conns.LinkConnection(as(t, "acme"), linkRequest(o.URL, secret))
			wantError(t, err, tc.kind, tc.reason, tc.words...)
			_, err = p.conns.GetConnection(as(t, "acme"), &authv1.GetConnectionRequest{})
			wantError(t, err, errs.NotFound, "not_linked", "link one first")
		})
	}
}
