// Package bus owns the connection to NATS JetStream: streams, publishing, reading stored messages and consuming them.
//
// A message that [Bus.Publish] has accepted is stored and is delivered at least once. Nothing here makes an effect
// happen exactly once: an acknowledgement is not a fence, so handlers are idempotent and decide by compare-and-set.
//
// The bus survives restarts of the server and deletions by an operator: it reconnects for ever, and streams and
// consumers that it knows are made again. Calls wait for that until their context ends; give them a deadline.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const (
	// tryTimeout bounds one request. A server may never answer, for instance when it stopped or may not.
	tryTimeout = 3 * time.Second
	// maxRetryWait bounds the wait between two tries.
	maxRetryWait = time.Second
	// pingInterval times two is when a silent server counts as lost.
	pingInterval = 5 * time.Second
	// closeTimeout bounds the last flush.
	closeTimeout = 2 * time.Second
	// maxReconnectWait bounds the wait between two attempts to connect.
	maxReconnectWait = 2 * time.Second
)

// Options says which server the bus talks to. URLs or Server is required.
type Options struct {
	// URLs are the addresses of the servers, separated by commas, such as "nats://127.0.0.1:4222".
	URLs string
	// Server is a server in this process; URLs is ignored when it is set.
	Server InProcess
	// Name is shown by the server for this connection.
	Name string
	// NKeyFile is a file with the seed of an NKey, by which this process proves who it is; empty for none.
	NKeyFile string
	// CredentialsFile is a NATS credentials file; empty for none.
	CredentialsFile string
	// RootCAFile, CertFile and KeyFile are PEM files for TLS; empty for the system's roots and no client certificate.
	RootCAFile, CertFile, KeyFile string
	// Replicas is the number of copies of streams that do not say; 1 when zero.
	Replicas int
	// Log receives connection changes and messages that could not be handled; nothing is logged when nil.
	Log *slog.Logger
	// Tracer makes the spans; none when nil.
	Tracer trace.TracerProvider
	// Meter makes the metrics; none when nil.
	Meter metric.MeterProvider
	// Propagator carries the trace in message headers; W3C trace context when nil.
	Propagator propagation.TextMapPropagator
}

// InProcess is a server to which this process connects without a network, such as the embedded one.
type InProcess interface {
	InProcessConn() (net.Conn, error)
}

// Bus is a connection to JetStream. It is safe for concurrent use.
type Bus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *slog.Logger
	trace    tracing
	metrics  metrics
	replicas int
	making   chan struct{} // holds one while a stream is made again

	mu      sync.Mutex
	streams map[string]Stream // those that this process has asked for, to make them again
	up      chan struct{}     // closed at the next connect
	session context.Context   // ends when the connection breaks
	end     context.CancelFunc
}

// Connect connects and waits until the server answers or ctx ends. The connection is then kept, and made again when it
// breaks, until [Bus.Close].
func Connect(ctx context.Context, o Options) (*Bus, error) {
	b := &Bus{
		log: o.Log, trace: newTracing(o.Tracer, o.Propagator), replicas: max(o.Replicas, 1),
		streams: map[string]Stream{}, up: make(chan struct{}), making: make(chan struct{}, 1),
	}
	b.session, b.end = context.WithCancel(context.Background())
	b.end() // not connected yet
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if b.metrics, err = newMetrics(o.Meter); err != nil {
		return nil, errs.Wrap(err, errs.Internal, "bus_options", "the metrics of the message bus cannot be made")
	}
	opts, err := b.options(o)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "bus_options", "the NKey in %s cannot be used: it must hold a seed, which begins with SU", o.NKeyFile)
	}
	up := b.connected()
	nc, err := nats.Connect(o.URLs, opts...)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "bus_options", "the connection to NATS is not configured correctly")
	}
	b.nc = nc
	if b.js, err = jetstream.New(nc); err != nil {
		nc.Close()
		return nil, errs.Wrap(err, errs.Internal, "bus_options", "JetStream cannot be used")
	}
	if !nc.IsConnected() {
		b.log.WarnContext(ctx, "NATS does not answer yet; waiting for it", slog.Any(telemetry.KeyErr, nc.LastError()))
	}
	for !nc.IsConnected() {
		select {
		case <-up:
			up = b.connected()
		case <-ctx.Done():
			err := errors.Join(ctx.Err(), nc.LastError())
			nc.Close()
			return nil, errs.Wrap(err, errs.Unavailable, "bus_unavailable",
				"NATS cannot be reached; check that it runs and that its address is right")
		}
	}
	return b, nil
}

// Encrypted reports whether what is said on the connection is encrypted, or stays in this process.
func (o Options) Encrypted() bool {
	if o.Server != nil || o.RootCAFile != "" {
		return true
	}
	for url := range strings.SplitSeq(o.URLs, ",") {
		if url = strings.TrimSpace(url); !strings.HasPrefix(url, "tls://") && !strings.HasPrefix(url, "wss://") {
			return false
		}
	}
	return true
}

// Inbox is the prefix of the subjects on which a process with the name gets its answers where it proves who it is: it may
// listen to no others.
func Inbox(name string) string { return "_INBOX_" + name }

func (b *Bus) options(o Options) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(func(attempt int) time.Duration {
			return backoff(attempt, 20*time.Millisecond, maxReconnectWait)
		}),
		// Nothing is kept for later while disconnected: whoever publishes retries and knows the outcome.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(*nats.Conn) { b.signal(true) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.log.Info("bus reconnected", slog.String("server", nc.ConnectedServerName()))
			b.signal(true)
		}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				b.log.Warn("bus disconnected", slog.Any(telemetry.KeyErr, err))
			}
			b.signal(false)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			attrs := []any{slog.Any(telemetry.KeyErr, err)}
			if sub != nil {
				attrs = append(attrs, slog.String(telemetry.KeySubject, sub.Subject))
			}
			b.log.Error("bus error", attrs...)
		}),
	}
	if o.Server != nil {
		opts = append(opts, nats.InProcessServer(o.Server))
	}
	if o.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(o.CredentialsFile))
	}
	if o.RootCAFile != "" {
		opts = append(opts, nats.RootCAs(o.RootCAFile))
	}
	if o.CertFile != "" {
		opts = append(opts, nats.ClientCert(o.CertFile, o.KeyFile))
	}
	if o.NKeyFile != "" {
		nkey, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, nkey, nats.CustomInboxPrefix(Inbox(o.Name)))
	}
	return opts, nil
}

// Close sends what is buffered and closes the connection. Consumers are to be stopped before.
func (b *Bus) Close() {
	if b.nc.IsConnected() {
		_ = b.nc.FlushTimeout(closeTimeout) // what could not be flushed was not acknowledged either
	}
	b.nc.Close()
}

// Health returns nil when the server answers and JetStream is in use.
func (b *Bus) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if !b.nc.IsConnected() {
		return errs.New(errs.Unavailable, "bus_unavailable", "not connected to NATS")
	}
	if _, err := b.js.AccountInfo(ctx); err != nil {
		return errs.Wrap(err, errs.Unavailable, "bus_unavailable", "NATS does not answer")
	}
	return nil
}

// connected returns a channel that is closed when the connection is next made.
func (b *Bus) connected() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up
}

// connection returns a context that ends when the connection that there is now breaks. It has ended when there is none.
func (b *Bus) connection() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// signal notes that the connection was made or has broken.
func (b *Bus) signal(up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end()
	if up {
		b.session, b.end = context.WithCancel(context.Background())
		close(b.up)
		b.up = make(chan struct{})
	}
}

// try returns the context of one request: it ends soon, and at once when the connection breaks, since then no answer
// will come.
func (b *Bus) try(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	stop := context.AfterFunc(b.connection(), cancel)
	return ctx, func() { stop(); cancel() }
}

// retry runs f with a short context until it succeeds, fails for good or ctx ends. what completes "the bus did not ...".
func (b *Bus) retry(ctx context.Context, what string, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		up := b.connected()
		try, cancel := b.try(ctx)
		err := f(try)
		cancel()
		if err == nil {
			return nil
		}
		if b.nc.IsClosed() {
			return nats.ErrConnectionClosed
		}
		if !transient(err) {
			return err
		}
		if ctx.Err() == nil {
			if attempt%10 == 0 {
				b.log.WarnContext(ctx, "bus does not answer, still trying", slog.String("what", what), slog.Int(telemetry.KeyAttempt, attempt), slog.Any(telemetry.KeyErr, err))
			}
			pause(ctx, up, backoff(attempt, 10*time.Millisecond, maxRetryWait))
		}
		if ctx.Err() != nil {
			return errs.Wrap(errors.Join(ctx.Err(), err), errs.Unavailable, "bus_unavailable", "the message bus did not %s in time; retry later", what)
		}
	}
}

// pause waits for d, or less when wake is closed or ctx ends.
func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}

// backoff is an exponential wait from first to most with jitter over its upper half. attempt counts from 1.
func backoff(attempt int, first, most time.Duration) time.Duration {
	d := most
	if shift := max(attempt, 1) - 1; shift < 30 && first<<shift < most {
		d = first << shift
	}
	return d/2 + rand.N(d/2+1)
}

// transient reports whether the same request may succeed later.
func transient(err error) bool {
	if _, ok := errors.AsType[*errs.Error](err); ok {
		return false
	}
	for _, t := range []error{
		nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, context.DeadlineExceeded, context.Canceled,
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, nats.ErrNoServers,
		nats.ErrStaleConnection, jetstream.ErrNoHeartbeat, jetstream.ErrServerShutdown, errGap,
	} {
		if errors.Is(err, t) {
			return true
		}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code >= 500
}

// classify gives an error of the server its kind. what says what was being done, to which thing.
func classify(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	api, isAPI := errors.AsType[*jetstream.APIError](err)
	switch {
	case err == nil:
		return nil
	case isErr(err):
		return err
	case errors.Is(err, nats.ErrConnectionClosed):
		return errs.Wrap(err, errs.Unavailable, "bus_closed", "%s: the connection to the message bus is closed", what)
	case isAPI && api.Code == 404:
		return errs.Wrap(err, errs.NotFound, "no_stream", "%s: the stream does not exist", what)
	case isAPI && api.ErrorCode == codeStorageExceeded:
		return errs.Wrap(err, errs.Exhausted, "store_full", "%s: the storage limit of the NATS server is reserved by other streams; "+
			"raise it or lower the limits of the streams", what)
	case isAPI:
		return errs.Wrap(err, errs.Internal, "bus_refused", "%s: the message bus refused it", what)
	default:
		return errs.Wrap(err, errs.Internal, "bus_failed", "%s", what)
	}
}

func isErr(err error) bool {
	_, ok := errors.AsType[*errs.Error](err)
	return ok
}

// Codes of the server that the client library has no names for.
const (
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeStorageExceeded       jetstream.ErrorCode = 10047
	codeStoreFailed           jetstream.ErrorCode = 10077
)

// errGap says that a reply was lost on the way.
var errGap = errors.New("a message was lost on the way")
