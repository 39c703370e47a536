package auth

import (
	"context"

	"github.com/catalogsync/catalogsync/services/auth/internal/token"
)

// NewUnlimited is New without the limits on how often a connection may ask for tokens.
func NewUnlimited(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	limits := token.DefaultOptions()
	limits.Burst = 1 << 30
	return build(ctx, cfg, deps, limits)
}
