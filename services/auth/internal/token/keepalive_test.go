package token_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
)

const day = 24 * time.Hour

// TestKeepAlive lets three processes look after 24 connections for sixty days, four times a day.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var clock clock
	opt := quick()
	opt.Now = clock.now
	var offices []*office
	var ticks []chan time.Time
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 3 {
		o, tick := w.office(t, opt), make(chan time.Time)
		running.Go(func() { o.KeepAlive(ctx, tick) })
		offices, ticks = append(offices, o), append(ticks, tick)
	}
	t.Cleanup(running.Wait)
	t.Cleanup(stop)
	conns := map[string]connection.Connection{}
	for i := range 24 {
		c := w.consent(t, offices[0], "tenant"+string(rune('a'+i)))
		conns[c.ID] = c
	}
	secret := config.NewSecret(w.sim.ClientSecret())
	noRefresh := w.link(t, offices[0], connection.Connection{Tenant: "machine", Flow: connection.ClientCredentials}, connection.Credentials{ClientID: w.sim.ClientID(), ClientSecret: secret})

	refreshed := map[string][]time.Duration{} // by connection: how long after the last time
	seen := map[string]time.Time{}
	for id := range conns {
		seen[id] = conns[id].TokenAt
	}
	calls := w.calls()
	for range 60 * 4 {
		clock.forward(6 * time.Hour)
		for range 2 { // the second is taken when the first has been worked off
			for _, tick := range ticks {
				tick <- clock.now()
			}
		}
		for id, c := range conns {
			if now := find(t, offices[0], c); now.TokenAt.After(seen[id]) {
				refreshed[id] = append(refreshed[id], now.TokenAt.Sub(seen[id]))
				seen[id] = now.TokenAt
			}
		}
	}
	different := map[time.Duration]bool{}
	total := int64(0)
	for id, after := range refreshed {
		total += int64(len(after))
		for _, d := range after {
			different[after[0].Round(6*time.Hour)] = true
			if d < 14*day || d > 20*day+7*time.Hour || (d-after[0]).Abs() > 7*time.Hour {
				t.Errorf("connection %s was refreshed after %v", id, after)
			}
		}
	}
	if len(refreshed) != len(conns) || len(different) < 6 {
		t.Errorf("%d of %d connections were kept alive, at %d different ages", len(refreshed), len(conns), len(different))
	}
	if n := w.sim.Counters(); w.calls()-calls != total || n.Reuses != 0 {
		t.Errorf("%d calls for %d refreshes, %d reuses", w.calls()-calls, total, n.Reuses)
	}
	if now := find(t, offices[0], noRefresh); !now.TokenAt.Equal(noRefresh.TokenAt) {
		t.Error("a connection without refresh token was refreshed")
	}
	kept := int64(0)
	for _, o := range offices {
		kept += o.events(t)["kept_alive"]
	}
	if kept != total {
		t.Errorf("%d counted", kept)
	}
}

func TestKeepAliveLeavesAloneWhatIsUsedOrLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var clock clock
	opt := quick()
	opt.Now = clock.now
	o := w.office(t, opt)
	used, lost := w.consent(t, o, "acme"), w.consent(t, o, "umbrella")
	clock.forward(13 * day)
	mustToken(t, o, used, config.Secret{})
	creds, err := o.conns.Credentials(t.Context(), lost)
	if err != nil {
		t.Fatal(err)
	}
	w.revoke(t, creds.RefreshToken)
	clock.forward(12 * day)

	tick := make(chan time.Time)
	done := make(chan struct{})
	go func() {
		o.KeepAlive(t.Context(), tick)
		close(done)
	}()
	for range 3 {
		tick <- clock.now()
	}
	close(tick)
	<-done
	if got := find(t, o, used); got.CredentialVersion != used.CredentialVersion+1 {
		t.Errorf("what was used 12 days ago is at version %d", got.CredentialVersion)
	}
	if got := find(t, o, lost); got.State != connection.NeedsReconnect || got.ReasonCode != "invalid_grant" || w.calls() != 2 {
		t.Errorf("what was revoked is %s (%s) after %d calls", got.State, got.ReasonCode, w.calls())
	}
}
