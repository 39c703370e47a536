package token

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
)

const (
	// firstPoll and lastPoll bound how often it is looked whether another process is done.
	firstPoll, lastPoll = 5 * time.Millisecond, 250 * time.Millisecond
	// giveBack bounds the writes that end a turn.
	giveBack = 5 * time.Second
)

// want is what somebody wants of a connection.
type want struct {
	tenant, id string
	rejected   config.Secret // any token but this one
	test       bool          // a new one, whatever is known and whatever state the connection is in
	keep       bool          // a new one, if the refresh token is still due to be used
}

// flight is the way to a token that all callers of this process share. Its results may be read once done is closed.
type flight struct {
	want    want
	done    chan struct{}
	grant   Grant
	conn    connection.Connection // as it stands after the request
	refusal error                 // Salesforce's no, once it is recorded; nil when it said yes or nothing
	err     error                 // why there is no token, for callers
	skipped bool                  // there was nothing to do
}

// ask returns the flight that is under way, or one for w, once it has ended.
func (s *Source) ask(ctx context.Context, w want) (*flight, error) {
	conn, err := s.find(ctx, w)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	e := s.entry(conn.Tenant, conn.ID)
	f := e.flight
	switch {
	case f != nil:
	case s.stopping:
		s.mu.Unlock()
		return nil, errs.New(errs.Unavailable, "stopping", "auth is being stopped; try again")
	default:
		f = &flight{want: w, done: make(chan struct{})}
		e.flight = f
		s.flights.Go(func() { s.fly(ctx, e, f) })
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// find returns the connection that is wanted, if it may have a token.
func (s *Source) find(ctx context.Context, w want) (connection.Connection, error) {
	conn, err := s.usable(ctx, w.tenant, w.id)
	if w.test && errs.ReasonOf(err) == "needs_reconnect" {
		err = nil
	}
	return conn, err
}

// fly outlives the call that started it, because others wait for it too.
func (s *Source) fly(caller context.Context, e *entry, f *flight) {
	// The longest way: another process is lost while it calls, and then this one calls.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), 2*(s.opt.CallTimeout+s.opt.Lease)+s.opt.Durable)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.obtain(ctx, e, f)

	s.mu.Lock()
	defer s.mu.Unlock()
	e.flight = nil
	close(f.done)
}

// obtain finds a token or gets one when it is this process's turn.
func (s *Source) obtain(ctx context.Context, e *entry, f *flight) {
	for poll := firstPoll; ; poll = min(2*poll, lastPoll) {
		var have turn
		var rev uint64
		// The record first: if nobody has changed it when this process takes its turn, what is read after it is current.
		if have, rev, f.err = s.turns.read(ctx, f.want.id); f.err != nil {
			return
		}
		if f.conn, f.err = s.find(ctx, f.want); f.err != nil {
			return
		}
		g, known, err := s.current(ctx, f.conn, have)
		switch {
		case err != nil:
			f.err = err
			return
		case f.want.keep && !s.due(f.conn):
			f.skipped = true
			return
		case known && !f.want.keep && !f.want.test && !g.AccessToken.Equal(f.want.rejected):
			f.grant = g
			return
		}
		if wait := s.othersTurn(have, rev, f.conn.ID); wait > 0 {
			if f.err = sleep(ctx, min(wait, poll)); f.err != nil {
				return
			}
			continue
		}
		if f.err = s.mayAsk(ctx, e, f, have, rev); f.err != nil {
			return
		}
		h, err := s.turns.take(ctx, f.conn, have, rev)
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) {
			continue // another process was faster
		}
		if err != nil {
			f.err = err
			return
		}
		if have.Intent != nil && h.lost(f.conn) > 0 {
			s.meters.event(ctx, "unknown")
			s.log.WarnContext(ctx, "a process ended while it refreshed a token", s.attrs(f.conn)...)
		}
		if !s.refresh(ctx, e, f, h) {
			return
		}
		if f.err = sleep(ctx, poll); f.err != nil {
			return
		}
	}
}

// othersTurn is how long another process still has its turn at most, unless it lives.
func (s *Source) othersTurn(have turn, rev uint64, id string) time.Duration {
	if have.Holder == "" || have.Holder == s.turns.holder {
		return 0
	}
	most := s.opt.Lease
	if have.Intent != nil {
		most += s.opt.CallTimeout
	}
	return most - s.turns.unchanged(id, rev)
}

// mayAsk says why Salesforce is not to be asked now.
func (s *Source) mayAsk(ctx context.Context, e *entry, f *flight, have turn, rev uint64) error {
	settled := have.Holder != "" // one that is lost was waited for long enough
	if have.lose(); have.lost(f.conn) > 0 {
		if wait := s.opt.Settle - s.turns.unchanged(f.conn.ID, rev); wait > 0 && !settled {
			return unknown(f.conn, wait)
		}
		if f.want.rejected.IsZero() {
			// Nobody has to have another token, and a refresh that turns out to be the second one with the same refresh
			// token ends the one in force.
			if _, inUse, err := s.shares.get(ctx, f.conn, have.TokenEpoch); err != nil || inUse {
				return errors.Join(err, unknown(f.conn, time.Minute))
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := time.Until(e.retryAt); wait > 0 && !f.want.test {
		again := *e.lastErr
		again.RetryAfter = wait
		return &again
	}
	if r := e.limiter.Reserve(); r.Delay() > 0 {
		wait := r.Delay()
		r.Cancel()
		limited := errs.New(errs.RateLimited, "too_many_token_requests",
			"connection %q has asked Salesforce for tokens too often: something rejects every token, or tests follow each other too fast", f.conn.Name)
		limited.RetryAfter = wait
		return limited
	}
	return nil
}

// unknown says that nobody knows whether a refresh token is still good.
func unknown(c connection.Connection, wait time.Duration) *errs.Error {
	e := errs.New(errs.Unavailable, "refresh_unknown",
		"the answer to a token refresh of connection %q was lost on the way, and it is not known whether Salesforce has used up the refresh token: it is sent once more when no access token is in use", c.Name)
	e.RetryAfter = wait
	return e
}

// pause decides how long Salesforce is left alone and returns err with that time.
func (s *Source) pause(e *entry, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := s.opt.BackoffCap
	if e.failures < 16 {
		bound = min(bound, s.opt.BackoffBase<<e.failures)
	}
	e.failures++
	paused := *errs.From(err)
	paused.RetryAfter = max(bound/2+rand.N(bound/2+1), errs.RetryAfter(err))
	e.lastErr, e.retryAt = &paused, time.Now().Add(paused.RetryAfter)
	return &paused
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errs.Wrap(ctx.Err(), errs.Unavailable, "token_busy", "another process is asking Salesforce for a token: try again")
	}
}
