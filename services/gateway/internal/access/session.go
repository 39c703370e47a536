package access

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/store"
)

const (
	// SessionLife is how long a session lasts at most.
	SessionLife = 12 * time.Hour
	// SessionIdle is how long a session lasts without a call.
	SessionIdle = 30 * time.Minute
	// sessionGrain is how often the last call is written at most.
	sessionGrain = time.Minute
)

// Session is what is known of somebody who signed in with a browser.
type Session struct {
	Subject   string         `json:"subject"`
	Tenant    string         `json:"tenant"`
	Role      optionsv1.Role `json:"role"`
	CreatedAt time.Time      `json:"created_at"`
	SeenAt    time.Time      `json:"seen_at"`
}

func (s Session) caller() rpc.Caller {
	return rpc.Caller{Tenant: s.Tenant, Subject: s.Subject, Role: s.Role}
}

// ended says why a session is over, or nothing.
func (s Session) ended(now time.Time) string {
	switch {
	case now.Sub(s.CreatedAt) >= SessionLife:
		return fmt.Sprintf("it began %s ago or more", SessionLife)
	case now.Sub(s.SeenAt) >= SessionIdle:
		return fmt.Sprintf("nothing was done in it for %s", SessionIdle)
	}
	return ""
}

// Sessions keeps sessions, each under the SHA-256 hash of its secret.
type Sessions struct {
	bucket *store.Bucket[Session]
	now    func() time.Time
}

// OpenSessions opens the bucket, making it where it is missing.
func OpenSessions(ctx context.Context, b *bus.Bus) (*Sessions, error) {
	bucket, err := store.Open[Session](ctx, b, store.Config{Bucket: "SESSIONS", MaxBytes: 16 << 20, TTL: SessionLife})
	if err != nil {
		return nil, err
	}
	return &Sessions{bucket: bucket, now: time.Now}, nil
}

// Begin begins a session for the caller and returns its secret.
func (s *Sessions) Begin(ctx context.Context, c rpc.Caller) (config.Secret, error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	secret := base64.RawURLEncoding.EncodeToString(random[:])
	now := s.now().UTC()
	session := Session{Subject: c.Subject, Tenant: c.Tenant, Role: c.Role, CreatedAt: now, SeenAt: now}
	if _, err := s.bucket.Create(ctx, store.Key(hashOf(secret)), session); err != nil {
		return config.Secret{}, fmt.Errorf("begin the session: %w", err)
	}
	return config.NewSecret(secret), nil
}

// Use returns the session with the secret, and notes a sign of life where it is one. Unauthenticated when there is none, or
// none any more.
func (s *Sessions) Use(ctx context.Context, secret string, alive bool) (Session, error) {
	key := store.Key(hashOf(secret))
	session, rev, err := s.bucket.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return Session{}, errs.New(errs.Unauthenticated, "no_session", "the session has ended or never was: sign in again at /signin")
	}
	if err != nil {
		return Session{}, fmt.Errorf("look the session up: %w", err)
	}
	now := s.now().UTC()
	if why := session.ended(now); why != "" {
		return Session{}, errs.New(errs.Unauthenticated, "session_ended", "the session has ended, since %s: sign in again at /signin", why)
	}
	if session.Tenant == "" || !OfTenant(session.Role) {
		return Session{}, errs.New(errs.Internal, "unusable_session", "the stored session names no tenant or role")
	}
	if alive && now.Sub(session.SeenAt) >= sessionGrain {
		session.SeenAt = now
		// Whoever was faster has written the same, or ended the session.
		if _, err := s.bucket.Replace(ctx, key, session, rev); err != nil && !errors.Is(err, store.ErrConflict) {
			return Session{}, fmt.Errorf("extend the session: %w", err)
		}
	}
	return session, nil
}

// End ends a session. Ending what is no session succeeds.
func (s *Sessions) End(ctx context.Context, secret string) error {
	if err := s.bucket.Delete(ctx, store.Key(hashOf(secret)), 0); err != nil {
		return fmt.Errorf("end the session: %w", err)
	}
	return nil
}
