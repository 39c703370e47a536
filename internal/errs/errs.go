// Package errs owns the one error type of the system. Its Kind decides, from one table, the gRPC code, the HTTP
// status, what becomes of a bus message and the log level, and it means the same on both sides of a wire.
//
// What an Error says about itself is split by audience: Reason is for machines and never changes, Msg may be shown to
// people, Err is for the log alone and never leaves the process.
package errs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/status"
)

// Error is an error that has been classified. Make one with [New] or [Wrap].
type Error struct {
	// Kind decides how every part reacts.
	Kind Kind
	// Reason is a stable snake_case id that programs may branch on, such as "store_full".
	Reason string
	// Msg says what happened, to which thing, and what to do. It may be shown to people.
	Msg string
	// RetryAfter is how long to wait before trying again; zero when unknown.
	RetryAfter time.Duration
	// Err is the cause. It is logged and never shown.
	Err error

	remote bool // decided, and logged, by another process
}

// New returns an error of the kind. The text may be shown to people.
func New(kind Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Msg: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of the kind that was caused by err. The text may be shown to people; err may not.
// It never returns nil: call it only with an error in hand.
func Wrap(err error, kind Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Msg: fmt.Sprintf(format, args...), Err: err}
}

// Error returns the text for the log, cause included.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	if e.Msg == "" {
		return e.Err.Error()
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// tooLong is shown for a deadline that passed, here or elsewhere.
const tooLong = "the request took too long; retry later"

// statusError is an error that gRPC understands.
type statusError interface {
	error
	GRPCStatus() *status.Status
}

// kind is the Kind, or Internal for an Error that was built without a usable one.
func (e *Error) kind() Kind {
	if e.Kind == OK || int(e.Kind) >= len(table) {
		return Internal
	}
	return e.Kind
}

// KindOf classifies any error: the outermost [Error] decides, then a gRPC status, then whether a context ended
// (Unavailable). All others are Internal, and nil is OK.
func KindOf(err error) Kind {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.kind()
	}
	if s, ok := errors.AsType[statusError](err); ok {
		if k := kindOfCode(s.GRPCStatus().Code()); k != OK {
			return k
		}
		return Internal
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// ReasonOf returns the reason of the outermost [Error], or the name of the kind.
func ReasonOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Reason != "" {
		return e.Reason
	}
	return KindOf(err).String()
}

// Message returns a text that may be shown to people. Causes and unclassified errors are replaced by a general
// sentence. It is empty for nil.
func Message(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Msg != "" {
		return e.Msg
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return "the request was cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return tooLong
	}
	return KindOf(err).row().text
}

// RetryAfter returns how long to wait before trying again, from the outermost [Error] in the chain that says so, or zero.
func RetryAfter(err error) time.Duration {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return 0
		}
		if e.RetryAfter > 0 {
			return e.RetryAfter
		}
		err = e.Err
	}
	return 0
}

// IsRemote reports whether the error was decided by another process, which has logged it.
func IsRemote(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.remote
}

// From returns err as an [Error]: the outermost one in its chain, or a new one with a text that may be shown.
// It returns nil for nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: KindOf(err), Reason: ReasonOf(err), Msg: Message(err), Err: err}
}
