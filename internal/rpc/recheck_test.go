package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

// A stream is cut within a minute after whoever opened it may have it no longer, and goes on while that merely cannot be
// found out now and then.
func TestStreamsAreCheckedAgain(t *testing.T) {
	t.Parallel()
	denied := errs.New(errs.Unauthenticated, "unknown_token", "the token was revoked")
	tests := []struct {
		name   string
		check  func(n int64) error // n counts the checks
		reason string              // why it ends; empty when it goes on
	}{
		{"still good", func(int64) error { return nil }, ""},
		{"revoked", func(int64) error { return denied }, "unknown_token"},
		{"revoked later", func(n int64) error {
			if n < 20 {
				return nil
			}
			return denied
		}, "unknown_token"},
		{"role taken away", func(int64) error { return errs.New(errs.Denied, "role_too_low", "x") }, "role_too_low"},
		{"not to be found out now and then", func(n int64) error {
			if n%3 == 0 {
				return nil
			}
			return errors.New("the bus is gone")
		}, ""},
		{"not to be found out for long", func(int64) error { return errors.New("the bus is gone") }, "access_unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int64
				svc := &service{stream: func(s grpc_testing.TestService_FullDuplexCallServer) error {
					select {
					case <-s.Context().Done():
						return s.Context().Err()
					case <-time.After(time.Hour):
						return nil
					}
				}}
				conn, stop := overMemory(t, svc, rpc.ServerOptions{
					Log: slog.New(slog.DiscardHandler),
					Authenticate: func(ctx context.Context, _ string) (context.Context, error) {
						return rpc.WithRecheck(ctx, func(context.Context) error { return tt.check(n.Add(1)) }), nil
					},
				}, rpc.DialOptions{})
				began := time.Now()
				err := streamError(t.Context(), conn)
				took := time.Since(began)
				if tt.reason == "" && (took < time.Hour || n.Load() < 200) {
					t.Errorf("it ended after %v with %v, checked %d times", took, err, n.Load())
				}
				if tt.reason != "" && (errs.ReasonOf(err) != tt.reason || took > time.Minute && tt.name != "revoked later") {
					t.Errorf("it ended after %v with %v", took, err)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
