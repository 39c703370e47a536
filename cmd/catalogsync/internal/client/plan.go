package client

import (
	"context"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// pageRows is how many rows are asked for at once.
const pageRows = 1000

// Planned returns a plan with at most limit of its changes (0: all), updates first, for they say most, and as many
// rejected people.
func (c *Client) Planned(ctx context.Context, run *syncv1.Run, limit int) (view.Planned, error) {
	p := view.Planned{Run: run}
	for _, action := range []syncv1.Action{syncv1.Action_ACTION_UPDATE, syncv1.Action_ACTION_DELETE, syncv1.Action_ACTION_CREATE} {
		req := &syncv1.ListChangesRequest{RunId: run.GetId(), Action: action}
		for {
			if req.PageSize = page(limit, len(p.Changes)); req.GetPageSize() == 0 {
				break
			}
			res, err := c.Runs.ListChanges(ctx, req)
			if err != nil {
				return p, err
			}
			p.Changes = append(p.Changes, res.GetChanges()...)
			if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
	}
	req := &syncv1.ListOutcomesRequest{RunId: run.GetId(), Kinds: []syncv1.OutcomeKind{syncv1.OutcomeKind_OUTCOME_KIND_REJECTED}}
	for run.GetPlan().GetRejected() > 0 {
		if req.PageSize = page(limit, len(p.Rejected)); req.GetPageSize() == 0 {
			break
		}
		res, err := c.Runs.ListOutcomes(ctx, req)
		if err != nil {
			return p, err
		}
		p.Rejected = append(p.Rejected, res.GetOutcomes()...)
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	return p, nil
}

// page is how many rows to ask for when some are there and at most limit are wanted (0: no limit).
func page(limit, have int) int32 {
	if limit == 0 {
		return pageRows
	}
	return int32(min(max(limit-have, 0), pageRows))
}
