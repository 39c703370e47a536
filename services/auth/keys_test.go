package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/natsd"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
	"github.com/catalogsync/catalogsync/simulator"
)

// quick is auth.New with rotations that wait for a moment only.
func quick(ctx context.Context, cfg auth.Config, deps auth.Deps) (*auth.Service, error) {
	cfg.KeySettle = 400 * time.Millisecond
	return auth.New(ctx, cfg, deps)
}

// estate is auth with something sealed in every bucket that holds sealed values.
type estate struct {
	nats    *testkit.Server
	bus     *bus.Bus
	keyFile string
	sim     *simulator.Server
	procs   []*process
	conn    *authv1.Connection
	signing *authv1.SigningKey
	dataKey []byte
}

func newEstate(t *testing.T, processes int) *estate {
	t.Helper()
	e := &estate{nats: testkit.NATS(t), keyFile: filepath.Join(t.TempDir(), "key"), sim: newSim(t, simulator.Options{Rotation: true})}
	e.bus = e.nats.Bus(t)
	for range processes {
		e.procs = append(e.procs, startAs(t, e.bus, e.keyFile, quick, at(e.sim)))
	}
	p := e.procs[0]
	e.conn = p.byConsent(t, beginRequest(e.sim))
	p.mustToken(t, "acme", e.conn.GetId(), "")
	pending := beginRequest(e.sim)
	pending.Purpose, pending.Name = authv1.Purpose_PURPOSE_SOURCE, "Other"
	p.openLink(t, p.begin(t, pending).GetTicket(), "browser")
	made, err := p.conns.CreateSigningKey(as(t, "acme"), &authv1.CreateSigningKeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	e.signing = made.GetKey()
	e.dataKey = p.dataKey(t, "acme", 0).GetKey()
	return e
}

func byWorker(t testing.TB, tenant string) context.Context {
	return rpc.WithCaller(t.Context(), rpc.Caller{Tenant: tenant, Subject: "sync-worker", Role: optionsv1.Role_ROLE_INTERNAL})
}

func (p *process) dataKey(t testing.TB, tenant string, version int32) *authv1.GetDataKeyResponse {
	t.Helper()
	res, err := p.tokens.GetDataKey(byWorker(t, tenant), &authv1.GetDataKeyRequest{Tenant: tenant, Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func operator(ctx context.Context) context.Context {
	return rpc.WithCaller(ctx, rpc.Caller{Subject: "operator", Role: optionsv1.Role_ROLE_OPERATOR})
}

// rotate rotates the keys, and leaves after so many messages; 0: at the end.
func (p *process) rotate(t testing.TB, leave int) *authv1.RotateKeysResponse {
	t.Helper()
	ctx, cancel := context.WithCancel(operator(t.Context()))
	defer cancel()
	stream, err := p.keys.RotateKeys(ctx, &authv1.RotateKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var last *authv1.RotateKeysResponse
	for n := 1; ; n++ {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		if last = res; n == leave {
			return last
		}
	}
}

// sealers returns, by bucket, the ids of the keys that sealed what stands in all buckets there are, registered or not.
func (e *estate) sealers(t testing.TB) map[string][]uint32 {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(e.nats.Dir(), "jetstream", "*", "streams", "KV_*"))
	if err != nil || len(dirs) < 5 {
		t.Fatalf("the buckets are %v, %v", dirs, err)
	}
	found := map[string][]uint32{}
	for _, dir := range dirs {
		name := strings.TrimPrefix(filepath.Base(dir), "KV_")
		entries, err := store.Existing[json.RawMessage](e.bus, name).List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			d := json.NewDecoder(bytes.NewReader(entry.Value))
			for token, err := d.Token(); err == nil; token, err = d.Token() {
				text, _ := token.(string)
				value, err := base64.StdEncoding.DecodeString(text)
				rest, ok := bytes.CutPrefix(value, []byte{0xC5, 0x5E, 0xA1, 0x01})
				if err != nil || !ok {
					continue
				}
				box := rest[2+binary.BigEndian.Uint16(rest):]
				found[name] = append(found[name], binary.BigEndian.Uint32(box[1:5]))
			}
		}
	}
	return found
}

// TestARotationReachesEverySealedValue fails when a bucket with sealed values is not in vault.Buckets, or when one that is
// there has nothing sealed in this test: then newEstate needs one more thing.
func TestARotationReachesEverySealedValue(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 3)
	for name := range e.sealers(t) {
		if !slices.Contains(vault.Buckets, name) {
			t.Errorf("bucket %s holds sealed values and is not in vault.Buckets: they are lost at the next rotation", name)
		}
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, p := range e.procs {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if res, err := p.tokens.GetDataKey(byWorker(t, "acme"), &authv1.GetDataKeyRequest{Tenant: "acme", Version: 1}); err != nil || !bytes.Equal(res.GetKey(), e.dataKey) {
					t.Errorf("data key while keys are rotated: %v", err)
					return
				}
				if tok, err := p.token(t, "acme", e.conn.GetId(), ""); err != nil || tok == "" {
					t.Errorf("access token while keys are rotated: %v", err)
					return
				}
			}
		})
	}
	e.procs[0].rotate(t, 4) // whoever asked goes away
	done := e.procs[1].rotate(t, 0)
	last := e.procs[2].rotate(t, 0)
	close(stop)
	readers.Wait()
	if len(last.GetRetiredKeyIds()) != 1 || last.GetTotal() < 5 || last.GetDone() != last.GetTotal() || done.GetPrimaryKeyId() == last.GetPrimaryKeyId() {
		t.Errorf("the last rotation ended with %v", last)
	}
	found := e.sealers(t)
	for _, name := range vault.Buckets {
		if len(found[name]) == 0 {
			t.Errorf("bucket %s holds nothing that was sealed", name)
		}
		for _, id := range found[name] {
			if id != last.GetPrimaryKeyId() {
				t.Errorf("a value in bucket %s is sealed by key %d, and the primary one is %d", name, id, last.GetPrimaryKeyId())
			}
		}
	}
	// A process that starts now opens all of it.
	p := startAs(t, e.bus, e.keyFile, quick, at(e.sim))
	if got := p.dataKey(t, "acme", 1); !bytes.Equal(got.GetKey(), e.dataKey) {
		t.Error("the data key is another one")
	}
	if tok := p.mustToken(t, "acme", e.conn.GetId(), p.mustToken(t, "acme", e.conn.GetId(), "")); tok == "" {
		t.Error("no access token by the refresh token")
	}
	log, err := audit.Open(t.Context(), e.bus, "test")
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := log.List(t.Context(), audit.Query{ActionPrefix: "key.rotate"})
	if err != nil || len(entries) < 5 || entries[0].GetActor() != "operator" {
		t.Errorf("the audit log has %v, %v", entries, err)
	}
}

// secrets are all that must not be read from a copy of the data.
func (e *estate) secrets(t *testing.T) map[string]string {
	t.Helper()
	sets, err := connection.OpenKeySets(t.Context(), e.bus)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Load(t.Context(), sets, e.keyFile, false)
	if err != nil {
		t.Fatal(err)
	}
	conns, err := connection.Open(t.Context(), e.bus, v, testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := conns.Find(t.Context(), "acme", e.conn.GetId())
	if err != nil {
		t.Fatal(err)
	}
	creds, err := conns.Credentials(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := signkey.Open(t.Context(), e.bus, v)
	if err != nil {
		t.Fatal(err)
	}
	private, err := keys.Private(t.Context(), "acme", e.signing.GetId())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(private.Expose()))
	lines := strings.Split(private.Expose(), "\n")
	kek, err := os.ReadFile(e.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(kek)))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"client secret": e.sim.ClientSecret(), "refresh token": creds.RefreshToken.Expose(), "access token": e.procs[0].mustToken(t, "acme", e.conn.GetId(), ""),
		"private key": string(block.Bytes[len(block.Bytes)/2:][:48]), "private key as PEM": lines[len(lines)/2],
		"data key": string(e.dataKey), "key of the key file": string(raw),
	}
}

// TestABackupIsUselessWithoutItsKeyFile copies the data without the key file.
func TestABackupIsUselessWithoutItsKeyFile(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 1)
	e.procs[0].rotate(t, 0) // what lies around from before is searched, too
	secrets := e.secrets(t)
	e.procs[0].stop()
	e.nats.Stop()
	copied := t.TempDir()
	if err := os.CopyFS(filepath.Join(copied, "nats"), os.DirFS(e.nats.Dir())); err != nil {
		t.Fatal(err)
	}
	searched := 0
	err := filepath.WalkDir(copied, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		searched += len(content)
		for what, secret := range secrets {
			if len(secret) < 16 {
				t.Fatalf("the %s is %q", what, secret)
			}
			for enc, needle := range testkit.Encodings(secret) {
				if bytes.Contains(content, needle) {
					t.Errorf("%s holds the %s as %s", filepath.Base(path), what, enc)
				}
			}
		}
		return err
	})
	if err != nil || searched < 10_000 {
		t.Errorf("%d bytes were searched, %v", searched, err)
	}
	thief := testkit.NATS(t, func(o *natsd.Options) { o.Dir = filepath.Join(copied, "nats") })
	deps := auth.Deps{Log: testkit.Logger(t), Bus: thief.Bus(t)}
	cfg := auth.DefaultConfig()
	cfg.KeyFile, cfg.CreateKeyFile = filepath.Join(copied, "key"), true
	if _, err := auth.New(t.Context(), cfg, deps); err == nil || !strings.Contains(err.Error(), "is missing") || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("without a key file: %v", err)
	}
	other := filepath.Join(t.TempDir(), "key")
	world := startAs(t, testkit.Bus(t), other, quick) // another installation makes its own
	world.stop()
	cfg.KeyFile = other
	if _, err := auth.New(t.Context(), cfg, deps); err == nil || !strings.Contains(err.Error(), "is not the one that wrapped") {
		t.Errorf("with the key file of another installation: %v", err)
	}
	cfg.KeyFile = e.keyFile
	if _, err := auth.New(t.Context(), cfg, deps); err != nil {
		t.Errorf("with its own key file: %v", err)
	}
}

func TestDataKeys(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 2)
	a, b := e.procs[0], e.procs[1]
	for _, p := range e.procs {
		if got := p.dataKey(t, "acme", 0); got.GetVersion() != 1 || !bytes.Equal(got.GetKey(), e.dataKey) {
			t.Errorf("the key is version %d", got.GetVersion())
		}
	}
	if got := b.dataKey(t, "umbrella", 0); bytes.Equal(got.GetKey(), e.dataKey) || len(got.GetKey()) != 32 {
		t.Error("two tenants share a key")
	}
	_, err := a.tokens.GetDataKey(byWorker(t, "acme"), &authv1.GetDataKeyRequest{Tenant: "umbrella"})
	wantReason(t, err, errs.Denied, "other_tenant")
	_, err = a.tokens.GetDataKey(byWorker(t, "acme"), &authv1.GetDataKeyRequest{Version: 2})
	wantReason(t, err, errs.NotFound, "no_such_data_key")

	owner := rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "acme", Subject: "olga", Role: optionsv1.Role_ROLE_OWNER})
	destroy := func(confirm string) error {
		_, err := b.keys.DestroyDataKey(owner, &authv1.DestroyDataKeyRequest{ConfirmTenant: confirm})
		return err
	}
	wantReason(t, destroy("umbrella"), errs.Invalid, "not_confirmed")
	open, err := store.Open[map[string]string](t.Context(), e.bus, store.Config{Bucket: "OPEN_RUNS", MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Create(t.Context(), "run9", map[string]string{"tenant": "acme", "run_id": "run9"}); err != nil {
		t.Fatal(err)
	}
	wantReason(t, destroy("acme"), errs.Precondition, "run_open")
	if got := a.dataKey(t, "acme", 1); !bytes.Equal(got.GetKey(), e.dataKey) {
		t.Error("the key is gone all the same")
	}
	if err := open.Delete(t.Context(), "run9", 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := destroy("acme"); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range e.procs {
		_, err := p.tokens.GetDataKey(byWorker(t, "acme"), &authv1.GetDataKeyRequest{Version: 1})
		wantReason(t, err, errs.Precondition, "data_key_destroyed")
	}
	if got := a.dataKey(t, "acme", 0); got.GetVersion() != 2 || bytes.Equal(got.GetKey(), e.dataKey) {
		t.Errorf("the next key is version %d", got.GetVersion())
	}
	if got := b.dataKey(t, "umbrella", 0); got.GetVersion() != 1 {
		t.Error("the key of another tenant went with it")
	}
}

func wantReason(t testing.TB, err error, kind errs.Kind, reason string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Errorf("error is %v, want %v %q", err, kind, reason)
	}
}
