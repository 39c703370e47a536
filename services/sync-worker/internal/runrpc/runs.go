// Package runrpc owns the gRPC face of runs: it turns requests into ledger records and ledger records into answers.
//
// Invariant: what it says of a run is what the ledger says (promise P10), and of a tenant's runs only (promise P7).
package runrpc

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// Runs is the RunService.
type Runs struct {
	syncv1.UnimplementedRunServiceServer
	Ledger      *ledger.Ledger
	Bus         *rows.Store
	Conductor   *conduct.Conductor
	Connections authv1.ConnectionServiceClient
	FieldMaps   mapperv1.FieldMapServiceClient
	Log         *slog.Logger
	Propagator  propagation.TextMapPropagator
	// Nudge makes the sweeper look at once.
	Nudge func()
}

// StartRun requests a run.
func (s *Runs) StartRun(ctx context.Context, req *syncv1.StartRunRequest) (*syncv1.StartRunResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	kind := ledger.KindWrite
	switch k := req.GetKind(); k {
	case syncv1.RunKind_RUN_KIND_UNSPECIFIED, syncv1.RunKind_RUN_KIND_WRITE:
	case syncv1.RunKind_RUN_KIND_UNDO:
		kind = ledger.KindUndo
	default:
		return nil, errs.New(errs.Invalid, "unknown_kind", "This version runs no %s; ask for RUN_KIND_WRITE or RUN_KIND_UNDO.", k)
	}
	res, err := s.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: req.GetConnectionId()})
	if err != nil {
		return nil, err
	}
	conn := res.GetConnection()
	id := req.GetRequestId()
	if id == "" {
		id = uuid.NewString()
	}
	runID := ledger.RunID(tenant, conn.GetId(), kind, id)
	if have, err := s.Ledger.Run(ctx, tenant, runID); err == nil {
		return &syncv1.StartRunResponse{Run: runProto(have)}, nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if conn.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED {
		return nil, errs.New(errs.Precondition, "not_linked",
			"The connection %q cannot be used: it is %s. %sLink the org again, then start the run.", conn.GetName(), stateWord(conn.GetState()), sentence(conn.GetReason()))
	}
	shape := s.undone
	if kind == ledger.KindWrite {
		shape = s.written
	}
	run, err := shape(ctx, conn, req)
	if err != nil {
		return nil, err
	}
	caller, _ := rpc.CallerFrom(ctx)
	carrier := propagation.MapCarrier{}
	s.Propagator.Inject(ctx, carrier)
	run.ID, run.Tenant, run.ConnectionID, run.Kind, run.RequestID = runID, tenant, conn.GetId(), kind, id
	run.Trigger, run.PlanOnly, run.Author, run.State, run.OrgID = triggerWord(req.GetTrigger()), req.GetPlanOnly(), caller.Subject, ledger.RunRequested, conn.GetOrgId()
	run.RequestedAt, run.Traceparent = time.Now().UTC(), carrier["traceparent"]
	run, created, err := s.Ledger.CreateRun(ctx, run)
	if err != nil {
		return nil, err
	}
	if created {
		s.Log.InfoContext(ctx, "run requested", slog.String("run", run.ID), slog.String("trigger", run.Trigger))
	}
	s.Nudge()
	return &syncv1.StartRunResponse{Run: runProto(run), Created: created}, nil
}

// written is a write run: what shapes it is the field map.
func (s *Runs) written(ctx context.Context, conn *authv1.Connection, req *syncv1.StartRunRequest) (ledger.Run, error) {
	if req.GetUndoRunId() != "" || req.GetUndoDeleteCreated() {
		return ledger.Run{}, errs.New(errs.Invalid, "undo_without_kind", "Only an undo names a run to undo; ask for RUN_KIND_UNDO, or leave it out.")
	}
	if req.GetFieldMapVersion() != 0 && !req.GetPlanOnly() {
		return ledger.Run{}, errs.New(errs.Invalid, "version_without_plan_only",
			"Runs that write take the latest version of the field map; plan with version %d, and roll back to it if that is what you want.", req.GetFieldMapVersion())
	}
	fm, err := s.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: conn.GetId(), Version: req.GetFieldMapVersion()})
	if errs.KindOf(err) == errs.NotFound && req.GetFieldMapVersion() == 0 {
		return ledger.Run{}, errs.New(errs.Precondition, "no_field_map", "The connection %q has no field map yet: save one, then start the run.", conn.GetName())
	}
	if err != nil {
		return ledger.Run{}, err
	}
	m := fm.GetFieldMap()
	return ledger.Run{Object: m.GetObject(), FieldMapVersion: m.GetVersion(), ExternalIDField: m.GetExternalIdField()}, nil
}

func sentence(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	return strings.TrimSuffix(s, ".") + ". "
}

func stateWord(s authv1.ConnectionState) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.String(), "CONNECTION_STATE_")), "_", " ")
}

// run returns a run of the caller's tenant.
func (s *Runs) run(ctx context.Context, id string) (ledger.Run, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return ledger.Run{}, err
	}
	if id == "" {
		return ledger.Run{}, errs.New(errs.Invalid, "no_run_id", "Name the run: run_id is empty.")
	}
	r, err := s.Ledger.Run(ctx, tenant, id)
	if errors.Is(err, store.ErrNotFound) {
		return r, errs.New(errs.NotFound, "no_run", "There is no run %s; list the runs to see which there are.", id)
	}
	return r, err
}

// GetRun returns one run.
func (s *Runs) GetRun(ctx context.Context, req *syncv1.GetRunRequest) (*syncv1.GetRunResponse, error) {
	r, err := s.run(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	if r.UndoneBy, err = s.undoneBy(ctx, r); err != nil {
		return nil, err
	}
	return &syncv1.GetRunResponse{Run: runProto(r)}, nil
}

// ListRuns returns a page of runs, newest first.
func (s *Runs) ListRuns(ctx context.Context, req *syncv1.ListRunsRequest) (*syncv1.ListRunsResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := s.Ledger.Runs(ctx, tenant)
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize(), 50, 500)
	res := &syncv1.ListRunsResponse{}
	found := req.GetPageToken() == ""
	for _, r := range runs {
		if !found {
			found = r.ID == req.GetPageToken()
			continue
		}
		if r.Person != "" || req.GetConnectionId() != "" && r.ConnectionID != req.GetConnectionId() {
			continue
		}
		if len(res.Runs) == size {
			res.NextPageToken = res.Runs[size-1].GetId()
			break
		}
		res.Runs = append(res.Runs, runProto(r))
	}
	if !found {
		return nil, errs.New(errs.Invalid, "bad_page_token", "The page token is not of this list; begin again without one.")
	}
	return res, nil
}

// watchEvery is how often a watched run is looked at.
const watchEvery = 500 * time.Millisecond

// WatchRun sends the run whenever it has changed, until it has ended.
func (s *Runs) WatchRun(req *syncv1.WatchRunRequest, stream grpc.ServerStreamingServer[syncv1.WatchRunResponse]) error {
	ctx := stream.Context()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last *syncv1.Run
	for {
		r, err := s.run(ctx, req.GetRunId())
		if err != nil {
			return err
		}
		if now := runProto(r); last == nil || !proto.Equal(last, now) {
			if err := stream.Send(&syncv1.WatchRunResponse{Run: now}); err != nil {
				return err
			}
			last = now
		}
		if r.State.Final() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// CancelRun stops a run.
func (s *Runs) CancelRun(ctx context.Context, req *syncv1.CancelRunRequest) (*syncv1.CancelRunResponse, error) {
	r, err := s.run(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	caller, _ := rpc.CallerFrom(ctx)
	r, err = s.Conductor.Cancel(ctx, r, caller.Subject)
	if err != nil {
		return nil, err
	}
	s.Nudge()
	return &syncv1.CancelRunResponse{Run: runProto(r)}, nil
}

// maxNote is how many characters a note of a decision has.
const maxNote = 1000

func checkNote(note string) error {
	if n := utf8.RuneCountInString(note); n > maxNote {
		return errs.New(errs.Invalid, "note_too_long", "The note has %d characters; %d are kept at the most.", n, maxNote)
	}
	return nil
}

// ApproveRun lets a held run go on.
func (s *Runs) ApproveRun(ctx context.Context, req *syncv1.ApproveRunRequest) (*syncv1.ApproveRunResponse, error) {
	r, err := s.run(ctx, req.GetRunId())
	if err == nil {
		err = checkNote(req.GetNote())
	}
	if err != nil {
		return nil, err
	}
	if req.GetPlanHash() == "" {
		return nil, errs.New(errs.Invalid, "no_plan_hash", "Say which plan you approve: plan_hash is empty, and the run's plan says its hash.")
	}
	caller, _ := rpc.CallerFrom(ctx)
	if r, err = s.Conductor.Approve(ctx, r, req.GetPlanHash(), caller.Subject, req.GetNote()); err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "run approved", slog.String("run", r.ID))
	s.Nudge()
	return &syncv1.ApproveRunResponse{Run: runProto(r)}, nil
}

// RejectRun ends a held run.
func (s *Runs) RejectRun(ctx context.Context, req *syncv1.RejectRunRequest) (*syncv1.RejectRunResponse, error) {
	r, err := s.run(ctx, req.GetRunId())
	if err == nil {
		err = checkNote(req.GetNote())
	}
	if err != nil {
		return nil, err
	}
	caller, _ := rpc.CallerFrom(ctx)
	if r, err = s.Conductor.Reject(ctx, r, caller.Subject, req.GetNote()); err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "run rejected", slog.String("run", r.ID))
	s.Nudge()
	return &syncv1.RejectRunResponse{Run: runProto(r)}, nil
}

func pageSize(asked, standard, most int32) int {
	switch {
	case asked <= 0:
		return int(standard)
	case asked > most:
		return int(most)
	}
	return int(asked)
}
