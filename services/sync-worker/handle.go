package syncworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// Back-off between attempts of a task.
const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = time.Minute
	// windowBackoff is for an org that takes nothing more until its 24-hour window moves.
	windowBackoff = 5 * time.Minute
	// handBack bounds the write that gives a task back when this worker stops.
	handBack = 5 * time.Second
)

// handle works on one task. A message only calls: the ledger says whether there is anything to do. Whatever happens to
// the task is written there, so the message is done with in every case but an unreachable ledger.
func (s *Service) handle(ctx context.Context, m *bus.Message) error {
	var ref eventv1.Task
	if err := m.Unmarshal(&ref); err != nil {
		return errs.Wrap(err, errs.Invalid, "bad_task", "a message on the work stream is no task")
	}
	lease, err := s.ledger.Claim(ctx, ref.GetRunId(), ledger.Stage(ref.GetStage()), int(ref.GetNumber()))
	switch {
	case errors.Is(err, ledger.ErrSettled), errors.Is(err, ledger.ErrAsleep), errors.Is(err, ledger.ErrHeld), errors.Is(err, store.ErrNotFound):
		return nil // done, not due, at work elsewhere, or gone: the conductor calls again when there is something to do
	case err != nil:
		return err
	}
	run, err := s.ledger.Run(ctx, ref.GetTenant(), ref.GetRunId())
	if err != nil {
		return err // the lease runs out by itself
	}
	task := lease.Task()
	ctx = s.tel.Propagator.Extract(ctx, propagation.MapCarrier{"traceparent": run.Traceparent})
	ctx, span := s.tel.Tracer.Tracer(scope).Start(ctx, "task "+string(task.Stage), trace.WithAttributes(
		attribute.String("catalogsync.run", run.ID), attribute.String("catalogsync.task", task.Name()),
		attribute.Int64("catalogsync.epoch", int64(task.Epoch))))
	defer span.End()
	log := s.log.With(slog.String("run", run.ID), slog.String("task", task.Name()), slog.Uint64("epoch", task.Epoch))

	began := time.Now()
	err = s.attempt(ctx, run, lease)
	log.DebugContext(ctx, "worked on a task", slog.Duration("dur", time.Since(began)), slog.Bool("ok", err == nil))
	if err != nil {
		span.SetStatus(codes.Error, errs.ReasonOf(err))
	}
	// What follows must be written even while this worker stops.
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBack)
	defer cancel()
	if err := s.after(wctx, log, run, lease, err, ctx.Err() != nil); err != nil {
		log.WarnContext(wctx, "write what became of a task", telemetry.Err(err))
	}
	s.wake()
	return nil
}

// attempt works on the task once. A panic is a failed attempt like another: left to the bus it would count for nothing,
// and the task would be taken again and again for ever.
func (s *Service) attempt(ctx context.Context, run ledger.Run, lease *ledger.Lease) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errs.Wrap(fmt.Errorf("panic: %v\n%s", v, debug.Stack()), errs.Internal, "panic",
				"this version has a defect; the log of the sync-worker says where")
		}
	}()
	return s.runner.Do(ctx, run, lease)
}

// after writes what became of an attempt.
func (s *Service) after(ctx context.Context, log *slog.Logger, run ledger.Run, lease *ledger.Lease, err error, stopping bool) error {
	var drain *stage.Drain
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ledger.ErrLeaseLost):
		log.WarnContext(ctx, "lease lost; another worker goes on")
		return nil
	case errors.Is(err, stage.ErrDrained):
		return lease.Park(ctx, time.Now(), nil)
	case stopping:
		return lease.Park(ctx, time.Now(), nil)
	case errors.As(err, &drain) && run.Drain == nil:
		log.ErrorContext(ctx, "run stops", slog.String("state", string(drain.State)), slog.String("code", drain.Code))
		if _, err := s.conductor.Drain(ctx, run, drain.Drain); err != nil {
			return err
		}
		return lease.Park(ctx, time.Now(), nil)
	}
	if run.Drain == nil && errs.ReasonOf(err) == rows.ReasonDestroyed { // no attempt will read them
		_, err := s.conductor.Drain(ctx, run, ledger.Drain{State: ledger.RunFailed, Code: rows.ReasonDestroyed, Reason: explain(err)})
		return errors.Join(err, lease.Park(ctx, time.Now(), nil))
	}
	// In a stopped run every failure counts, for it must end: the stage asks nobody any more when there were too many.
	failures := lease.Task().Failures + 1
	wait := min(firstBackoff<<min(failures-1, 10), lastBackoff)
	counts := true
	if salesforce.ActionOf(err) == salesforce.ActionStopUntilWindow {
		wait, counts = windowBackoff, run.Drain != nil
	}
	log.WarnContext(ctx, "task failed; tried again later", telemetry.Err(loggable(err)), slog.Int("failures", failures), slog.Duration("wait", wait))
	if counts && failures >= s.cfg.MaxFailures && run.Drain == nil {
		_, derr := s.conductor.Drain(ctx, run, ledger.Drain{
			State: ledger.RunFailed, Code: "run_failed",
			Reason: fmt.Sprintf("The %s stage failed %d times, the last time because: %s", lease.Task().Stage.Word(), failures, explain(err)),
		})
		if derr != nil {
			return derr
		}
		wait = 0
	}
	return lease.Park(ctx, time.Now().Add(wait), func(t *ledger.Task) {
		if counts {
			t.Failures = failures
		}
		t.LastError = explain(err)
	})
}

// explain is an error in words for the admin.
func explain(err error) string {
	if e, ok := errors.AsType[*salesforce.Error](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return errs.Message(e)
	}
	return err.Error()
}

// loggable takes out of an error what may quote data: messages of Salesforce.
func loggable(err error) error {
	if d, ok := errors.AsType[*stage.Drain](err); ok {
		return fmt.Errorf("the run cannot go on: %s", d.Code)
	}
	if e, ok := errors.AsType[*salesforce.Error](err); ok {
		return fmt.Errorf("salesforce: %s: %d %s", e.Op, e.Status, e.Code)
	}
	return err
}
