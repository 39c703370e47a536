package errs

import (
	"log/slog"
	"net/http"

	"google.golang.org/grpc/codes"
)

// Kind says what went wrong in the one way that decides how every part reacts to it. See the table in this file.
type Kind uint8

const (
	// OK is the kind of a nil error. An [Error] never has it.
	OK Kind = iota
	// Invalid means that the request or message itself is wrong and stays wrong.
	Invalid
	// Unauthenticated means that nobody knows who is calling.
	Unauthenticated
	// Denied means that the caller is known and may not do this.
	Denied
	// NotFound means that the thing named does not exist.
	NotFound
	// Conflict means that somebody else was faster; read again and decide anew.
	Conflict
	// Precondition means that the thing is in a state in which this cannot be done; somebody has to change that first.
	Precondition
	// RateLimited means too many calls; the same call succeeds later.
	RateLimited
	// Exhausted means that storage or a limit is full; a person has to make room.
	Exhausted
	// Unavailable means that something that is needed cannot be reached now.
	Unavailable
	// Internal means a defect of ours, or an error that nobody classified.
	Internal
)

// Disposition says what becomes of a message whose handler returned an error.
type Disposition uint8

const (
	// Ack means that the message is done.
	Ack Disposition = iota
	// Retry means that the message is delivered again after a delay.
	Retry
	// Term means that the message goes to the dead letters and is not delivered again.
	Term
)

// row is what one kind means everywhere.
type row struct {
	name        string
	code        codes.Code
	http        int
	disposition Disposition
	level       slog.Level
	text        string // shown to people when the error brings no text of its own
}

// table is the only place that says how an error looks on gRPC, on HTTP, on the bus and in the log.
var table = [...]row{
	OK:              {"ok", codes.OK, http.StatusOK, Ack, slog.LevelDebug, ""},
	Invalid:         {"invalid", codes.InvalidArgument, http.StatusBadRequest, Term, slog.LevelDebug, "the request is not valid"},
	Unauthenticated: {"unauthenticated", codes.Unauthenticated, http.StatusUnauthorized, Term, slog.LevelInfo, "the caller is not signed in"},
	Denied:          {"denied", codes.PermissionDenied, http.StatusForbidden, Term, slog.LevelInfo, "the caller may not do this"},
	NotFound:        {"not_found", codes.NotFound, http.StatusNotFound, Term, slog.LevelDebug, "not found"},
	Conflict:        {"conflict", codes.Aborted, http.StatusConflict, Retry, slog.LevelDebug, "it was changed at the same time; read it again and retry"},
	Precondition:    {"precondition", codes.FailedPrecondition, http.StatusConflict, Term, slog.LevelInfo, "this is not possible in the present state"},
	RateLimited:     {"rate_limited", codes.ResourceExhausted, http.StatusTooManyRequests, Retry, slog.LevelWarn, "too many requests; retry later"},
	Exhausted:       {"exhausted", codes.ResourceExhausted, http.StatusInsufficientStorage, Retry, slog.LevelError, "a limit is reached"},
	Unavailable:     {"unavailable", codes.Unavailable, http.StatusServiceUnavailable, Retry, slog.LevelWarn, "a part of the system cannot be reached; retry later"},
	Internal:        {"internal", codes.Internal, http.StatusInternalServerError, Retry, slog.LevelError, "internal error"},
}

func (k Kind) row() row {
	if int(k) >= len(table) {
		k = Internal
	}
	return table[k]
}

// String returns the stable snake_case name of the kind, which is also the reason of errors that have none.
func (k Kind) String() string { return k.row().name }

// GRPC returns the status code of the kind.
func (k Kind) GRPC() codes.Code { return k.row().code }

// HTTP returns the HTTP status of the kind.
func (k Kind) HTTP() int { return k.row().http }

// Disposition returns what becomes of a message whose handler failed so.
func (k Kind) Disposition() Disposition { return k.row().disposition }

// Level returns the level at which the error is logged by the part that decided it.
func (k Kind) Level() slog.Level { return k.row().level }

// String returns the name of the disposition: ack, retry or term.
func (d Disposition) String() string {
	switch d {
	case Ack:
		return "ack"
	case Term:
		return "term"
	default:
		return "retry"
	}
}

// kindNamed is the inverse of [Kind.String].
func kindNamed(name string) (Kind, bool) {
	for k, r := range table {
		if r.name == name && Kind(k) != OK {
			return Kind(k), true
		}
	}
	return Internal, false
}

// kindOfCode maps the codes of servers that are not ours, and those that gRPC itself makes.
func kindOfCode(c codes.Code) Kind {
	switch c {
	case codes.OK:
		return OK
	case codes.InvalidArgument, codes.OutOfRange:
		return Invalid
	case codes.Unauthenticated:
		return Unauthenticated
	case codes.PermissionDenied:
		return Denied
	case codes.NotFound:
		return NotFound
	case codes.Aborted, codes.AlreadyExists:
		return Conflict
	case codes.FailedPrecondition:
		return Precondition
	case codes.ResourceExhausted:
		return RateLimited
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return Unavailable
	default: // Unknown, Unimplemented, DataLoss, Internal
		return Internal
	}
}
