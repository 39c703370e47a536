package token

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
)

// keepEvery is how often it is looked for refresh tokens that nobody has used for long. Days do not depend on it.
const keepEvery = 10 * time.Minute

// KeepAlive renews refresh tokens that nobody has used for long, at each tick, until ctx ends or ticks is closed. Any
// number of processes may do it: whoever is first does.
func (s *Source) KeepAlive(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-ticks:
			if !ok {
				return
			}
		}
		conns, err := s.conns.All(ctx)
		if err != nil {
			s.log.WarnContext(ctx, "connections to keep alive not read", telemetry.Err(err))
			continue
		}
		for _, conn := range conns {
			if ctx.Err() == nil && s.due(conn) {
				s.keep(ctx, conn)
			}
		}
	}
}

// due reports whether the connection's refresh token must be used so as not to be lost.
func (s *Source) due(conn connection.Connection) bool {
	if conn.Flow != connection.WebServer || conn.State != connection.Linked {
		return false
	}
	last := conn.TokenAt
	if last.IsZero() {
		last = conn.LinkedAt
	}
	return !s.opt.Now().Before(last.Add(s.opt.KeepFrom + spread(conn.ID, s.opt.KeepSpread)))
}

// spread is a share of d that is always the same for an id.
func spread(id string, d time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return time.Duration(float64(d) * (float64(h.Sum64()>>11) / (1 << 53)))
}

// keep renews one refresh token.
func (s *Source) keep(ctx context.Context, conn connection.Connection) {
	f, err := s.ask(ctx, want{tenant: conn.Tenant, id: conn.ID, keep: true})
	if err == nil {
		err = f.err
	}
	switch {
	case err != nil:
		s.log.WarnContext(ctx, "refresh token not kept alive; tried again", append(s.attrs(conn), telemetry.Err(err))...)
	case f.want.keep && !f.skipped:
		s.meters.event(ctx, "kept_alive")
		s.log.InfoContext(ctx, "refresh token kept alive", s.attrs(conn)...)
	}
}
