package rpc_test

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// P6: what an error says is for the caller. Spans have its code, on both sides, of unary calls and of streams.
func TestSpansDoNotSayWhatErrorsSay(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		for _, kind := range []errs.Kind{errs.NotFound, errs.Internal, errs.Unavailable} {
			spans := tracetest.NewInMemoryExporter()
			tel := telemetry.Providers{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))}
			conn, stop := connect(t, answering(errs.New(kind, "reason", "nobody is called ada@example.com")), rpc.ServerOptions{Telemetry: tel}, rpc.DialOptions{Telemetry: tel})
			if call(t.Context(), conn) == nil || streamError(t.Context(), conn) == nil {
				t.Fatal("the calls did not fail")
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, s := range spans.GetSpans() {
				if strings.Contains(fmt.Sprint(s.Attributes, s.Events, s.Status), "ada") {
					t.Errorf("span %s of the %s: %v %v %v", s.Name, s.SpanKind, s.Status, s.Attributes, s.Events)
				}
				if s.Status.Code == codes.Error {
					failed++
				}
			}
			if failed < 2 { // the client's; the server's too where it is at fault
				t.Errorf("%v: %d of %d spans say that the call failed", kind, failed, len(spans.GetSpans()))
			}
		}
	})
}
