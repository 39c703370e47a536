package errs_test

import (
	"log/slog"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// TestTable spells the whole table out a second time, so that a change of what a kind means is seen in review.
func TestTable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind        errs.Kind
		name        string
		code        codes.Code
		http        int
		disposition errs.Disposition
		level       slog.Level
	}{
		{errs.OK, "ok", codes.OK, 200, errs.Ack, slog.LevelDebug},
		{errs.Invalid, "invalid", codes.InvalidArgument, 400, errs.Term, slog.LevelDebug},
		{errs.Unauthenticated, "unauthenticated", codes.Unauthenticated, 401, errs.Term, slog.LevelInfo},
		{errs.Denied, "denied", codes.PermissionDenied, 403, errs.Term, slog.LevelInfo},
		{errs.NotFound, "not_found", codes.NotFound, 404, errs.Term, slog.LevelDebug},
		{errs.Conflict, "conflict", codes.Aborted, 409, errs.Retry, slog.LevelDebug},
		{errs.Precondition, "precondition", codes.FailedPrecondition, 409, errs.Term, slog.LevelInfo},
		{errs.RateLimited, "rate_limited", codes.ResourceExhausted, 429, errs.Retry, slog.LevelWarn},
		{errs.Exhausted, "exhausted", codes.ResourceExhausted, 507, errs.Retry, slog.LevelError},
		{errs.Unavailable, "unavailable", codes.Unavailable, 503, errs.Retry, slog.LevelWarn},
		{errs.Internal, "internal", codes.Internal, 500, errs.Retry, slog.LevelError},
	}
	for i, tt := range tests {
		if int(tt.kind) != i {
			t.Errorf("row %d is of kind %d: every kind has one row, in order", i, tt.kind)
		}
		k := tt.kind
		if k.String() != tt.name || k.GRPC() != tt.code || k.HTTP() != tt.http || k.Disposition() != tt.disposition || k.Level() != tt.level {
			t.Errorf("%d is %v, %v, %d, %v, %v; want %s, %v, %d, %v, %v", k,
				k, k.GRPC(), k.HTTP(), k.Disposition(), k.Level(),
				tt.name, tt.code, tt.http, tt.disposition, tt.level)
		}
	}
	if unknown := errs.Kind(len(tests)); unknown.String() != "internal" {
		t.Errorf("kind %d is %v: the table has a row that this test does not know", unknown, unknown)
	}
}

func TestDispositionNames(t *testing.T) {
	t.Parallel()
	for d, want := range map[errs.Disposition]string{errs.Ack: "ack", errs.Retry: "retry", errs.Term: "term"} {
		if d.String() != want {
			t.Errorf("disposition %d is %q, want %q", d, d, want)
		}
	}
}

// TestEveryCode makes sure that whatever another gRPC server answers becomes a kind that is an error.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	want := map[codes.Code]errs.Kind{
		codes.Canceled: errs.Unavailable, codes.DeadlineExceeded: errs.Unavailable, codes.Unavailable: errs.Unavailable,
		codes.InvalidArgument: errs.Invalid, codes.OutOfRange: errs.Invalid,
		codes.Unauthenticated: errs.Unauthenticated, codes.PermissionDenied: errs.Denied, codes.NotFound: errs.NotFound,
		codes.Aborted: errs.Conflict, codes.AlreadyExists: errs.Conflict, codes.FailedPrecondition: errs.Precondition,
		codes.ResourceExhausted: errs.RateLimited,
		codes.Unknown:           errs.Internal, codes.Internal: errs.Internal, codes.DataLoss: errs.Internal, codes.Unimplemented: errs.Internal,
	}
	const last = codes.Unauthenticated
	for c := codes.OK + 1; c <= last; c++ {
		k, ok := want[c]
		if !ok {
			t.Fatalf("code %v has no case", c)
		}
		if got := errs.KindOf(status.Error(c, "x")); got != k {
			t.Errorf("code %v is %v, want %v", c, got, k)
		}
	}
}
