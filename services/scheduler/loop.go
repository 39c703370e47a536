package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/scheduler/internal/schedule"
	"github.com/catalogsync/catalogsync/services/scheduler/internal/slot"
)

// firstPause is the wait after the first failure; it doubles up to Config.Retry.
const firstPause = time.Second

// plan is what the loop knows of a linked connection: only when to look at it again. What is due is decided from what
// is stored, each time anew.
type plan struct {
	connection
	daily    slot.Daily
	stored   schedule.Schedule // as last seen
	wake     time.Time         // zero for never
	failures int
}

// loop is the state of [Service.Run]. A plan is used by one goroutine at a time.
type loop struct {
	*Service
	plans     map[connection]*plan
	refreshAt time.Time
	failures  int // of refresh, in a row
}

// Run starts the runs that are due until ctx ends. It holds nothing that another scheduler, or this one after a restart,
// needs.
func (s *Service) Run(ctx context.Context) error {
	l := &loop{Service: s, plans: map[connection]*plan{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
			l.refreshAt = time.Time{}
		case <-timer.C:
		}
		if now := s.now(); !now.Before(l.refreshAt) {
			l.refresh(ctx, now)
		}
		l.start(ctx)
		timer.Reset(l.sleep())
	}
}

// sleep returns the time until something is to be done, at most a tick: the clock may be set meanwhile.
func (l *loop) sleep() time.Duration {
	next := l.refreshAt
	for _, p := range l.plans {
		if !p.wake.IsZero() && p.wake.Before(next) {
			next = p.wake
		}
	}
	return min(max(next.Sub(l.now()), 0), l.config.Tick)
}

// refresh learns which connections are linked and what their schedules are. When that fails it keeps to what it knows.
func (l *loop) refresh(ctx context.Context, now time.Time) {
	plans, err := l.look(ctx, now)
	if err != nil {
		if ctx.Err() == nil {
			l.failures++
			l.log.WarnContext(ctx, "schedules cannot be read, going on with those that are known", slog.Any(telemetry.KeyErr, err), slog.Int(telemetry.KeyAttempt, l.failures))
		}
		l.refreshAt = now.Add(l.pause(l.failures))
		return
	}
	l.plans, l.failures, l.refreshAt = plans, 0, now.Add(l.config.Refresh)
}

func (l *loop) look(ctx context.Context, now time.Time) (map[connection]*plan, error) {
	plans := map[connection]*plan{}
	if err := l.linked(ctx, func(c connection) bool {
		plans[c] = &plan{connection: c}
		return true
	}); err != nil {
		return nil, err
	}
	entries, err := l.schedules.List(ctx, "")
	if err != nil {
		return nil, err
	}
	stored := make(map[connection]schedule.Schedule, len(entries))
	for _, e := range entries {
		stored[connection{e.Value.Tenant, e.Value.Connection}] = e.Value
	}
	for c, p := range plans {
		known, ok := stored[c]
		if !ok {
			if known, err = l.begin(ctx, c, now); err != nil {
				return nil, err
			}
		}
		if old := l.plans[c]; old != nil && old.stored.Same(known) {
			old.stored, plans[c] = known, old // and when to look at it again
			continue
		}
		if err := p.see(known, now, l.delay(c)); err != nil {
			l.log.ErrorContext(ctx, "a stored schedule cannot be read, set it again", slog.String(telemetry.KeyTenant, c.tenant), slog.String(telemetry.KeyConnection, c.id), slog.Any(telemetry.KeyErr, err))
		}
	}
	return plans, nil
}

// begin gives a connection that is seen for the first time its schedule.
func (l *loop) begin(ctx context.Context, c connection, now time.Time) (schedule.Schedule, error) {
	fresh := schedule.New(c.tenant, c.id, now)
	_, err := l.schedules.Create(ctx, c.key(), fresh)
	if errors.Is(err, store.ErrExists) { // another scheduler was faster
		fresh, _, err = l.schedules.Get(ctx, c.key())
	}
	return fresh, err
}

func (l *loop) delay(c connection) time.Duration {
	return schedule.Delay(c.tenant, c.id, l.config.Jitter)
}

// see takes a schedule as it is stored and sets when to look again.
func (p *plan) see(stored schedule.Schedule, now time.Time, delay time.Duration) error {
	p.stored, p.wake, p.failures = stored, time.Time{}, 0
	daily, err := slot.Parse(stored.Time, stored.Zone)
	if err != nil {
		return err
	}
	p.daily = daily
	if next, ok := stored.Next(daily, now, delay); ok {
		p.wake = next
	}
	return nil
}

// start starts the runs that are due and waits until all requests have been answered.
func (l *loop) start(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(l.config.Parallel)
	now := l.now()
	for _, p := range l.plans {
		if p.wake.IsZero() || p.wake.After(now) {
			continue
		}
		group.Go(func() error {
			l.attempt(ctx, p)
			return nil
		})
	}
	_ = group.Wait() // attempts return no errors
}

// attempt reads the schedule again, and starts the run that is due by it, if any.
func (l *loop) attempt(ctx context.Context, p *plan) {
	now := l.now()
	stored, _, err := l.schedules.Get(ctx, p.key())
	var due slot.Slot
	isDue := false
	if err == nil && !stored.Same(p.stored) {
		failures := p.failures
		err = p.see(stored, now, l.delay(p.connection))
		p.failures = failures
	}
	if err == nil {
		if due, isDue = stored.Due(p.daily, now, l.delay(p.connection)); !isDue {
			err = p.see(stored, now, l.delay(p.connection))
		}
	}
	if err == nil && isDue {
		err = l.request(ctx, p, due.Date)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	p.failures++
	pause := l.pause(p.failures)
	if !transient(err) {
		pause = l.config.Retry // somebody has to do something first
	}
	p.wake = l.now().Add(max(pause, min(errs.RetryAfter(err), l.config.Retry)))
	level := slog.LevelDebug
	if p.failures == 1 {
		level = slog.LevelWarn
	}
	l.log.LogAttrs(ctx, level, "a run that is due could not be started, it will be tried again",
		slog.String(telemetry.KeyTenant, p.tenant), slog.String(telemetry.KeyConnection, p.id), slog.String("slot", due.Date.String()),
		slog.Int(telemetry.KeyAttempt, p.failures), slog.Any(telemetry.KeyErr, err))
}

// request asks for the run of a date, and notes the date once there is an answer.
func (l *loop) request(ctx context.Context, p *plan, date slot.Date) error {
	ctx, span := l.tracer.Start(ctx, "schedule run", trace.WithAttributes(
		attribute.String(telemetry.KeyConnection, p.id), attribute.String("slot", date.String())))
	defer span.End()
	runID, created, err := l.startRun(ctx, p.connection, date)
	l.started.Add(ctx, 1, metric.WithAttributes(attribute.String("result", outcome(created, err))))
	note := func(s schedule.Schedule) (schedule.Schedule, bool) { return s.Started(date, runID) }
	if reason := errs.Message(err); errs.ReasonOf(err) == "no_field_map" {
		// Nobody has said yet what goes where. Were the date made up for, saving the first field map would write to the
		// org within a minute, before anybody has seen a plan.
		err = nil
		note = func(s schedule.Schedule) (schedule.Schedule, bool) { return s.PassedOver(date, reason) }
	} else if err != nil {
		span.RecordError(err)
		note = func(s schedule.Schedule) (schedule.Schedule, bool) { return s.Blocked(date, errs.Message(err)) }
	} else if created {
		l.log.InfoContext(ctx, "run started by its schedule", slog.String(telemetry.KeyTenant, p.tenant),
			slog.String(telemetry.KeyConnection, p.id), slog.String("slot", date.String()), slog.String(telemetry.KeyRun, runID))
	}
	stored, noteErr := l.schedules.Update(ctx, p.key(), func(s schedule.Schedule) (schedule.Schedule, error) {
		next, changed := note(s)
		if !changed {
			return s, store.NoChange
		}
		return next, nil
	})
	if noteErr != nil {
		return errors.Join(err, noteErr) // asking again finds the same run
	}
	if err != nil {
		p.stored = stored
		return err
	}
	return p.see(stored, l.now(), l.delay(p.connection))
}

func (l *loop) startRun(ctx context.Context, c connection, date slot.Date) (runID string, created bool, err error) {
	ctx, cancel := context.WithTimeout(internal(ctx, c.tenant), l.config.StartTimeout)
	defer cancel()
	resp, err := l.runs.StartRun(ctx, &syncv1.StartRunRequest{
		ConnectionId: c.id, Kind: syncv1.RunKind_RUN_KIND_WRITE, Trigger: syncv1.RunTrigger_RUN_TRIGGER_SCHEDULE,
		RequestId: "schedule:" + date.String(),
	})
	return resp.GetRun().GetId(), resp.GetCreated(), err
}

// outcome names how a request ended, for the metric.
func outcome(created bool, err error) string {
	switch {
	case err != nil:
		return errs.KindOf(err).String()
	case created:
		return "created"
	default:
		return "found"
	}
}

// transient reports whether an error passes by itself.
func transient(err error) bool {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.RateLimited, errs.Exhausted, errs.Conflict, errs.Internal:
		return true
	}
	return false
}

// pause is how long to wait after a number of failures in a row.
func (l *loop) pause(failures int) time.Duration {
	return min(firstPause<<min(max(failures-1, 0), 10), l.config.Retry)
}
