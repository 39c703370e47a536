// Package scheduler is the service that owns schedules: it starts each linked connection's write run once on every local
// date. Any number of schedulers may run.
//
// That there is exactly one run does not depend on who asks for it, or how often: a request names the connection and the
// local date, and the same request finds the same run. A date is noted as started only after the request was answered,
// so whoever stops in between is made up for by the next look.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// Deps are what the service needs.
type Deps struct {
	Log       *slog.Logger
	Bus       *bus.Bus
	Telemetry telemetry.Providers
	// Tokens lists the linked connections.
	Tokens authv1.TokenServiceClient
	// Runs starts runs.
	Runs syncv1.RunServiceClient
	// Now is the clock; time.Now where nil.
	Now func() time.Time
}

// Service serves ScheduleService and starts runs.
type Service struct {
	schedulerv1.UnimplementedScheduleServiceServer
	config    Config
	log       *slog.Logger
	bus       *bus.Bus
	tokens    authv1.TokenServiceClient
	runs      syncv1.RunServiceClient
	now       func() time.Time
	tracer    trace.Tracer
	started   metric.Int64Counter
	schedules schedules
	changed   chan struct{} // holds one token once a schedule was set here
}

// New returns the service. It opens the bucket SCHEDULES and starts nothing.
func New(ctx context.Context, c Config, d Deps) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	if d.Log == nil || d.Bus == nil || d.Tokens == nil || d.Runs == nil {
		return nil, errors.New("scheduler: a log, a bus and clients of TokenService and RunService are needed")
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	stored, err := openSchedules(ctx, d.Bus)
	if err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	tel := d.Telemetry.OrNoop()
	const scope = "github.com/catalogsync/catalogsync/services/scheduler"
	started, err := tel.Meter.Meter(scope).Int64Counter("catalogsync_scheduler_run_requests",
		metric.WithDescription("Requests for runs, by how they ended."), metric.WithUnit("{request}"))
	if err != nil {
		return nil, fmt.Errorf("scheduler: metrics: %w", err)
	}
	return &Service{
		config: c, log: d.Log, bus: d.Bus, tokens: d.Tokens, runs: d.Runs, now: d.Now,
		tracer: tel.Tracer.Tracer(scope), started: started, schedules: stored, changed: make(chan struct{}, 1),
	}, nil
}

// Register attaches ScheduleService.
func (s *Service) Register(r grpc.ServiceRegistrar) { schedulerv1.RegisterScheduleServiceServer(r, s) }

// Health reports why the service cannot work now.
func (s *Service) Health(ctx context.Context) error { return s.bus.Health(ctx) }
