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
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
)

func TestSalesforceIsLeftAloneAfterTrouble(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(srv.Close)
	opt := quick()
	opt.BackoffBase, opt.BackoffCap = time.Hour, 3*time.Hour
	s := open(t, testkit.Bus(t), filepath.Join(t.TempDir(), "key"), srv.URL, opt)
	linked, err := s.conns.Link(t.Context(), connection.Connection{Tenant: "acme", Flow: connection.ClientCredentials, Host: srv.URL, OrgID: "00D5g000001AbCdEAK"},
		connection.Credentials{ClientID: "key", ClientSecret: config.NewSecret("secret-of-the-test")}, connection.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	conn := linked.Connection

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
