// Package stage owns what a task does: one function per stage, from fixing what shapes the run to projecting how people
// ended. It is the only place that moves records.
//
// Invariant: every effect on the org follows a durable intent and a renewed lease (promises P3, P9); a function can be
// cut off anywhere and run again under the next epoch.
package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// Settings shape the work of the stages.
type Settings struct {
	// Limits cut the work.
	Limits conduct.Limits
	// UnknownWait is how long after a call whose answer was lost Salesforce may still be at work on it: ten minutes,
	// after which it ends any request.
	UnknownWait time.Duration
	// LookupMax is the greatest number of people whose records are looked up by key rather than read with the table.
	LookupMax int64
	// APIVersion of all calls.
	APIVersion string
	// MaxFailures is how many attempts of a task may fail before its run is stopped. In a stopped run a task asks nobody
	// any more after twice as many, and is given up after three times as many. 0: never.
	MaxFailures int
}

// Runner runs tasks.
type Runner struct {
	Log       *slog.Logger
	Bus       *rows.Store
	Ledger    *ledger.Ledger
	Directory directory.Directory
	Mapper    mapperv1.MapperServiceClient
	FieldMaps mapperv1.FieldMapServiceClient
	Tokens    authv1.TokenServiceClient
	HTTP      *http.Client
	Policy    salesforce.HostPolicy
	Tracer    trace.Tracer
	Settings  Settings
	// Allocations count the API calls that orgs have had, and decide about more; nil: nobody does.
	Allocations *allocation.Book
	// OnCall is told of every exchange with Salesforce.
	OnCall func(context.Context, salesforce.CallInfo)
	// Now is the clock by which it is told how long ago records were read; time.Now where nil.
	Now func() time.Time

	paces paces
}

// CodeUnlinked is the code of people whom a run does not reach because an admin ended the connection.
const CodeUnlinked = "unlinked"

// Drain asks for the run's end: nothing new is sent, and what is left ends deferred.
type Drain struct{ ledger.Drain }

func (d *Drain) Error() string { return d.Reason }

func fail(format string, args ...any) *Drain {
	return &Drain{ledger.Drain{State: ledger.RunFailed, Code: "run_failed", Reason: fmt.Sprintf(format, args...)}}
}

// work is one task under one lease.
type work struct {
	*Runner
	run   ledger.Run
	lease *ledger.Lease
	task  ledger.Task
	pub   *rows.Publisher
	calls atomic.Int64
	rows  atomic.Int64
	base  int64 // API calls of earlier attempts
	// drain is set once the run is being stopped, from the start or while the task is at work.
	drain atomic.Pointer[ledger.Drain]

	snap *snapshot
	org  *salesforce.Client
}

// Do runs a task to its settling or parking. The error of a task that is worth another attempt is returned as it is; a
// *Drain ends the run.
func (r *Runner) Do(ctx context.Context, run ledger.Run, lease *ledger.Lease) error {
	t := lease.Task()
	w := &work{Runner: r, run: run, lease: lease, task: t, pub: rows.NewPublisher(r.Bus, t), base: t.APICalls}
	w.drain.Store(run.Drain)
	ctx = rpc.WithCaller(ctx, rpc.Caller{Tenant: run.Tenant, Subject: "sync-worker", Role: optionsv1.Role_ROLE_INTERNAL})

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		lease.Keep(ctx, w.progress, w.drained, func(err error) { cancel(err) })
	}()
	err := w.do(ctx)
	if err != nil && ctx.Err() != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	} else if wait := w.noRoom(err); wait != nil {
		err = w.parkUntil(ctx, wait)
	} else if err != nil && w.failed(3) && !errors.Is(err, ledger.ErrLeaseLost) {
		r.Log.ErrorContext(ctx, "a task of a stopped run is given up", slog.String("run", run.ID), slog.String("task", t.Name()))
		err = lease.Settle(ctx, ledger.Result{Aborted: true})
	}
	cancel(nil)
	<-kept
	return err
}

func (w *work) do(ctx context.Context) error {
	if w.run.Kind == ledger.KindUndo {
		switch w.task.Stage {
		case ledger.StagePrepare:
			return w.prepareUndo(ctx)
		case ledger.StageSnapshot:
			return w.snapshotUndone(ctx)
		case ledger.StagePlan:
			return w.planUndo(ctx)
		}
	}
	switch w.task.Stage {
	case ledger.StagePrepare:
		return w.prepare(ctx)
	case ledger.StageSnapshot:
		return w.snapshotPeople(ctx)
	case ledger.StagePull:
		return w.pull(ctx)
	case ledger.StagePlan, ledger.StageAdopt:
		return w.plan(ctx)
	case ledger.StageFollow:
		return w.follow(ctx)
	case ledger.StageReferences:
		return w.references(ctx)
	case ledger.StageRecheck:
		return w.recheck(ctx)
	case ledger.StageParents:
		return w.parents(ctx)
	case ledger.StageApply:
		return w.apply(ctx)
	case ledger.StageReadback:
		return w.readback(ctx)
	case ledger.StageVerify:
		return w.verify(ctx)
	case ledger.StageClose:
		return w.close(ctx)
	}
	return fail("the ledger holds a task of stage %q, which this version does not know; run one version of sync-worker", w.task.Stage)
}

// ErrDrained: the run was stopped while the task was at work; it runs again to end what it has.
var ErrDrained = errors.New("stage: the run was stopped")

// drained is asked at each renewal of the lease. Most tasks are interrupted when the run is stopped, run again and see
// the drain from their start. One that sends is not: it stops by itself between two calls, so that no answer is lost.
func (w *work) drained(ctx context.Context) error {
	if w.drain.Load() != nil {
		return nil
	}
	run, err := w.Ledger.Run(ctx, w.run.Tenant, w.run.ID)
	if err != nil || run.Drain == nil {
		return nil //nolint:nilerr // asked again at the next renewal; the lease itself says whether to go on
	}
	w.drain.Store(run.Drain)
	if w.lease.Task().Stage == ledger.StageApply {
		return nil
	}
	return ErrDrained
}

// progress puts rows and API calls so far into the task's record.
func (w *work) progress(t *ledger.Task) {
	t.Rows = w.rows.Load()
	t.APICalls = w.base + w.calls.Load()
}

// save makes a checkpoint durable.
func (w *work) save(ctx context.Context, fn func(*ledger.Checkpoint)) error {
	err := w.lease.Save(ctx, func(t *ledger.Task) {
		fn(&t.Checkpoint)
		w.progress(t)
	})
	w.task = w.lease.Task()
	return err
}

// settle ends the task.
func (w *work) settle(ctx context.Context, res ledger.Result) error {
	res.Outputs = w.pub.Outputs()
	if w.org != nil {
		a := w.org.Allocation()
		res.AllocationUsed, res.AllocationMax = a.Used, a.Max
	}
	if err := w.lease.Save(ctx, w.progress); err != nil {
		return err
	}
	return w.lease.Settle(ctx, res)
}

// park puts the task to sleep.
func (w *work) park(ctx context.Context, wait time.Duration) error {
	return w.lease.Park(ctx, time.Now().Add(wait), w.progress)
}

// draining reports whether the run is being stopped.
func (w *work) draining() bool { return w.drain.Load() != nil }

// failed reports whether the run is being stopped and so many times MaxFailures attempts of this task have failed.
func (w *work) failed(times int) bool {
	most := times * w.Settings.MaxFailures
	return w.draining() && most > 0 && w.task.Failures >= most
}

// unreachable reports whether the run is being stopped and the org cannot be asked what became of what was sent: the
// connection is refused, or every attempt has failed for long enough. The run ends all the same (promise P4).
func (w *work) unreachable() bool {
	d := w.drain.Load()
	return d != nil && (d.State == ledger.RunReconnect || d.Code == CodeUnlinked || w.failed(2))
}

// deferred is the outcome of a person whom the stopped run does not reach any more.
func (w *work) deferred(person string) *syncv1.Outcome {
	d := w.drain.Load()
	return &syncv1.Outcome{
		PersonId: person, Kind: syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED, Code: d.Code, Message: d.Reason,
		FieldMapVersion: w.run.FieldMapVersion,
	}
}

// client returns a client for the run's org that counts this task's calls and names run and epoch to Salesforce.
func (w *work) client() (*salesforce.Client, error) {
	if w.org != nil {
		return w.org, nil
	}
	c, err := salesforce.New(salesforce.Options{
		HTTP: w.HTTP, Policy: w.Policy, APIVersion: w.Settings.APIVersion, Log: w.Log,
		Tokens: &tokens{client: w.Tokens, connection: w.run.ConnectionID, org: w.run.OrgID, held: w.lease.Held, allowed: w.allowed, lease: &authv1.TaskLease{
			RunId: w.run.ID, Stage: string(w.task.Stage), Number: int32(w.task.Number), Epoch: w.task.Epoch,
		}},
		ClientName: "catalogsync", CallOptions: fmt.Sprintf("%s/%s/%d", w.run.ID, w.task.Name(), w.task.Epoch),
		OnCall: func(ctx context.Context, i salesforce.CallInfo) {
			if i.Counted {
				w.counted()
			}
			if w.OnCall != nil {
				w.OnCall(ctx, i)
			}
		},
	})
	w.org = c
	return c, err
}

// refusal turns an error of Salesforce or of auth that ends the run into a Drain; other errors pass as they are.
func refusal(err error, doing string) error {
	if err == nil {
		return nil
	}
	if errs.ReasonOf(err) == CodeUnlinked {
		return &Drain{ledger.Drain{State: ledger.RunCancelled, Code: CodeUnlinked, Reason: "The connection was unlinked."}}
	}
	if errs.ReasonOf(err) == "needs_reconnect" {
		return &Drain{ledger.Drain{State: ledger.RunReconnect, Code: "needs_reconnect", Reason: errs.Message(err)}}
	}
	if errors.Is(err, ErrOtherOrg) {
		return fail("%s", err)
	}
	if e, ok := errors.AsType[*salesforce.Error](err); ok {
		switch e.Action {
		case salesforce.ActionConfig, salesforce.ActionJob:
			return fail("Salesforce refused to %s: %s %s", doing, e.Code, e.Message)
		case salesforce.ActionRefresh:
			if e.TokenReplaced {
				break // the session had ended, and the next attempt has another token
			}
			return &Drain{ledger.Drain{
				State: ledger.RunReconnect, Code: "needs_reconnect",
				Reason: fmt.Sprintf("Salesforce refuses the access token even after a new one was asked for: %s. Test the connection and link it again.", e.Message),
			}}
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// ErrOtherOrg: the connection now leads to another org than the one that the run is about.
var ErrOtherOrg = errors.New("the connection leads to another org than when the run began")

// tokens gets access tokens from auth.
type tokens struct {
	client          authv1.TokenServiceClient
	connection, org string
	// lease names the task that the token is for; outside of runs grant lets one request have it.
	lease *authv1.TaskLease
	grant string
	// allowed refuses a token when the org's allocation has no room for another call.
	allowed func(context.Context) error
	// held refuses a token once the task's lease has run out. A token is asked for right before each exchange, so this is
	// the last look before a call: this process may have stood still since the lease was renewed for it.
	held func() error
}

// NewTokens returns the access tokens of a connection for one request, outside of any run.
func NewTokens(client authv1.TokenServiceClient, connection, grant string) salesforce.TokenSource {
	return &tokens{client: client, connection: connection, grant: grant}
}

func (t *tokens) Token(ctx context.Context) (salesforce.Token, error) {
	if t.allowed != nil {
		if err := t.allowed(ctx); err != nil {
			return salesforce.Token{}, err
		}
	}
	return t.get(ctx, "")
}

func (t *tokens) Reject(ctx context.Context, bad salesforce.Token) (salesforce.Token, error) {
	return t.get(ctx, bad.AccessToken.Expose())
}

func (t *tokens) get(ctx context.Context, rejected string) (salesforce.Token, error) {
	res, err := t.client.GetAccessToken(ctx, &authv1.GetAccessTokenRequest{
		ConnectionId: t.connection, Lease: t.lease, Grant: t.grant, RejectedAccessToken: rejected,
	})
	if errs.ReasonOf(err) == "no_lease" {
		err = fmt.Errorf("%w: %w", ledger.ErrLeaseLost, err) // auth has looked later than this worker
	}
	if err != nil {
		return salesforce.Token{}, err
	}
	if t.org != "" && res.GetOrgId() != t.org {
		return salesforce.Token{}, fmt.Errorf("%w: %s, not %s; start a new run", ErrOtherOrg, res.GetOrgId(), t.org)
	}
	if t.held != nil {
		if err := t.held(); err != nil {
			return salesforce.Token{}, err
		}
	}
	return salesforce.Token{AccessToken: salesforce.NewAccessToken(res.GetAccessToken()), InstanceURL: res.GetInstanceUrl()}, nil
}

// loadSnapshot reads what shapes the run.
func (w *work) loadSnapshot(ctx context.Context) (*snapshot, error) {
	if w.snap != nil {
		return w.snap, nil
	}
	stored, err := w.Ledger.Snapshot(ctx, w.run.ID)
	if err != nil {
		return nil, fmt.Errorf("read what shapes the run: %w", err)
	}
	m := &syncv1.RunSnapshot{}
	if err := proto.Unmarshal(stored.Proto, m); err != nil {
		return nil, fmt.Errorf("read what shapes the run: %w", err)
	}
	w.snap = newSnapshot(m)
	return w.snap, nil
}
