package link_test

import (
	"log/slog"
	"testing"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/natsd"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

// quiet are parts that do not log: nobody may write to the log of a fuzz test while its function runs.
func quiet(f *testing.F) *parts {
	f.Helper()
	log := slog.New(slog.DiscardHandler)
	server := testkit.NATS(f, func(o *natsd.Options) { o.Log = log })
	return newParts(f, testkit.Connect(f, bus.Options{Server: server, Log: log}), log)
}

// FuzzHost checks that whatever a person gives as a host either is refused or becomes a host of Salesforce's.
func FuzzHost(f *testing.F) {
	for _, s := range append(evil(), "acme.my.salesforce.com", "https://acme--uat.sandbox.lightning.force.com/lightning/page/home", "login.salesforce.com", "HTTPS://ACME.MY.SALESFORCE.COM:443/") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		origin, err := link.Origin(salesforce.HostPolicy{}, s)
		if err != nil {
			return
		}
		mustBeSalesforce(t, origin)
		if again, err := link.Origin(salesforce.HostPolicy{}, origin); err != nil || again != origin {
			t.Errorf("%q becomes %q, and that %q, %v", s, origin, again, err)
		}
	})
}

// FuzzState hands in states and tickets, made up and changed from real ones.
func FuzzState(f *testing.F) {
	p := quiet(f)
	p.linker.App = oauth.ClientCredentials{ClientID: "app"}
	open := p.opened(f)
	for _, s := range []string{"", ".", open.state, open.state + "A", open.state[1:], open.link.ID + ".", "lnk_*.x", "lnk_>.x", "..", "lnk_..", "lnk_\x00.x", open.ticket} {
		f.Add(s, []byte("0123456789abcdef0123456789abcdef"))
	}
	f.Fuzz(func(t *testing.T, s string, session []byte) {
		if s == open.state && string(session) == string(open.session) {
			t.Skip("the one that works")
		}
		if _, _, err := p.linker.Finish(t.Context(), link.Return{State: s, Session: session, Error: "x"}); reason(err) != "bad_state" {
			t.Errorf("state %q: %v", s, err)
		}
		if _, err := p.linker.Show(t.Context(), s); reason(err) != "bad_ticket" {
			t.Errorf("ticket %q: %v", s, err)
		}
	})
}

// FuzzCallback hands in whatever a redirect can bring with a state that works.
func FuzzCallback(f *testing.F) {
	p := quiet(f)
	p.linker.App = oauth.ClientCredentials{ClientID: "app"}
	f.Add("access_denied", "end-user denied authorization")
	f.Add("invalid_scope", "\x1b[2J<script>\xff")
	f.Add("x", "")
	f.Fuzz(func(t *testing.T, code, description string) {
		if code == "" {
			t.Skip("that is a code")
		}
		open := p.opened(t)
		l, conn, err := p.linker.Finish(t.Context(), link.Return{State: open.state, Session: open.session, Error: code, ErrorDescription: description})
		if err != nil || l.State != link.Failed || conn.ID != "" || l.Problem == nil || l.Problem.Advice == "" {
			t.Fatalf("%+v, %v", l, err)
		}
		for _, s := range []string{l.Problem.Code, l.Problem.Description} {
			if len(s) > 600 {
				t.Errorf("%d bytes are kept", len(s))
			}
			for _, r := range s {
				if r < ' ' || r == 0x7f {
					t.Errorf("%q holds a control character", s)
				}
			}
		}
	})
}
