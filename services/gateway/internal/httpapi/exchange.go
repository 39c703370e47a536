package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// exchange is one request and its answer. It lets a client neither stall nor send without end, and knows the status of
// errors that are met while a stream is sent.
type exchange struct {
	http.ResponseWriter
	rc       *http.ResponseController
	body     io.ReadCloser
	stall    time.Duration
	tooLarge bool
	status   int // in place of that of an error; 0: as it is
}

func newExchange(w http.ResponseWriter, r *http.Request, l Limits) *exchange {
	x := &exchange{ResponseWriter: w, rc: http.NewResponseController(w), body: r.Body, stall: l.Stall}
	if r.Body == http.NoBody {
		x.bodyEnded()
	}
	return x
}

type exchangeKey struct{}

func withExchange(ctx context.Context, x *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// bound limits the body.
func (x *exchange) bound(n int64) { x.body = http.MaxBytesReader(x.ResponseWriter, x.body, n) }

// Read reads the body. The client has time anew with every part that it sends.
func (x *exchange) Read(p []byte) (int, error) {
	_ = x.rc.SetReadDeadline(time.Now().Add(x.stall)) // in vain where the connection knows no deadlines
	n, err := x.body.Read(p)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		x.tooLarge = true
	}
	if errors.Is(err, io.EOF) {
		x.bodyEnded()
	}
	return n, err
}

// Close ends the body.
func (x *exchange) Close() error { return x.body.Close() }

// bodyEnded takes the deadline of reading away, which would otherwise end a long answer: the server keeps reading to
// notice when the client goes.
func (x *exchange) bodyEnded() { _ = x.rc.SetReadDeadline(time.Time{}) }

// stopReading makes reads of the body that are under way return.
func (x *exchange) stopReading() { _ = x.rc.SetReadDeadline(time.Unix(1, 0)) }

// Write sends a part of the answer.
func (x *exchange) Write(p []byte) (int, error) {
	x.extend()
	return x.ResponseWriter.Write(p)
}

// WriteHeader sends the status.
func (x *exchange) WriteHeader(code int) {
	x.extend()
	if x.status != 0 && code >= http.StatusBadRequest {
		code = x.status
	}
	x.ResponseWriter.WriteHeader(code)
}

// extend gives the client time to take what is sent next.
func (x *exchange) extend() { _ = x.rc.SetWriteDeadline(time.Now().Add(x.stall)) }

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }
