package salesforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// tries is the state of one request over its exchanges. It is the only retry layer.
type tries struct {
	c         *Client
	r         *request
	attempt   int // exchanges begun
	waits     int // pauses taken
	token     Token
	refreshed bool
}

func (c *Client) newTries(r *request) *tries {
	if r.method == "" {
		r.method = http.MethodGet
	}
	return &tries{c: c, r: r}
}

// do sends r until there is an answer to give back. The caller must close the response.
func (c *Client) do(ctx context.Context, r *request) (*response, error) {
	return c.newTries(r).send(ctx)
}

func (t *tries) send(ctx context.Context) (*response, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("salesforce: %s: not sent: %w", t.r.op, context.Cause(ctx))
		}
		if err := t.ensureToken(ctx); err != nil {
			return nil, err
		}
		t.attempt++
		resp, err := t.c.once(ctx, t.r, t.token, t.attempt)
		if err == nil {
			return resp, nil
		}
		if err := t.again(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (t *tries) ensureToken(ctx context.Context) error {
	if t.refreshed {
		return nil // the token that Reject gave
	}
	token, err := t.c.opt.Tokens.Token(ctx)
	if err != nil {
		return fmt.Errorf("salesforce: %s: access token: %w", t.r.op, err)
	}
	t.token = token
	if t.r.free {
		t.token.AccessToken = AccessToken{}
	}
	return nil
}

// again returns nil when the request is to be sent once more, after any pause, and the error for the
// caller otherwise.
func (t *tries) again(ctx context.Context, err error) error {
	action := ActionOf(err)
	if action == ActionRefresh && !t.r.free {
		return t.replaceToken(ctx, err)
	}
	if action != ActionRetry || t.r.once || t.uncertain(err) || t.attempt >= t.c.opt.MaxAttempts {
		return t.final(err)
	}
	if ctx.Err() != nil {
		return t.final(err)
	}
	wait := t.pause()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return t.final(err) // the pause would outlast the caller
	}
	t.log(ctx, err, wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return t.final(err)
	}
}

// replaceToken asks for another token, once, after one was refused. It returns nil when the request is to be sent again.
func (t *tries) replaceToken(ctx context.Context, refused error) error {
	if t.refreshed {
		// Twice in a row is no session that has ended: asking for a third token would go on for ever.
		if r, ok := t.c.opt.Tokens.(Refuser); ok {
			if err := r.Refused(ctx, t.token); err != nil {
				return t.noToken(refused, err)
			}
		}
		return t.final(refused)
	}
	t.refreshed = true
	token, err := t.c.opt.Tokens.Reject(ctx, t.token)
	if err != nil {
		return t.noToken(refused, err)
	}
	if token == t.token {
		return t.final(refused)
	}
	t.token = token
	if t.r.once {
		if e, ok := errors.AsType[*Error](refused); ok {
			e.TokenReplaced = true
		}
		return t.final(refused)
	}
	t.log(ctx, refused, 0)
	return nil
}

// noToken is the error of a call whose token was refused when there is no other. That there is none just now says
// nothing about the refusal: the call may be made again later.
func (t *tries) noToken(refused, err error) error {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.RateLimited, errs.Denied:
		return fmt.Errorf("salesforce: %s: another access token in place of a refused one: %w", t.r.op, err)
	}
	return errors.Join(refused, fmt.Errorf("another access token: %w", err))
}

// uncertain reports whether a write may have taken effect although err came back.
func (t *tries) uncertain(err error) bool {
	if !t.r.write {
		return false
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.MayHaveApplied
	}
	if e, ok := errors.AsType[*TransportError](err); ok {
		return e.Sent
	}
	return false
}

func (t *tries) final(err error) error {
	if t.uncertain(err) {
		return &UnknownOutcomeError{Op: t.r.op, Err: err}
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Action == ActionRetry && strings.HasPrefix(foldCode(e.Code), "TXNSECURITY") {
		e.Action = ActionConfig // a policy of the org that did not relent: its admin must exempt the user
	}
	return err
}

// pause draws the next one with full jitter.
func (t *tries) pause() time.Duration {
	bound := t.c.opt.RetryCap
	if shift := t.waits; shift < 20 && t.c.opt.RetryBase<<shift < bound {
		bound = t.c.opt.RetryBase << shift
	}
	t.waits++
	return rand.N(bound + 1)
}

func (t *tries) log(ctx context.Context, err error, wait time.Duration) {
	attrs := []slog.Attr{slog.String("op", t.r.op), slog.Int("attempt", t.attempt), slog.Duration("wait", wait)}
	if e, ok := errors.AsType[*Error](err); ok {
		attrs = append(attrs, slog.Any("err", e))
	} else {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	t.c.opt.Log.LogAttrs(ctx, slog.LevelDebug, "salesforce call repeated", attrs...)
}
