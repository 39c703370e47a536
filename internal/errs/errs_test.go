package errs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/catalogsync/catalogsync/internal/errs"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	full := errs.New(errs.Exhausted, "store_full", "stream %s is full", "ROWS")
	tests := []struct {
		name    string
		err     error
		kind    errs.Kind
		reason  string
		message string
	}{
		{"nil", nil, errs.OK, "ok", ""},
		{"new", full, errs.Exhausted, "store_full", "stream ROWS is full"},
		{"under context", fmt.Errorf("publish row 7: %w", full), errs.Exhausted, "store_full", "stream ROWS is full"},
		{"the outermost decides", errs.Wrap(full, errs.Unavailable, "later", "wait"), errs.Unavailable, "later", "wait"},
		{"joined", errors.Join(io.EOF, full), errs.Exhausted, "store_full", "stream ROWS is full"},
		{"unclassified", fmt.Errorf("dial 10.0.0.1: %w", io.ErrUnexpectedEOF), errs.Internal, "internal", "internal error"},
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), errs.Unavailable, "unavailable", "the request was cancelled"},
		{"too late", context.DeadlineExceeded, errs.Unavailable, "unavailable", "the request took too long; retry later"},
		{"foreign status", status.Error(codes.NotFound, "row 7 of s3cret"), errs.NotFound, "not_found", "not found"},
		{"without text", &errs.Error{Kind: errs.Denied}, errs.Denied, "denied", "the caller may not do this"},
		{"without kind", &errs.Error{Msg: "x"}, errs.Internal, "internal", "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := errs.KindOf(tt.err); got != tt.kind {
				t.Errorf("kind is %v, want %v", got, tt.kind)
			}
			if got := errs.ReasonOf(tt.err); got != tt.reason {
				t.Errorf("reason is %q, want %q", got, tt.reason)
			}
			if got := errs.Message(tt.err); got != tt.message {
				t.Errorf("message is %q, want %q", got, tt.message)
			}
		})
	}
}

func TestCauseIsLoggedOnly(t *testing.T) {
	t.Parallel()
	err := errs.Wrap(io.ErrUnexpectedEOF, errs.Unavailable, "org_unreachable", "org %s does not answer", "acme")
	if got, want := err.Error(), "org acme does not answer: unexpected EOF"; got != want {
		t.Errorf("log text is %q, want %q", got, want)
	}
	if got, want := errs.Message(err), "org acme does not answer"; got != want {
		t.Errorf("shown text is %q, want %q", got, want)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is not in the chain")
	}
	if got := (&errs.Error{Err: io.EOF}).Error(); got != "EOF" {
		t.Errorf("an error without a text of its own reads %q, want that of its cause", got)
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	if errs.From(nil) != nil {
		t.Error("From(nil) is not nil")
	}
	e := errs.From(fmt.Errorf("read password file: %w", io.ErrUnexpectedEOF))
	if e.Kind != errs.Internal || e.Msg != "internal error" || !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("an unclassified error became %#v", e)
	}
	inner := errs.New(errs.Denied, "x", "y")
	if errs.From(fmt.Errorf("z: %w", inner)) != inner {
		t.Error("a classified error was classified again")
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	inner := errs.New(errs.RateLimited, "api_limit", "too many calls")
	inner.RetryAfter = time.Minute
	outer := errs.Wrap(fmt.Errorf("pull page 3: %w", inner), errs.Unavailable, "pull", "the pull has to wait")
	if got := errs.RetryAfter(outer); got != time.Minute {
		t.Errorf("the wait of the cause is %v, want 1m", got)
	}
	outer.RetryAfter = time.Second
	if got := errs.RetryAfter(outer); got != time.Second {
		t.Errorf("the own wait is %v, want 1s", got)
	}
	if got := errs.RetryAfter(io.EOF); got != 0 {
		t.Errorf("the wait of an unclassified error is %v", got)
	}
}

func TestWireKeepsEverythingButTheCause(t *testing.T) {
	t.Parallel()
	for k := errs.OK + 1; k <= errs.Internal; k++ {
		sent := errs.Wrap(errors.New("password=hunter2"), k, "some_reason", "shown %d", k)
		sent.RetryAfter = 1500 * time.Millisecond
		overWire := status.FromProto(sent.GRPCStatus().Proto()).Err()
		if overWire == nil {
			t.Fatalf("%v is no error on the wire", k)
		}
		if strings.Contains(fmt.Sprintf("%+v", overWire), "hunter2") {
			t.Errorf("%v shows its cause: %v", k, overWire)
		}
		got := errs.FromGRPC(overWire)
		if errs.KindOf(got) != k || errs.ReasonOf(got) != "some_reason" || errs.Message(got) != sent.Msg ||
			errs.RetryAfter(got) != sent.RetryAfter || !errs.IsRemote(got) {
			t.Errorf("%v came back as %#v", k, got)
		}
		again := errs.FromGRPC(status.FromProto(errs.From(got).GRPCStatus().Proto()).Err())
		if errs.KindOf(again) != k || errs.ReasonOf(again) != "some_reason" {
			t.Errorf("%v changed on the second hop to %#v", k, again)
		}
	}
}

func TestStatusOfBadKindIsAnError(t *testing.T) {
	t.Parallel()
	for _, k := range []errs.Kind{errs.OK, 200} {
		if got := (&errs.Error{Kind: k}).GRPCStatus().Code(); got != codes.Internal {
			t.Errorf("kind %d has code %v, want Internal", k, got)
		}
	}
}

func TestFromGRPCOfOthers(t *testing.T) {
	t.Parallel()
	if errs.FromGRPC(nil) != nil {
		t.Error("nil became an error")
	}
	if got := errs.FromGRPC(io.EOF); !errors.Is(got, io.EOF) {
		t.Errorf("an error that is no status became %v", got)
	}
	ours := errs.New(errs.Denied, "x", "y")
	if got := errs.FromGRPC(ours); !errors.Is(got, ours) {
		t.Errorf("an error of ours became %v", got)
	}

	refused := status.Error(codes.Unavailable, `dial tcp 10.1.2.3:9001: connection refused`)
	got := errs.FromGRPC(refused)
	if errs.KindOf(got) != errs.Unavailable || strings.Contains(errs.Message(got), "10.1.2.3") || errs.IsRemote(got) {
		t.Errorf("gRPC's own error became %#v", got)
	}
	if !strings.Contains(got.Error(), "10.1.2.3") {
		t.Errorf("the log text %q lacks the cause", got)
	}
	if got := errs.Message(errs.FromGRPC(status.Error(codes.DeadlineExceeded, "x"))); !strings.Contains(got, "too long") {
		t.Errorf("a deadline that passed reads %q", got)
	}

	st, err := status.New(codes.NotFound, "their text").WithDetails(&errdetails.ErrorInfo{Reason: "THEIRS", Domain: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if got := errs.FromGRPC(st.Err()); errs.ReasonOf(got) != "not_found" || errs.Message(got) != "not found" {
		t.Errorf("an error of another domain became %#v", got)
	}
}
