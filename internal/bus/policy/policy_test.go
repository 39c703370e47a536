package policy_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/bus/policy"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owners says to whom each stream belongs. It is written by hand: who adds a stream says here whose it is.
var owners = map[string]string{
	"KV_ACCESS_TOKENS": "auth", "KV_CONNECTIONS": "auth", "KV_CREDENTIALS": "auth", "KV_DATA_KEYS": "auth", "KV_GRANTS": "auth", "KV_KEYSETS": "auth",
	"KV_LINKS": "auth", "KV_SIGNING_KEYS": "auth", "KV_TOKEN_REFRESHES": "auth",
	"KV_API_TOKENS": "gateway", "KV_SESSIONS": "gateway", "KV_FIELD_MAPS": "mapper", "KV_SCHEDULES": "scheduler",
	"KV_ALLOCATIONS": "sync-worker", "KV_CLAIMS": "sync-worker", "KV_OPEN_RUNS": "sync-worker", "KV_RUNS": "sync-worker",
	"KV_RUN_SNAPSHOTS": "sync-worker", "KV_TASKS": "sync-worker",
	"CATALOGSYNC_WORK": "sync-worker", "CATALOGSYNC_ROWS": "sync-worker", "CATALOGSYNC_CHANGES": "sync-worker", "CATALOGSYNC_OUTCOMES": "sync-worker",
	"CATALOGSYNC_EVENTS": "sync-worker", "CATALOGSYNC_DEAD_LETTERS": "sync-worker",
	"CATALOGSYNC_AUDIT": "", // everybody's and nobody's: see may
}

// operations are what can be asked of a stream, by subject. The last part says which kind of thing it is.
var operations = map[string]string{
	"$JS.API.STREAM.INFO.%s": "look", "$JS.API.STREAM.MSG.GET.%s": "read", "$JS.API.DIRECT.GET.%s": "read", "$JS.API.DIRECT.GET.%s.some.subject": "read",
	"$JS.API.STREAM.CREATE.%s": "make", "$JS.API.STREAM.UPDATE.%s": "make", "$JS.API.STREAM.PURGE.%s": "empty",
	"$JS.API.STREAM.DELETE.%s": "never", "$JS.API.STREAM.MSG.DELETE.%s": "never", "$JS.API.STREAM.SNAPSHOT.%s": "never", "$JS.API.STREAM.RESTORE.%s": "never",
	"$JS.API.STREAM.LEADER.STEPDOWN.%s": "never", "$JS.API.STREAM.PEER.REMOVE.%s": "never",
	"$JS.API.CONSUMER.CREATE.%s.x": "consume", "$JS.API.CONSUMER.CREATE.%s.x.some.filter": "consume", "$JS.API.CONSUMER.INFO.%s.x": "consume",
	"$JS.API.CONSUMER.MSG.NEXT.%s.x": "consume", "$JS.API.CONSUMER.DELETE.%s.x": "consume", "$JS.ACK.%s.x.1.1.1.1.1": "consume",
	"$JS.API.CONSUMER.DURABLE.CREATE.%s.x": "never", "$JS.API.CONSUMER.LEADER.STEPDOWN.%s.x": "never", "$JS.API.CONSUMER.NAMES.%s": "never",
	"$JS.API.CONSUMER.LIST.%s": "never", "$JS.API.CONSUMER.PAUSE.%s.x": "never",
}

// may says whether a service may do a kind of thing with a stream.
func may(service, stream, kind string) bool {
	switch {
	case kind == "never":
		return false
	case stream == event.StreamAudit: // it is written to by two and read by one, and nobody empties it
		return service == "auth" && (kind == "make" || kind == "read" || kind == "look") || service == "gateway" && (kind == "read" || kind == "look")
	case service == owners[stream]:
		return true
	case service == "auth" && slices.Contains([]string{"KV_TASKS", "KV_RUNS", "KV_OPEN_RUNS"}, stream):
		return kind == "read" || kind == "look" || kind == "consume" && stream == "KV_OPEN_RUNS"
	case service == "auth" && stream == event.StreamEvents:
		return kind == "look"
	}
	return false
}

// try is one subject and who may use it.
type try struct {
	subject string
	may     func(service string) bool
}

// tries are all subjects that there are, and some that there are not.
func tries() (all []try) {
	for stream, owner := range owners {
		for pattern, kind := range operations {
			all = append(all, try{fmt.Sprintf(pattern, stream), func(s string) bool { return may(s, stream, kind) }})
		}
		if b, ok := strings.CutPrefix(stream, "KV_"); ok {
			all = append(all, try{"$KV." + b + ".key", func(s string) bool { return s == owner }}, try{"$KV." + b + ".a.b.c", func(s string) bool { return s == owner }})
		}
	}
	worker := func(s string) bool { return s == "sync-worker" }
	nobody := func(string) bool { return false }
	for _, subject := range []string{
		"catalogsync.work.small.r.plan.1", "catalogsync.rows.r.people.0.s-0.1.0", "catalogsync.changes.r.c.0.s-0.1.0", "catalogsync.outcomes.r.o.0.s-0.1.0",
		"catalogsync.event.run.finished.r", "catalogsync.event.connection.linked.t.c", "catalogsync.dead.s.c.1",
	} {
		all = append(all, try{subject, worker})
	}
	all = append(all,
		try{"catalogsync.event.connection.unlinked.t.c", func(s string) bool { return s == "auth" || s == "sync-worker" }},
		try{"catalogsync.audit.t.entry", func(s string) bool { return s == "auth" || s == "gateway" }},
		try{"$JS.API.INFO", func(string) bool { return true }}, try{"$JS.API.STREAM.NAMES", func(string) bool { return true }},
	)
	for _, subject := range []string{
		"$JS.API.STREAM.LIST", "$JS.API.ACCOUNT.PURGE.APP", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE", "$JS.API.STREAM.CREATE.OTHER",
		"$JS.API.STREAM.CREATE.KV_OTHER", "$SYS.REQ.SERVER.PING", "$SYS.ACCOUNT.APP.CONNECT", "$KV.OTHER.key", "$O.bucket.C.x", "catalogsync", "catalogsync.other",
		"_INBOX.x", "anything", "$JS.FC.KV_TASKS.x", "$SRV.PING", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.x.y",
	} {
		all = append(all, try{subject, nobody})
	}
	for _, s := range policy.Services { // answers to questions of others
		all = append(all, try{bus.Inbox(s) + ".x.y", nobody})
	}
	return all
}

// identities are NKeys: public ones by service, and the files with the seeds.
func identities(t testing.TB) (public, files map[string]string) {
	t.Helper()
	public, files = map[string]string{}, map[string]string{}
	for _, name := range append(slices.Clone(policy.Services), policy.Operator) {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		if public[name], err = pair.PublicKey(); err != nil {
			t.Fatal(err)
		}
		seed, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		files[name] = filepath.Join(t.TempDir(), name+".nk")
		if err := os.WriteFile(files[name], append(seed, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return public, files
}

func server(t testing.TB) (url string, files map[string]string) {
	t.Helper()
	public, files := identities(t)
	config, err := policy.Config(public)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.NATSProcess(t, config).URL(), files
}

// refused reports whether the server refuses something to a service.
func refused(t testing.TB, url, file string, do func(*nats.Conn) error) bool {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	// A connection each: the client keeps its last error. The server tells of it before it answers the next ping.
	nc, err := nats.Connect(url, key, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := do(nc); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	last := nc.LastError()
	return last != nil && strings.Contains(strings.ToLower(last.Error()), "permissions violation")
}

// Every subject is tried as every service, and exactly those are let through that are meant to be.
func TestEverySubjectAsEveryService(t *testing.T) {
	t.Parallel()
	url, files := server(t)
	all := tries()
	n := 0
	for _, service := range policy.Services {
		for _, tt := range all {
			n++
			allowed := !refused(t, url, files[service], func(nc *nats.Conn) error { return nc.Publish(tt.subject, nil) })
			if allowed != tt.may(service) {
				t.Errorf("%s says something on %s: allowed %t, want %t", service, tt.subject, allowed, tt.may(service))
			}
		}
		for subject, want := range map[string]bool{
			bus.Inbox(service) + ".x": true, bus.Inbox(service) + ".>": true, bus.Inbox(service): false, ">": false, "*": false, "_INBOX.>": false, "_INBOX_*.>": false,
			"$KV.>": false, "$JS.API.>": false, "$JS.ACK.>": false, "$JS.EVENT.>": false, "$SYS.>": false, "catalogsync.>": false, "catalogsync.audit.>": false,
			"catalogsync.rows.>": false, bus.Inbox("x") + ".>": false,
		} {
			n++
			allowed := !refused(t, url, files[service], func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err })
			if allowed != want {
				t.Errorf("%s listens to %s: allowed %t, want %t", service, subject, allowed, want)
			}
		}
	}
	if n < 1000 {
		t.Errorf("only %d were tried", n)
	}
}

// The streams of the topology are those that the permissions know.
func TestTheTopologyIsKnown(t *testing.T) {
	t.Parallel()
	for _, s := range append(event.Streams(event.DefaultRetention()), event.AuditStream(), bus.DeadLetterStream(1, 1)) {
		if _, ok := owners[s.Name]; !ok {
			t.Errorf("whose is stream %s?", s.Name)
		}
	}
	if _, err := policy.Config(map[string]string{"auth": "U"}); err == nil {
		t.Error("a configuration was made without the keys of all services")
	}
}

// Nobody gets in who is not known.
func TestStrangers(t *testing.T) {
	t.Parallel()
	url, _ := server(t)
	_, others := identities(t)
	key, err := nats.NkeyOptionFromSeed(others["auth"])
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string][]nats.Option{"nobody": nil, "another key": {key}, "a user": {nats.UserInfo("auth", "x")}, "a token": {nats.Token("x")}} {
		nc, err := nats.Connect(url, opts...)
		if err == nil {
			nc.Close()
			t.Errorf("%s gets in", name)
		}
	}
}

// A bus of a service makes, changes and reads what is its own, waits for what others make, and gets nowhere else.
func TestBusWithAnIdentity(t *testing.T) {
	t.Parallel()
	url, files := server(t)
	as := func(name string) *bus.Bus {
		b, err := bus.Connect(t.Context(), bus.Options{URLs: url, Name: name, NKeyFile: files[name], Log: testkit.Logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	gateway, auth := as("gateway"), as("auth")
	waiting := make(chan error, 1)
	go func() { waiting <- gateway.EnsureStreams(t.Context(), event.AuditStream()) }()
	tokens, err := store.Open[string](t.Context(), gateway, store.Config{Bucket: "API_TOKENS", MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Create(t.Context(), "a", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Update(t.Context(), "a", func(string) (string, error) { return "y", nil }); err != nil {
		t.Fatal(err)
	}
	if list, err := tokens.List(t.Context(), ""); err != nil || len(list) != 1 || list[0].Value != "y" {
		t.Errorf("list is %v, %v", list, err)
	}
	if err := tokens.Delete(t.Context(), "a", 0); err != nil {
		t.Fatal(err)
	}
	if err := auth.EnsureStreams(t.Context(), event.AuditStream()); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("what another service makes: %v", err)
	}
	for _, b := range []*bus.Bus{auth, gateway} {
		if err := b.Publish(t.Context(), event.Audit("acme"), []byte("x")); err != nil {
			t.Error(err)
		}
		if err := b.Health(t.Context()); err != nil {
			t.Error(err)
		}
	}
	n := 0
	for _, err := range gateway.Read(t.Context(), event.StreamAudit, event.AuditOfTenant("acme"), 0) {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 2 {
		t.Errorf("%d entries", n)
	}
	short := func(b *bus.Bus, bucket string) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := store.Open[string](ctx, b, store.Config{Bucket: bucket, MaxBytes: 1 << 20})
		return err
	}
	if err := short(gateway, "CREDENTIALS"); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("the gateway opens the credentials: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "bad.nk")
	if err := os.WriteFile(bad, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, "/nowhere"} {
		if b, err := bus.Connect(t.Context(), bus.Options{URLs: url, NKeyFile: file}); err == nil || errs.ReasonOf(err) != "bus_options" {
			b.Close()
			t.Errorf("%s: %v", file, err)
		}
	}
}
