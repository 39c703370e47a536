package connection

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// linkedByConsent is a store with a connection of the web server flow.
func linkedByConsent(t *testing.T) (*Store, Connection, Credentials) {
	t.Helper()
	b := testkit.Bus(t)
	sets, err := OpenKeySets(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Load(t.Context(), sets, filepath.Join(t.TempDir(), "key"), true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), b, v, testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	creds := Credentials{ClientID: "key", ClientSecret: config.NewSecret("secret"), RefreshToken: config.NewSecret("refresh-1")}
	out, err := s.Link(t.Context(), Connection{Tenant: "acme", Flow: WebServer, Host: "https://acme.my.salesforce.com", OrgID: "00D5g000001AbCdEAK"}, creds, Terms{})
	if err != nil {
		t.Fatal(err)
	}
	return s, out.Connection, creds
}

func refreshToken(t *testing.T, s *Store, c Connection) string {
	t.Helper()
	creds, err := s.Credentials(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return creds.RefreshToken.Expose()
}

func TestRenewNamesTheNextVersion(t *testing.T) {
	t.Parallel()
	s, c, creds := linkedByConsent(t)
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	r := Renewal{RefreshToken: config.NewSecret("refresh-2"), InstanceURL: "https://acme--new.my.salesforce.com", Scopes: []string{"api"}, At: at}
	var now Connection
	for range 2 { // the second time as if the first answer had been lost
		var err error
		if now, err = s.Renew(t.Context(), c, creds, r); err != nil {
			t.Fatal(err)
		}
	}
	want := c
	want.CredentialVersion, want.InstanceURL, want.Scopes, want.TokenAt = c.CredentialVersion+1, r.InstanceURL, r.Scopes, at
	if diff := cmp.Diff(want, now); diff != "" {
		t.Error(diff)
	}
	if stored, err := s.Find(t.Context(), "acme", c.ID); err != nil || cmp.Diff(want, stored) != "" {
		t.Errorf("stored is %+v, %v", stored, err)
	}
	if got := refreshToken(t, s, now); got != "refresh-2" {
		t.Errorf("refresh token is %s", got)
	}
	if _, err := s.Credentials(t.Context(), c); errs.ReasonOf(err) != "credentials_replaced" {
		t.Errorf("the old credentials are still there: %v", err)
	}
	creds.RefreshToken = r.RefreshToken
	for _, same := range []string{"", "refresh-2"} { // no rotation
		again, err := s.Renew(t.Context(), now, creds, Renewal{RefreshToken: config.NewSecret(same), InstanceURL: c.InstanceURL, At: at.Add(time.Hour)})
		if err != nil || again.CredentialVersion != now.CredentialVersion || len(again.Scopes) != 1 || !again.TokenAt.Equal(at.Add(time.Hour)) {
			t.Errorf("without a new refresh token: %+v, %v", again, err)
		}
	}
}

func TestWhatCameTooLateBelongsToNobody(t *testing.T) {
	t.Parallel()
	r := Renewal{RefreshToken: config.NewSecret("refresh-2"), InstanceURL: "https://acme.my.salesforce.com", At: time.Now()}
	for name, meanwhile := range map[string]func(*Store, Connection, Credentials) error{
		"linked again": func(s *Store, c Connection, creds Credentials) error {
			creds.RefreshToken = config.NewSecret("refresh-of-another-consent")
			_, err := s.Link(t.Context(), c, creds, Terms{})
			return err
		},
		"unlinked": func(s *Store, c Connection, _ Credentials) error {
			_, err := s.Unlink(t.Context(), c.Tenant, c.ID)
			return err
		},
		"found to need a reconnect": func(s *Store, c Connection, _ Credentials) error {
			_, err := s.MustReconnect(t.Context(), c, "lost_reply", "why")
			return err
		},
		"rotated": func(s *Store, c Connection, creds Credentials) error {
			_, err := s.Renew(t.Context(), c, creds, Renewal{RefreshToken: config.NewSecret("refresh-3"), At: time.Now()})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, creds := linkedByConsent(t)
			if err := meanwhile(s, c, creds); err != nil {
				t.Fatal(err)
			}
			before, err := s.Find(t.Context(), c.Tenant, c.ID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Renew(t.Context(), c, creds, r); errs.ReasonOf(err) != "credentials_replaced" {
				t.Errorf("error is %v", err)
			}
			after, err := s.Find(t.Context(), c.Tenant, c.ID)
			if diff := cmp.Diff(before, after); diff != "" || err != nil {
				t.Errorf("it changed the connection: %s, %v", diff, err)
			}
			now, err := s.MustReconnect(t.Context(), c, "invalid_grant", "late")
			if err != nil || now.ReasonCode == "invalid_grant" && name != "found to need a reconnect" {
				t.Errorf("a late refusal counts: %+v, %v", now, err)
			}
		})
	}
}

func TestRecoverFindsWhatWasStoredAndNotNamed(t *testing.T) {
	t.Parallel()
	s, c, creds := linkedByConsent(t)
	if now, found, err := s.Recover(t.Context(), c); found || err != nil || now.CredentialVersion != c.CredentialVersion {
		t.Errorf("with nothing to find: %+v, %v, %v", now, found, err)
	}
	rotated := creds
	rotated.RefreshToken, rotated.renewed = config.NewSecret("refresh-2"), true
	if _, err := s.sealNext(t.Context(), c, rotated); err != nil { // and here the process ends
		t.Fatal(err)
	}
	now, found, err := s.Recover(t.Context(), c)
	if !found || err != nil || now.CredentialVersion != c.CredentialVersion+1 || refreshToken(t, s, now) != "refresh-2" {
		t.Errorf("recovered %+v, %v, %v", now, found, err)
	}
	if _, found, err := s.Recover(t.Context(), now); found || err != nil {
		t.Errorf("recovered twice: %v", err)
	}

	// What somebody is linking just now, or did not finish, is theirs.
	link := now
	link.CredentialVersion++
	creds.RefreshToken = config.NewSecret("refresh-of-another-consent")
	if err := s.seal(t.Context(), link, creds); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Recover(t.Context(), now); found || err != nil {
		t.Errorf("credentials of an unfinished link were named: %v", err)
	}
	next, err := s.sealNext(t.Context(), now, rotated)
	if err != nil || next.CredentialVersion != now.CredentialVersion+2 {
		t.Errorf("beside them it is version %d, %v", next.CredentialVersion, err)
	}
	if err := s.seal(t.Context(), link, creds); !errors.Is(err, store.ErrExists) {
		t.Errorf("a version was stored twice: %v", err)
	}
}
