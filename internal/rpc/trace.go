package rpc

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// discreet makes spans without the texts of errors, which are written for whoever made the call and may quote what was
// asked for, such as an e-mail address (promise P6). The gRPC code stays, and the log has the reason.
type discreet struct{ trace.TracerProvider }

// Tracer returns a tracer of such spans.
func (p discreet) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	return discreetTracer{p.TracerProvider.Tracer(name, opts...)}
}

type discreetTracer struct{ trace.Tracer }

func (t discreetTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx, s := t.Tracer.Start(ctx, name, opts...)
	if !s.IsRecording() {
		return ctx, s
	}
	quiet := discreetSpan{s}
	return trace.ContextWithSpan(ctx, quiet), quiet
}

type discreetSpan struct{ trace.Span }

func (s discreetSpan) SetStatus(code codes.Code, _ string) { s.Span.SetStatus(code, "") }

func (s discreetSpan) RecordError(error, ...trace.EventOption) {}
