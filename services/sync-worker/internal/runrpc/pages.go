package runrpc

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// pageBytes ends a page early when rows are long: a message takes 4 MiB.
const pageBytes = 1 << 20

// position is where a page begins: the sheaf of batches, the batch in it, the row in that.
type position struct{ sheaf, batch, row int }

func parsePosition(token string) (p position, err error) {
	if token == "" {
		return p, nil
	}
	if _, err := fmt.Sscanf(token, "%d-%d-%d", &p.sheaf, &p.batch, &p.row); err != nil || p.sheaf < 0 || p.batch < 0 || p.row < 0 {
		return p, errs.New(errs.Invalid, "bad_page_token", "The page token is not of this list; begin again without one.")
	}
	return p, nil
}

func (p position) String() string { return fmt.Sprintf("%d-%d-%d", p.sheaf, p.batch, p.row) }

// sheaf is what one task wrote of one kind.
type sheaf struct {
	ref      ledger.ChangeRef
	messages int
}

// sheaves lists what a run's tasks settled of some kinds, in a stable order. Tasks settle once but not in order, so the
// list ends before the first that has not: what is listed never moves.
// What they say of the revoked does not stand.
func (s *Runs) sheaves(ctx context.Context, runID string, kinds ...string) ([]sheaf, ledger.Revocations, error) {
	tasks, err := s.Ledger.Tasks(ctx, runID)
	if err != nil {
		return nil, nil, err
	}
	var out []sheaf
	for _, t := range tasks {
		if t.State != ledger.TaskSettled {
			break
		}
		for _, kind := range kinds {
			if o, ok := t.Output(kind, 0); ok {
				out = append(out, sheaf{ledger.ChangeRef{Stage: t.Stage, Task: t.Number, Epoch: t.Result.Epoch, Kind: kind}, o.Messages})
			}
		}
	}
	return out, ledger.Revoked(tasks), nil
}

// page walks batches from a position. read takes the rows of one batch from start on, and returns the row at which the
// page is full, or -1 to go on with the next batch. page returns the position after the page, empty at the end.
func page(sheaves []sheaf, from position, read func(ref ledger.ChangeRef, start int) (int, error)) (string, error) {
	for i := from.sheaf; i < len(sheaves); i++ {
		for n := from.batch; n < sheaves[i].messages; n++ {
			ref := sheaves[i].ref
			ref.From, ref.To = n, n+1
			full, err := read(ref, from.row)
			if err != nil {
				return "", err
			}
			if full >= 0 {
				return position{i, n, full}.String(), nil
			}
			from.row = 0
		}
		from.batch, from.row = 0, 0
	}
	return "", nil
}

// ListChanges returns a page of planned changes.
func (s *Runs) ListChanges(ctx context.Context, req *syncv1.ListChangesRequest) (*syncv1.ListChangesResponse, error) {
	run, err := s.run(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	from, err := parsePosition(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	kinds := rows.ChangeKinds
	switch req.GetAction() {
	case syncv1.Action_ACTION_CREATE:
		kinds = []string{rows.KindCreates}
	case syncv1.Action_ACTION_UPDATE:
		kinds = []string{rows.KindUpdates, rows.KindContactUpdates, rows.KindLeavers}
	case syncv1.Action_ACTION_DELETE:
		kinds = []string{rows.KindDeletes}
	}
	sheaves, revoked, err := s.sheaves(ctx, run.ID, kinds...)
	if err != nil {
		return nil, err
	}
	size, bytes := pageSize(req.GetPageSize(), 100, 5000), 0
	res := &syncv1.ListChangesResponse{}
	res.NextPageToken, err = page(sheaves, from, func(ref ledger.ChangeRef, start int) (int, error) {
		full := -1
		err := rows.ReadRange(ctx, s.Bus, run.ID, ref, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
			for i := start; i < len(m.GetChanges()); i++ {
				if revoked.Covers(ref.Stage, m.GetChanges()[i].GetPersonId()) {
					continue
				}
				if len(res.Changes) == size || bytes >= pageBytes {
					full = i
					break
				}
				c := changeProto(m.GetAction(), m.GetColumns(), m.GetChanges()[i])
				res.Changes = append(res.Changes, c)
				bytes += proto.Size(c)
			}
			return nil
		})
		return full, err
	})
	return res, kept(err, run.ID)
}

// ListOutcomes returns a page of outcomes.
func (s *Runs) ListOutcomes(ctx context.Context, req *syncv1.ListOutcomesRequest) (*syncv1.ListOutcomesResponse, error) {
	run, err := s.run(ctx, req.GetRunId())
	if err != nil {
		return nil, err
	}
	from, err := parsePosition(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	sheaves, revoked, err := s.sheaves(ctx, run.ID, rows.KindOutcomes)
	if err != nil {
		return nil, err
	}
	size, bytes := pageSize(req.GetPageSize(), 100, 5000), 0
	res := &syncv1.ListOutcomesResponse{}
	res.NextPageToken, err = page(sheaves, from, func(ref ledger.ChangeRef, start int) (int, error) {
		full := -1
		err := rows.ReadRange(ctx, s.Bus, run.ID, ref, 0, &eventv1.Outcomes{}, func(m *eventv1.Outcomes) error {
			for i := start; i < len(m.GetOutcomes()); i++ {
				o := m.GetOutcomes()[i]
				if revoked.Covers(ref.Stage, o.GetPersonId()) {
					continue
				}
				if len(req.GetKinds()) > 0 && !slices.Contains(req.GetKinds(), o.GetKind()) {
					continue
				}
				if len(res.Outcomes) == size || bytes >= pageBytes {
					full = i
					break
				}
				res.Outcomes = append(res.Outcomes, o)
				bytes += proto.Size(o)
			}
			return nil
		})
		return full, err
	})
	return res, kept(err, run.ID)
}

// kept tells of batches that the retention took away in the caller's words.
func kept(err error, run string) error {
	if errs.ReasonOf(err) != "no_message" {
		return err
	}
	return errs.Wrap(err, errs.NotFound, "not_kept", "What became of single people in run %s is no longer kept; its counters are.", run)
}
