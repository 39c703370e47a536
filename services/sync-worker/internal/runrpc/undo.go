package runrpc

import (
	"context"
	"fmt"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// undone is a run that takes back what another one did. What shaped that one shapes it.
func (s *Runs) undone(ctx context.Context, conn *authv1.Connection, req *syncv1.StartRunRequest) (ledger.Run, error) {
	if req.GetFieldMapVersion() != 0 {
		return ledger.Run{}, errs.New(errs.Invalid, "version_of_undo", "An undo reverts by the version that the run was made with; leave field_map_version out.")
	}
	run, err := s.run(ctx, req.GetUndoRunId())
	if err != nil {
		return ledger.Run{}, err
	}
	refuse := func(reason, format string, args ...any) (ledger.Run, error) {
		return ledger.Run{}, errs.New(errs.Precondition, reason, "Run %s cannot be undone: %s", run.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case run.ConnectionID != conn.GetId():
		return refuse("other_connection", "it belongs to connection %s and not to %s; name that one.", run.ConnectionID, conn.GetId())
	case run.OrgID != conn.GetOrgId():
		return refuse("other_org", "it wrote to org %s, and the connection leads to org %s.", run.OrgID, conn.GetOrgId())
	case run.Kind != ledger.KindWrite:
		return refuse("not_a_write", "it is itself an undo; start a run to write again.")
	case run.PlanOnly:
		return refuse("only_planned", "it only planned and wrote nothing.")
	case !run.State.Final():
		return refuse("not_ended", "it has not ended yet; wait for it, or cancel it first.")
	case run.Counts.Created+run.Counts.Updated+run.Counts.LeaversFlagged == 0:
		return refuse("nothing_written", "it wrote nothing.")
	}
	return ledger.Run{
		Object: run.Object, FieldMapVersion: run.FieldMapVersion, ExternalIDField: run.ExternalIDField,
		UndoRunID: run.ID, UndoDeleteCreated: req.GetUndoDeleteCreated(),
	}, nil
}

// undoneBy returns the latest run that undoes a run, empty for none.
func (s *Runs) undoneBy(ctx context.Context, run ledger.Run) (string, error) {
	if run.Kind != ledger.KindWrite || run.Counts.Created+run.Counts.Updated+run.Counts.LeaversFlagged == 0 {
		return "", nil
	}
	runs, err := s.Ledger.Runs(ctx, run.Tenant)
	if err != nil {
		return "", err
	}
	for _, r := range runs { // newest first
		if r.UndoRunID == run.ID && !r.PlanOnly {
			return r.ID, nil
		}
	}
	return "", nil
}
