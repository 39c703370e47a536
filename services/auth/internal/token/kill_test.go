package token_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

const tokenPath = "/services/oauth2/token"

// deadly are limits with which a process that is gone is missed soon.
func deadly() token.Options {
	o := quick()
	o.CallTimeout, o.Lease = 1500*time.Millisecond, time.Second
	return o
}

// settle asks for another token until it is known whether there is one, and returns how long that took.
func settle(t *testing.T, o *office, c connection.Connection, rejected config.Secret) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	for {
		_, err := o.Token(t.Context(), c.Tenant, c.ID, rejected)
		if errs.KindOf(err) != errs.Unavailable {
			return time.Since(began), err
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("still unknown: %v", err)
		}
	}
}

// TestTheProcessEndsInMidCall ends an auth process in every way but SIGKILL while its call is under way.
func TestTheProcessEndsInMidCall(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*office, *bus.Bus){
		"stopped":         func(o *office, _ *bus.Bus) { o.Close() },
		"cut off the bus": func(o *office, b *bus.Bus) { b.Close(); o.Close() },
	}
	for how, end := range ends {
		for _, kind := range []fault.Kind{fault.HangBefore, fault.HangAfter} {
			t.Run(how+", "+string(kind), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				busA := w.nats.Bus(t)
				a, b := open(t, busA, w.keyFile, w.sim.URL, deadly()), w.office(t, deadly())
				hit, other := w.consent(t, a, "acme"), w.consent(t, a, "umbrella")
				first, otherFirst := mustToken(t, a, hit, config.Secret{}), mustToken(t, a, other, config.Secret{})
				w.sim.Faults().MustAdd(fault.Rule{Kind: kind, Path: tokenPath, Count: 1, Delay: fault.Duration(10 * time.Second)})
				asked := make(chan struct{})
				go func() {
					_, _ = a.Token(t.Context(), hit.Tenant, hit.ID, first)
					close(asked)
				}()
				testkit.Eventually(t, 10*time.Second, func() error {
					if len(w.sim.Faults().Fired()) == 0 {
						return fmt.Errorf("the call has not come")
					}
					return nil
				})
				end(a, busA)
				<-asked

				// The access token in force works, so nobody risks it.
				if _, err := b.Test(t.Context(), hit); errs.ReasonOf(err) != "refresh_unknown" {
					t.Errorf("a test says %v", err)
				}
				if tok := mustToken(t, b, hit, config.Secret{}); !tok.Equal(first) {
					t.Error("the token that works is no longer given")
				}
				_, err := settle(t, b, hit, first)
				got := find(t, b, hit)
				if kind == fault.HangBefore && (err != nil || got.State != connection.Linked) {
					t.Errorf("nothing was lost: %v, connection is %s (%s)", err, got.State, got.Reason)
				}
				if kind == fault.HangAfter && (errs.ReasonOf(err) != "needs_reconnect" || got.ReasonCode != "lost_reply") {
					t.Errorf("the answer was lost: %v, connection is %s (%s)", err, got.State, got.ReasonCode)
				}
				mustToken(t, b, other, otherFirst)
			})
		}
	}
}

// TestWhileTheHolderCallsOthersWait: a process that lives keeps its turn, however long Salesforce takes.
func TestWhileTheHolderCallsOthersWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opt := deadly()
	opt.CallTimeout = 10 * time.Second
	a, b := w.office(t, opt), w.office(t, opt)
	c := w.consent(t, a, "acme")
	w.sim.Faults().MustAdd(fault.Rule{Kind: fault.SlowHeaders, Path: tokenPath, Count: 1, Delay: fault.Duration(4 * opt.Lease)})
	if got := crowd(t, []*office{a, b}, c, 20, config.Secret{}); len(got) != 1 || w.calls() != 1 || w.sim.Counters().Reuses != 0 {
		t.Errorf("%d tokens by %d calls", len(got), w.calls())
	}
}

// The victim is a process of its own: this test binary, run with the variable set.
const victimEnv = "CATALOGSYNC_TEST_VICTIM"

// orders are what the victim is to do.
type orders struct {
	NATS, KeyFile, Origin string
	Conns                 [][2]string // tenant and id
}

// victim refreshes tokens of its connections, one after the other and for ever.
func victim() {
	var o orders
	if err := json.Unmarshal([]byte(os.Getenv(victimEnv)), &o); err != nil {
		panic(err)
	}
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.Connect(ctx, bus.Options{URLs: o.NATS, Name: "victim", Log: log})
	if err != nil {
		panic(err)
	}
	s, err := build(ctx, b, o.KeyFile, o.Origin, log, deadly())
	if err != nil {
		panic(err)
	}
	for rejected := make([]config.Secret, len(o.Conns)); ; {
		for i, c := range o.Conns {
			if g, err := s.Token(ctx, c[0], c[1], rejected[i]); err == nil {
				rejected[i] = g.AccessToken
			}
		}
	}
}

// TestKilledWhileRefreshing kills auth processes while they do nothing but refresh: at random instants, and right in
// a call that the org has or has not applied. Only a connection whose answer was lost needs a reconnect.
func TestKilledWhileRefreshing(t *testing.T) {
	t.Parallel()
	const kills, connections = 9, 3
	nats := testkit.NATSProcess(t)
	w := worldOn(t, nats)
	b := w.office(t, deadly())
	lost := 0
	for kill := range kills {
		var conns []connection.Connection
		o := orders{NATS: nats.URL(), KeyFile: w.keyFile, Origin: w.sim.URL}
		for i := range connections {
			c := w.consent(t, b, fmt.Sprintf("t%d-%d", kill, i))
			conns, o.Conns = append(conns, c), append(o.Conns, [2]string{c.Tenant, c.ID})
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		before, fired := w.sim.Counters(), len(w.sim.Faults().Fired())
		w.sim.Faults().Clear()
		rule := fault.Rule{Path: tokenPath, After: 3 + rand.IntN(4), Count: 1, Delay: fault.Duration(10 * time.Second)}
		switch kill % 3 {
		case 0:
			rule.Kind = fault.HangAfter
		case 1:
			rule.Kind = fault.HangBefore
		case 2:
			rule.Kind, rule.Delay = fault.SlowHeaders, fault.Duration(time.Millisecond) // killed somewhere after it
		}
		w.sim.Faults().MustAdd(rule)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimEnv+"="+string(text))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 30*time.Second, func() error {
			if len(w.sim.Faults().Fired()) == fired {
				return fmt.Errorf("the victim has not come so far")
			}
			return nil
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		w.sim.Faults().Clear()

		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() {
				known, _, err := b.Current(t.Context(), find(t, b, c))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = settle(t, b, c, known.AccessToken)
			})
		}
		wg.Wait()
		reconnect := 0
		for _, c := range conns {
			switch got := find(t, b, c); {
			case got.State == connection.Linked:
			case got.State == connection.NeedsReconnect && got.ReasonCode == "lost_reply":
				reconnect++
			default:
				t.Errorf("kill %d: connection is %s (%s): %s", kill, got.State, got.ReasonCode, got.Reason)
			}
		}
		reuses := int(w.sim.Counters().Reuses - before.Reuses)
		if reconnect != reuses || reconnect > 1 || rule.Kind == fault.HangAfter && reconnect != 1 || rule.Kind == fault.HangBefore && reconnect != 0 {
			t.Errorf("kill %d in %s: %d connections need a reconnect, the org saw %d reuses", kill, rule.Kind, reconnect, reuses)
		}
		lost += reconnect
	}
	t.Logf("%d kills, %d answers lost", kills, lost)
}
