package token_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// shared opens the bucket in which processes share tokens, as whoever holds a copy of the store could.
func shared(t *testing.T, b *bus.Bus) *store.Bucket[map[string]any] {
	t.Helper()
	bucket, err := store.Open[map[string]any](t.Context(), b, store.Config{Bucket: "ACCESS_TOKENS", MaxBytes: 64 << 20, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

func TestASharedTokenThatWasTamperedWithIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.office(t, quick())
	acme, umbrella := w.consent(t, a, "acme"), w.consent(t, a, "umbrella")
	first, other := mustToken(t, a, acme, config.Secret{}), mustToken(t, a, umbrella, config.Secret{})
	bucket := shared(t, w.nats.Bus(t))
	old, _, err := bucket.Get(t.Context(), acme.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(old)
	if err != nil || len(text) < 100 {
		t.Fatalf("shared is %s, %v", text, err)
	}
	second := mustToken(t, a, acme, first)
	for name, put := range map[string]func() map[string]any{
		"an older one put back": func() map[string]any { return old },
		"another tenant's": func() map[string]any {
			v, _, err := bucket.Get(t.Context(), umbrella.ID)
			if err != nil {
				t.Fatal(err)
			}
			now, _, err := bucket.Get(t.Context(), acme.ID)
			if err != nil {
				t.Fatal(err)
			}
			v["epoch"], v["version"] = now["epoch"], now["version"]
			return v
		},
		"an older one under the new number": func() map[string]any {
			v := map[string]any{"sealed": old["sealed"], "version": old["version"].(float64) + 1, "epoch": old["epoch"].(float64) + 1}
			return v
		},
	} {
		v := put()
		if _, err := bucket.Update(t.Context(), acme.ID, func(map[string]any) (map[string]any, error) { return v, nil }); err != nil {
			t.Fatal(err)
		}
		fresh := w.office(t, quick())
		got := mustToken(t, fresh, acme, config.Secret{})
		if got.Equal(first) || got.Equal(second) || got.Equal(other) {
			t.Errorf("%s: it was believed", name)
		}
		if old, _, err = bucket.Get(t.Context(), acme.ID); err != nil { // the older one of the next round
			t.Fatal(err)
		}
		second = mustToken(t, fresh, acme, got)
	}
}

func TestForgottenTokensAreNotGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.office(t, quick()), w.office(t, quick())
	c := w.consent(t, a, "acme")
	first := mustToken(t, a, c, config.Secret{})
	c = find(t, a, c)
	if got := b.Surrender(c); !got.Equal(first) {
		t.Error("a token that another process got is not surrendered")
	}
	if got := b.Surrender(c); !got.IsZero() {
		t.Error("a token was surrendered twice")
	}
	if _, err := a.conns.Unlink(t.Context(), c.Tenant, c.ID); err != nil {
		t.Fatal(err)
	}
	for _, rejected := range []config.Secret{{}, first} {
		if _, err := b.Token(t.Context(), c.Tenant, c.ID, rejected); errs.KindOf(err) != errs.Precondition || errs.ReasonOf(err) != "unlinked" {
			t.Errorf("of an unlinked connection: %v", err)
		}
	}
	if _, err := b.Test(t.Context(), c); errs.ReasonOf(err) != "unlinked" {
		t.Errorf("a test of an unlinked connection: %v", err)
	}
	if w.calls() != 1 {
		t.Errorf("%d calls", w.calls())
	}
}

func TestProcessesLearnOfEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.office(t, quick()), w.office(t, quick())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	c := w.consent(t, a, "acme")
	first := mustToken(t, a, c, config.Secret{})
	mustToken(t, b, c, config.Secret{})
	second := mustToken(t, a, c, first)
	testkit.Eventually(t, 10*time.Second, func() error {
		if tok := mustToken(t, b, c, config.Secret{}); !tok.Equal(second) {
			return errors.New("the other process gives the token that was refused")
		}
		return nil
	})
	// A link brings a token without a refresh.
	adopted := oauth.Token{AccessToken: config.NewSecret("00D5g000001AbCd!of-a-link"), InstanceURL: w.sim.URL, OrgID: w.sim.OrgID()}
	a.Adopt(find(t, a, c), adopted)
	testkit.Eventually(t, 10*time.Second, func() error {
		if tok := mustToken(t, b, c, config.Secret{}); !tok.Equal(adopted.AccessToken) {
			return errors.New("the other process does not know of the link")
		}
		return nil
	})
	if w.calls() != 2 {
		t.Errorf("%d calls", w.calls())
	}
	if _, err := a.conns.Unlink(t.Context(), c.Tenant, c.ID); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if _, err := b.Token(t.Context(), c.Tenant, c.ID, config.Secret{}); errs.ReasonOf(err) != "unlinked" {
			return fmt.Errorf("the other process gives tokens of an unlinked connection: %w", err)
		}
		return nil
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestATokenThatCameAfterUnlinkingIsRevoked: nobody holds it, and it would live on at Salesforce.
func TestATokenThatCameAfterUnlinkingIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.office(t, quick())
	c := w.consent(t, a, "acme")
	w.sim.Faults().MustAdd(fault.Rule{Kind: fault.SlowHeaders, Path: tokenPath, Count: 1, Delay: fault.Duration(300 * time.Millisecond)})
	got := make(chan error, 1)
	go func() {
		_, err := a.Token(t.Context(), c.Tenant, c.ID, config.Secret{})
		got <- err
	}()
	testkit.Eventually(t, 10*time.Second, func() error {
		if w.sim.Counters().Rotations == 0 {
			return errors.New("the call has not come")
		}
		return nil
	})
	if _, err := a.conns.Unlink(t.Context(), c.Tenant, c.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-got; errs.ReasonOf(err) != "unlinked" {
		t.Errorf("error is %v", err)
	}
	if n := w.sim.Counters().Routes["POST /services/oauth2/revoke"]; n != 1 {
		t.Errorf("%d revocations", n)
	}
}

func TestASecondRefusalEndsTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.office(t, quick()), w.office(t, quick())
	c := w.consent(t, a, "acme")
	first := mustToken(t, a, c, config.Secret{})
	second := mustToken(t, a, c, first)
	if err := b.Refused(t.Context(), c.Tenant, c.ID, first); err != nil { // there is another by now
		t.Errorf("a token of the past: %v", err)
	}
	if err := b.Refused(t.Context(), c.Tenant, c.ID, second); errs.ReasonOf(err) != "needs_reconnect" {
		t.Errorf("the token in force: %v", err)
	}
	got := find(t, a, c)
	if got.State != connection.NeedsReconnect || got.ReasonCode != "session_refused" || w.calls() != 2 {
		t.Errorf("connection is %s (%s) after %d calls", got.State, got.ReasonCode, w.calls())
	}
	if r, err := a.Test(t.Context(), got); err != nil || r.Refusal != nil || r.Connection.State != connection.Linked {
		t.Errorf("a test says %+v, %v", r, err)
	}
}

func TestATokenForSomebodyElseIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.office(t, quick())
	for name, change := range map[string]func(*connection.Connection){
		"org":  func(c *connection.Connection) { c.OrgID = "00DdM00000vfgTuUAI" },
		"user": func(c *connection.Connection) { c.UserID = "005dM00000awSFJQA2" },
	} {
		c := w.consent(t, a, name)
		change(&c)
		creds, err := a.conns.Credentials(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		c.Tenant = "another " + name
		linked, err := a.conns.Link(t.Context(), c, creds, connection.Terms{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Token(t.Context(), c.Tenant, linked.Connection.ID, config.Secret{}); errs.ReasonOf(err) != "needs_reconnect" {
			t.Errorf("another %s: %v", name, err)
		}
		if got := find(t, a, linked.Connection); got.ReasonCode != "answer_not_trusted" {
			t.Errorf("another %s: connection is %s (%s)", name, got.State, got.ReasonCode)
		}
	}
}

// TestFlowsWithoutRefreshTokens take the same way, and have nothing to lose.
func TestFlowsWithoutRefreshTokens(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.Start(simulator.Options{Rotation: true, JWTCerts: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{sim: sim, nats: testkit.NATS(t), keyFile: filepath.Join(t.TempDir(), "key")}
	offices := []*office{w.office(t, quick()), w.office(t, quick())}
	for tenant, l := range map[string]struct {
		flow  connection.Flow
		creds connection.Credentials
	}{
		"cc": {connection.ClientCredentials, connection.Credentials{ClientID: sim.ClientID(), ClientSecret: config.NewSecret(sim.ClientSecret())}},
		"jwt": {connection.JWTBearer, connection.Credentials{
			ClientID: sim.ClientID(), Username: "admin@simulator.example", Audience: sim.URL,
			PrivateKey: config.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))),
		}},
	} {
		c := w.link(t, offices[0], connection.Connection{Tenant: tenant, Flow: l.flow}, l.creds)
		before := w.calls()
		got := crowd(t, offices, c, 40, config.Secret{})
		if len(got) != 1 || w.calls() != before+1 {
			t.Errorf("%s: %d tokens by %d calls", tenant, len(got), w.calls()-before)
		}
		sim.Faults().MustAdd(fault.Rule{Kind: fault.ResetAfter, Path: tokenPath, Count: 1})
		rejected := config.NewSecret(got[0])
		if _, err := offices[0].Token(t.Context(), tenant, c.ID, rejected); errs.ReasonOf(err) != "salesforce_unreachable" {
			t.Errorf("%s: a lost answer is %v", tenant, err)
		}
		if _, err := settle(t, offices[1], c, rejected); err != nil || find(t, offices[0], c).State != connection.Linked {
			t.Errorf("%s: after a lost answer: %v", tenant, err)
		}
		if now := find(t, offices[0], c); now.CredentialVersion != c.CredentialVersion {
			t.Errorf("%s: credentials are at version %d", tenant, now.CredentialVersion)
		}
	}
}

// TestNoCallWithoutARecord: each call is in the audit log before it is made, and what cannot be written is not done.
func TestNoCallWithoutARecord(t *testing.T) {
	t.Parallel()
	nats := testkit.NATS(t)
	w := worldOn(t, nats)
	a := w.office(t, quick())
	c := w.consent(t, a, "acme")
	first := mustToken(t, a, c, config.Secret{})
	mustToken(t, a, c, first)
	entries, _, err := a.audit.List(t.Context(), audit.Query{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	refreshes := 0
	for _, e := range entries {
		if e.GetAction() == "token.refresh" && e.GetSubject() == c.ID {
			refreshes++
		}
	}
	if refreshes != 2 || w.calls() != 2 {
		t.Errorf("%d refreshes on record, %d calls", refreshes, w.calls())
	}

	// A log that takes nothing more, beside a store that works.
	b := nats.Bus(t)
	if err := b.EnsureStreams(t.Context(), closedAudit()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = a.Test(ctx, c)
	if errs.KindOf(err) != errs.Unavailable || errs.ReasonOf(err) != "audit_unavailable" || w.calls() != 2 {
		t.Errorf("error is %v after %d calls", err, w.calls())
	}
	if tok := mustToken(t, a, c, config.Secret{}); tok.Equal(first) || find(t, a, c).State != connection.Linked {
		t.Error("the token in force is no longer given")
	}
}
