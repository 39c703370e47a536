package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
)

const (
	prefix = "cs_"
	digits = 43 // of base 62, for 256 bits

	maxName = 100
)

// Token is an API token without its secret.
type Token struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Tenant    string         `json:"tenant"`
	Role      optionsv1.Role `json:"role"`
	CreatedAt time.Time      `json:"created_at"`
	ExpiresAt time.Time      `json:"expires_at,omitzero"` // zero: never
	UsedAt    time.Time      `json:"used_at,omitzero"`    // to the minute; zero: never
	Author    string         `json:"author,omitempty"`
}

// Tokens keeps API tokens, each under the SHA-256 hash of its secret. A secret has 256 random bits, so the hash needs
// neither salt nor stretching, and looking it up by hash tells nothing about other secrets through the time it takes.
type Tokens struct {
	bucket *store.Bucket[Token]
	log    *slog.Logger
	uses   uses
}

// OpenTokens opens the bucket, making it where it is missing.
func OpenTokens(ctx context.Context, b *bus.Bus, log *slog.Logger) (*Tokens, error) {
	bucket, err := store.Open[Token](ctx, b, store.Config{Bucket: "API_TOKENS", MaxBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	return &Tokens{bucket: bucket, log: log, uses: newUses()}, nil
}

// tenantPattern is what a tenant may be called.
var tenantPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Create makes a token of t's name, tenant, role, author and expiry, and returns it with its secret, which is known to nobody
// afterwards.
func (s *Tokens) Create(ctx context.Context, t Token) (Token, config.Secret, error) {
	t.Name = strings.TrimSpace(t.Name)
	var problems []string
	if n := utf8.RuneCountInString(t.Name); n == 0 || n > maxName {
		problems = append(problems, fmt.Sprintf("name has %d characters: give it 1 to %d, such as who or what uses the token", n, maxName))
	}
	if !tenantPattern.MatchString(t.Tenant) {
		problems = append(problems, "tenant must be 1 to 64 letters, digits, dots, hyphens or underscores, the first a letter or digit")
	}
	if !OfTenant(t.Role) {
		problems = append(problems, "role must be viewer, admin or owner")
	}
	now := time.Now().UTC()
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now) {
		problems = append(problems, "expires_at has passed: give a time to come, or none for a token that never expires")
	}
	if problems != nil {
		return Token{}, config.Secret{}, errs.New(errs.Invalid, "invalid_token_request", "%s", strings.Join(problems, "; "))
	}
	secret := newSecret()
	hash := hashOf(secret)
	t.ID, t.CreatedAt, t.UsedAt = "tok_"+hash[:20], now, time.Time{}
	if _, err := s.bucket.Create(ctx, store.Key(hash), t); err != nil {
		return Token{}, config.Secret{}, fmt.Errorf("store token %s: %w", t.ID, err)
	}
	return t, config.NewSecret(secret), nil
}

// List returns the tenant's tokens, oldest first.
func (s *Tokens) List(ctx context.Context, tenant string) ([]Token, error) {
	all, err := s.bucket.List(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list the tokens: %w", err)
	}
	slices.SortFunc(all, func(a, b store.Entry[Token]) int {
		return cmp.Or(a.Value.CreatedAt.Compare(b.Value.CreatedAt), cmp.Compare(a.Value.ID, b.Value.ID))
	})
	var tokens []Token
	for _, e := range all {
		if e.Value.Tenant == tenant {
			tokens = append(tokens, e.Value)
		}
	}
	return tokens, nil
}

// Revoke deletes the tenant's token, or any tenant's where tenant is empty. It is refused from then on.
func (s *Tokens) Revoke(ctx context.Context, tenant, id string) error {
	e, found, err := s.entry(ctx, tenant, id)
	if err != nil {
		return err
	}
	if !found {
		return errs.New(errs.NotFound, "no_such_token", "there is no token %s: list the tokens for their ids", id)
	}
	if err := s.bucket.Delete(ctx, e.Key, 0); err != nil {
		return fmt.Errorf("delete token %s: %w", id, err)
	}
	return nil
}

// Get returns the tenant's token, or any tenant's where tenant is empty, and whether there is one.
func (s *Tokens) Get(ctx context.Context, tenant, id string) (Token, bool, error) {
	e, found, err := s.entry(ctx, tenant, id)
	return e.Value, found, err
}

func (s *Tokens) entry(ctx context.Context, tenant, id string) (store.Entry[Token], bool, error) {
	all, err := s.bucket.List(ctx, "")
	if err != nil {
		return store.Entry[Token]{}, false, fmt.Errorf("list the tokens: %w", err)
	}
	for _, e := range all {
		if e.Value.ID == id && (tenant == "" || e.Value.Tenant == tenant) {
			return e, true, nil
		}
	}
	return store.Entry[Token]{}, false, nil
}

// find returns the token with the secret. NotFound when there is none.
func (s *Tokens) find(ctx context.Context, secret string) (Token, error) {
	t, _, err := s.bucket.Get(ctx, store.Key(hashOf(secret)))
	if errors.Is(err, store.ErrNotFound) {
		return Token{}, errs.New(errs.Unauthenticated, "unknown_token", "this API token is not known: it was revoked or never made. Ask an owner of your tenant for a new one")
	}
	if err != nil {
		return Token{}, fmt.Errorf("look the token up: %w", err)
	}
	return t, nil
}

// newSecret returns cs_ and 256 random bits in base 62.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	text := new(big.Int).SetBytes(b[:]).Text(62)
	return prefix + strings.Repeat("0", digits-len(text)) + text
}

// wellFormed reports whether a text may be a secret, without looking it up.
func wellFormed(secret string) bool {
	rest, ok := strings.CutPrefix(secret, prefix)
	return ok && len(rest) == digits && !strings.ContainsFunc(rest, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// ValidTenant reports whether a tenant may be called so.
func ValidTenant(name string) bool { return tenantPattern.MatchString(name) }
