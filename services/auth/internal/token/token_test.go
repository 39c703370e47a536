package token_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

func TestSalesforceIsLeftAloneAfterTrouble(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(srv.Close)
	b, log := testkit.Bus(t), testkit.Logger(t)
	sets, err := connection.OpenKeySets(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Load(t.Context(), sets, filepath.Join(t.TempDir(), "key"), true)
	if err != nil {
		t.Fatal(err)
	}
	conns, err := connection.Open(t.Context(), b, v, log)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := conns.Link(t.Context(), connection.Connection{Tenant: "acme", Flow: connection.ClientCredentials, Host: srv.URL, OrgID: "00D5g000001AbCdEAK"},
		connection.Credentials{ClientID: "key", ClientSecret: config.NewSecret("secret-of-the-test")})
	if err != nil {
		t.Fatal(err)
	}
	policy := salesforce.HostPolicy{AllowDev: []string{srv.URL}}
	s, err := token.New(oauth.New(salesforce.NewHTTPClient(policy), policy), conns, log, telemetry.Noop(),
		token.Options{BackoffBase: time.Hour, BackoffCap: 3 * time.Hour, Burst: 100, Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	wantPause := func(err error, from, to time.Duration) {
		t.Helper()
		if got := errs.RetryAfter(err); errs.KindOf(err) != errs.Unavailable || got < from || got > to {
			t.Errorf("error is %v, to be tried after %v, want %v to %v", err, got, from, to)
		}
	}
	for range 10 {
		_, err := s.Token(t.Context(), "acme", conn.ID, config.Secret{})
		wantPause(err, 20*time.Minute, time.Hour)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	for i, bound := range []time.Duration{2 * time.Hour, 3 * time.Hour, 3 * time.Hour, 3 * time.Hour} {
		_, err := s.Test(t.Context(), conn) // a person who tests does not wait
		wantPause(err, bound/2, bound)
		if n := asked.Load(); n != int64(i)+2 {
			t.Errorf("%d requests", n)
		}
	}
	s.Close()
	if _, err := s.Test(t.Context(), conn); errs.ReasonOf(err) != "stopping" {
		t.Errorf("error after Close is %v", err)
	}
}
