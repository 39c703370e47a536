package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catalogsync/catalogsync/internal/errs"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "a.b", false},
		{"a.b", "a", false},
		{"a.*", "a.b", true},
		{"a.*", "a", false},
		{"a.*", "a.b.c", false},
		{"*.b", "a.b", true},
		{"*", "a", true},
		{"a.>", "a.b", true},
		{"a.>", "a.b.c", true},
		{"a.>", "b.c", false},
		{">", "a.b", true},
		{"a.*.c", "a.b.d", false},
	} {
		if got := matches(c.pattern, c.subject); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.subject, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	const first, most = 10 * time.Millisecond, time.Second
	for attempt := -1; attempt < 100; attempt++ {
		want := most
		if n := max(attempt, 1) - 1; n < 7 {
			want = first << n
		}
		for range 20 {
			if d := backoff(attempt, first, most); d < want/2 || d > want {
				t.Fatalf("attempt %d waits %v, want %v to %v", attempt, d, want/2, want)
			}
		}
	}
}

func TestTransient(t *testing.T) {
	t.Parallel()
	api := func(status int) error { return &jetstream.APIError{Code: status, ErrorCode: 1} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nats.ErrTimeout, true},
		{nats.ErrNoResponders, true},
		{jetstream.ErrNoStreamResponse, true},
		{context.DeadlineExceeded, true},
		{nats.ErrReconnectBufExceeded, true},
		{errGap, true},
		{api(503), true},
		{api(500), true},
		{api(400), false},
		{api(404), false},
		{nats.ErrConnectionClosed, false},
		{errors.New("other"), false},
		{errs.Wrap(nats.ErrTimeout, errs.Exhausted, "store_full", "full"), false},
	} {
		if got := transient(c.err); got != c.want {
			t.Errorf("transient(%v) = %v", c.err, got)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	msg := nats.NewMsg("test.a")
	api := func(code jetstream.ErrorCode, text string) error {
		return &jetstream.APIError{Code: 503, ErrorCode: code, Description: text}
	}
	for _, c := range []struct {
		err    error
		kind   errs.Kind
		reason string
	}{
		{api(codeInsufficientResources, "insufficient resources"), errs.Exhausted, "store_full"},
		{api(codeStoreFailed, "maximum bytes exceeded"), errs.Exhausted, "store_full"},
		{api(jetstream.JSErrCodeStreamWrongLastSequence, "wrong last sequence: 4"), errs.Conflict, "wrong_revision"},
		{api(jetstream.JSErrCodeStreamWrongLastSequenceConstant, "wrong last sequence"), errs.Conflict, "wrong_revision"},
		{nats.ErrMaxPayload, errs.Invalid, "message_too_large"},
	} {
		if err := refused(c.err, msg); errs.KindOf(err) != c.kind || errs.ReasonOf(err) != c.reason || transient(err) {
			t.Errorf("%v became %v %q", c.err, errs.KindOf(err), errs.ReasonOf(err))
		}
	}
	// A disk that fails is not a stream that is full: it is tried again.
	if err := refused(api(codeStoreFailed, "input/output error"), msg); !transient(err) {
		t.Errorf("an error of the disk became %v", err)
	}
}
