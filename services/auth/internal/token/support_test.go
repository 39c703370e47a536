package token_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
	"github.com/catalogsync/catalogsync/simulator"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		victim()
		return
	}
	goleak.VerifyTestMain(m)
}

// quick are limits with which nobody waits for long, but long enough for a slow machine to live.
func quick() token.Options {
	o := token.DefaultOptions()
	o.BackoffBase, o.BackoffCap = time.Millisecond, 2*time.Millisecond
	o.Burst = 1 << 30
	o.CallTimeout, o.Lease, o.Settle = 2*time.Second, 2*time.Second, 50*time.Millisecond
	o.Grace = time.Millisecond
	return o
}

// office is one auth process, as far as tokens go.
type office struct {
	*token.Source
	conns *connection.Store
	audit *audit.Log
	meter *metric.ManualReader
}

// open makes an auth process on the bus that ends with the test.
func open(t testing.TB, b *bus.Bus, keyFile, origin string, opt token.Options) *office {
	t.Helper()
	o, err := build(t.Context(), b, keyFile, origin, testkit.Logger(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// build makes an auth process.
func build(ctx context.Context, b *bus.Bus, keyFile, origin string, log *slog.Logger, opt token.Options) (*office, error) {
	sets, err := connection.OpenKeySets(ctx, b)
	if err != nil {
		return nil, err
	}
	v, err := vault.Load(ctx, sets, keyFile, true)
	if err != nil {
		return nil, err
	}
	conns, err := connection.Open(ctx, b, v, log)
	if err != nil {
		return nil, err
	}
	trail, err := audit.Open(ctx, b, "auth")
	if err != nil {
		return nil, err
	}
	reader := metric.NewManualReader()
	tel := telemetry.Noop()
	tel.Meter = metric.NewMeterProvider(metric.WithReader(reader))
	policy := salesforce.HostPolicy{AllowDev: []string{origin}}
	source, err := token.New(ctx, token.Deps{
		OAuth: oauth.New(salesforce.NewOAuthClient(policy), policy), Conns: conns, Bus: b, Vault: v, Audit: trail, Log: log, Telemetry: tel,
	}, opt)
	if err != nil {
		return nil, err
	}
	return &office{Source: source, conns: conns, audit: trail, meter: reader}, nil
}

// events are the counts of token events by name.
func (o *office) events(t testing.TB) map[string]int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := o.meter.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "catalogsync_auth_token_events" {
				for _, p := range sum.DataPoints {
					event, _ := p.Attributes.Value("event")
					got[event.AsString()] += p.Value
				}
			}
		}
	}
	return got
}

// world is a simulated org whose refresh tokens rotate, and the bus of the auth processes.
type world struct {
	sim     *simulator.Server
	nats    interface{ Bus(t testing.TB) *bus.Bus }
	keyFile string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return worldOn(t, testkit.NATS(t))
}

// worldOn is newWorld on a given NATS server.
func worldOn(t testing.TB, nats interface{ Bus(t testing.TB) *bus.Bus }) *world {
	t.Helper()
	sim, err := simulator.Start(simulator.Options{Rotation: true, ClientSecret: "S3cr3t-canary-77d1f0c2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{sim: sim, nats: nats, keyFile: filepath.Join(t.TempDir(), "key")}
}

// office opens an auth process with a connection to NATS of its own.
func (w *world) office(t testing.TB, opt token.Options) *office {
	t.Helper()
	return open(t, w.nats.Bus(t), w.keyFile, w.sim.URL, opt)
}

// consent links a tenant by the web server flow, as if a user had just consented.
func (w *world) consent(t testing.TB, o *office, tenant string) connection.Connection {
	t.Helper()
	return w.link(t, o, connection.Connection{Tenant: tenant, Flow: connection.WebServer}, connection.Credentials{
		ClientID: w.sim.ClientID(), ClientSecret: config.NewSecret(w.sim.ClientSecret()), RefreshToken: config.NewSecret(w.sim.RefreshToken()),
	})
}

func (w *world) link(t testing.TB, o *office, c connection.Connection, creds connection.Credentials) connection.Connection {
	t.Helper()
	c.Host, c.InstanceURL, c.OrgID, c.UserID, c.TokenAt = w.sim.URL, w.sim.URL, w.sim.OrgID(), w.sim.UserID(), time.Now()
	linked, err := o.conns.Link(t.Context(), c, creds, connection.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	return linked.Connection
}

// calls is how many token calls the org has seen.
func (w *world) calls() int64 { return w.sim.Counters().Routes["POST /services/oauth2/token"] }

// find returns the connection as it is stored.
func find(t testing.TB, o *office, c connection.Connection) connection.Connection {
	t.Helper()
	now, err := o.conns.Find(t.Context(), c.Tenant, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// mustToken returns a token that is not the rejected one.
func mustToken(t testing.TB, o *office, c connection.Connection, rejected config.Secret) config.Secret {
	t.Helper()
	g, err := o.Token(t.Context(), c.Tenant, c.ID, rejected)
	if err != nil {
		t.Fatal(err)
	}
	return g.AccessToken
}

// clock is a wall clock that a test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) forward(d time.Duration) { c.offset.Add(int64(d)) }

// revoke ends a token at the org, as its admin would.
func (w *world) revoke(t testing.TB, tok config.Secret) {
	t.Helper()
	policy := salesforce.HostPolicy{AllowDev: []string{w.sim.URL}}
	if err := oauth.New(salesforce.NewOAuthClient(policy), policy).Revoke(t.Context(), w.sim.URL, tok); err != nil {
		t.Fatal(err)
	}
}

// closedAudit is the stream of the audit log with room for no entry.
func closedAudit() bus.Stream {
	s := event.AuditStream()
	s.MaxMsgSize = 1
	return s
}
