package token

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// meters are the counters of this package.
type meters struct{ requests, events metric.Int64Counter }

func newMeters(tel telemetry.Providers) (m meters, err error) {
	meter := tel.Meter.Meter(scope)
	m.requests, err = meter.Int64Counter("catalogsync_auth_token_requests",
		metric.WithDescription("Token requests to Salesforce, by result: granted, refused or unanswered."))
	if err != nil {
		return m, fmt.Errorf("metric of token requests: %w", err)
	}
	m.events, err = meter.Int64Counter("catalogsync_auth_token_events",
		metric.WithDescription("What became of credentials, by event: rotated, unknown (an answer to a refresh was lost), reuse_suspected (Salesforce refuses a refresh token that nobody here has used twice), needs_reconnect, kept_alive."))
	if err != nil {
		return m, fmt.Errorf("metric of token events: %w", err)
	}
	return m, nil
}

func (m meters) request(ctx context.Context, result string) {
	m.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}

func (m meters) event(ctx context.Context, event string) {
	m.events.Add(ctx, 1, metric.WithAttributes(attribute.String("event", event)))
}
