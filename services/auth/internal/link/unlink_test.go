package link_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// parts are what links are made of, on a bus of their own.
type parts struct {
	bus      *bus.Bus
	conns    *connection.Store
	linker   *link.Linker
	unlinker *link.Unlinker
}

func newParts(t testing.TB, b *bus.Bus, log *slog.Logger) *parts {
	t.Helper()
	if err := b.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	sets, err := connection.OpenKeySets(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Load(t.Context(), sets, filepath.Join(t.TempDir(), "key"), true)
	if err != nil {
		t.Fatal(err)
	}
	conns, err1 := connection.Open(t.Context(), b, v, log)
	keys, err2 := signkey.Open(t.Context(), b, v)
	pending, err3 := link.OpenPending(t.Context(), b, v)
	trail, err4 := audit.Open(t.Context(), b, "auth")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	client := oauth.New(salesforce.NewOAuthClient(salesforce.HostPolicy{}), salesforce.HostPolicy{})
	u := &link.Unlinker{OAuth: client, Conns: conns, Keys: keys, Pending: pending, Audit: trail, Bus: b, Log: log}
	return &parts{b, conns, &link.Linker{OAuth: client, Conns: conns, Keys: keys, Audit: trail, Pending: pending, Unlinker: u, Log: log}, u}
}

// TestUnlinkingIsFinishedLater proves that a crash right after an admin unlinked loses neither the erasure nor the event.
func TestUnlinkingIsFinishedLater(t *testing.T) {
	t.Parallel()
	p := newParts(t, testkit.Bus(t), testkit.Logger(t))
	out, err := p.conns.Link(t.Context(), connection.Connection{
		Tenant: "acme", Flow: connection.ClientCredentials, Host: "https://acme.my.salesforce.com", OrgID: "00D5g000001AbCdEAK",
	}, connection.Credentials{ClientID: "k", ClientSecret: config.NewSecret("canary")}, connection.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.conns.Unlink(t.Context(), "acme", "")
	if err != nil || c.ID != out.Connection.ID || c.Ending == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	// Here the process dies. The next one goes on.
	destroyed := 0
	p.unlinker.DestroyDataKey = func(_ context.Context, tenant string) (bool, error) {
		if destroyed++; destroyed == 1 {
			return false, errors.New("not now")
		}
		return tenant == "acme", nil
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- p.unlinker.Run(ctx) }()
	testkit.Eventually(t, 20*time.Second, func() error {
		now, err := p.conns.Find(t.Context(), "acme", c.ID)
		if err == nil && now.Ending != nil {
			err = errors.New("it still bears the marker")
		}
		return err
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := p.conns.Credentials(t.Context(), c); err == nil {
		t.Error("the credentials are still there")
	}
	m, err := p.bus.Get(t.Context(), event.StreamEvents, event.ConnectionUnlinked("acme", c.ID))
	if err != nil {
		t.Fatal(err)
	}
	e := &eventv1.ConnectionUnlinked{}
	if err := m.Unmarshal(e); err != nil || !e.GetDataKeyDestroyed() || e.GetConnectionId() != c.ID {
		t.Errorf("told: %v, %v", e, err)
	}
	if again, err := p.conns.Unlink(t.Context(), "acme", c.ID); err != nil || again.Ending != nil {
		t.Errorf("unlinked again: %+v, %v", again, err)
	}
}
