package access

import (
	"fmt"
	"strings"
	"testing"
	"time"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	s, err := OpenSessions(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	who := rpc.Caller{Tenant: "acme", Subject: "oidc:1", Role: optionsv1.Role_ROLE_ADMIN}
	begin := func() string {
		t.Helper()
		secret, err := s.Begin(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		return secret.Expose()
	}
	use := func(secret string, alive bool, want string) {
		t.Helper()
		session, err := s.Use(t.Context(), secret, alive)
		if want == "" && (err != nil || session.caller() != who) || want != "" && (errs.KindOf(err) != errs.Unauthenticated || errs.ReasonOf(err) != want) {
			t.Errorf("session is %+v, %v, want %q", session, err, want)
		}
	}
	idle := begin()
	use(idle, true, "")
	now = now.Add(SessionIdle - time.Second)
	use(idle, false, "") // a stream that is open is no sign of life
	now = now.Add(time.Second)
	use(idle, true, "session_ended")

	busy := begin()
	for range int(SessionLife/(20*time.Minute)) - 1 {
		now = now.Add(20 * time.Minute)
		use(busy, true, "")
	}
	now = now.Add(19 * time.Minute)
	use(busy, true, "")
	now = now.Add(time.Minute)
	use(busy, true, "session_ended")

	over := begin()
	if err := s.End(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	use(over, true, "no_session")
	if err := s.End(t.Context(), over); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{"", "x", strings.Repeat("x", 10_000), "a.b.*.>", over[:42]} {
		use(secret, true, "no_session")
	}

	// What is stored tells nobody the secret.
	secret := begin()
	list, err := s.bucket.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", list); strings.Contains(text, secret) || len(list) != 3 {
		t.Errorf("stored is %s", text)
	}
	if len(secret) < 43 {
		t.Errorf("a secret has %d characters", len(secret))
	}
	if _, err := s.bucket.Create(t.Context(), store.Key(hashOf("operator")), Session{Tenant: "acme", Role: optionsv1.Role_ROLE_OPERATOR, CreatedAt: now, SeenAt: now}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Use(t.Context(), "operator", true); errs.ReasonOf(err) != "unusable_session" {
		t.Errorf("the session of an operator: %v", err)
	}
}

// A session is written when it shows life, but not with every call.
func TestSessionsAreWrittenSeldom(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	s, err := OpenSessions(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	secret, err := s.Begin(t.Context(), rpc.Caller{Tenant: "acme", Subject: "oidc:1", Role: optionsv1.Role_ROLE_ADMIN})
	if err != nil {
		t.Fatal(err)
	}
	for range 600 { // ten minutes
		if _, err := s.Use(t.Context(), secret.Expose(), true); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	seq, err := b.LastSeq(t.Context(), "KV_SESSIONS")
	if err != nil || seq < 9 || seq > 11 {
		t.Errorf("written %d times, %v", seq, err)
	}
}

func TestRateForgetsWhoIsQuiet(t *testing.T) {
	t.Parallel()
	r := NewRate(1e9, 1)
	for i := range 2 * manyCallers {
		if err := r.take(rpc.Caller{Tenant: "acme", Subject: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.callers) > manyCallers {
		t.Errorf("%d callers are remembered", len(r.callers))
	}
	var none *Rate
	if err := none.take(rpc.Caller{}); err != nil {
		t.Error(err)
	}
}

func TestRolesByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]optionsv1.Role{"viewer": optionsv1.Role_ROLE_VIEWER, "admin": optionsv1.Role_ROLE_ADMIN, "owner": optionsv1.Role_ROLE_OWNER} {
		if got, ok := RoleNamed(name); !ok || got != want {
			t.Errorf("%s is %v, %t", name, got, ok)
		}
	}
	for _, name := range []string{"", "operator", "internal", "unspecified", "Admin", "ADMIN", "ROLE_ADMIN", "admin ", "root"} {
		if got, ok := RoleNamed(name); ok {
			t.Errorf("%q is %v", name, got)
		}
	}
}

// Uses that nobody writes down do not pile up, and noting one never waits.
func TestUsesDoNotPileUp(t *testing.T) {
	t.Parallel()
	s := &Tokens{uses: newUses()}
	for i := range 3 * manyUses {
		s.used(fmt.Sprint(i))
	}
	if n := len(s.uses.pending); n > manyUses {
		t.Errorf("%d uses wait", n)
	}
}
