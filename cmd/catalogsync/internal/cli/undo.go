package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

const undoHelp = `Take back what a run did. First it shows what would be reverted, field by field, and writes nothing; then it asks.

A field is reverted only where it still holds what the run wrote: what somebody changed since stays, and is named. With
--delete-created, records that the run made are deleted where nobody has changed them since; without it they stay.

The next run, scheduled ones too, writes the same again unless the Catalog or the field map has changed by then. With a
deleted record goes what Salesforce deletes along with it, its tasks among that; records that lookups made for the run,
accounts above all, stay.`

func (p *program) undoCommand() *cobra.Command {
	req := &syncv1.StartRunRequest{Kind: syncv1.RunKind_RUN_KIND_UNDO}
	yes, planOnly, limit := false, false, 10
	c := &cobra.Command{Use: "undo RUN", Short: "Take back what a run did", Long: undoHelp, Args: args(1, 1)}
	c.Flags().BoolVar(&req.UndoDeleteCreated, "delete-created", false, "delete the records that the run made, where nobody changed them since")
	c.Flags().BoolVar(&planOnly, "plan-only", false, "show what would be reverted, and stop there")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().IntVar(&limit, "limit", limit, "show at most this `number` of changes; 0 for all")
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	c.RunE = p.do(func(ctx context.Context, c *client.Client, args []string) error {
		req.UndoRunId = args[0]
		run, err := p.planUndo(ctx, c, req, limit, planOnly)
		if err != nil || planOnly {
			return err
		}
		if n := run.GetPlan(); n.GetUpdates()+n.GetDeletes()+n.GetDeactivations() == 0 {
			p.note("There is nothing to take back.")
			return nil
		}
		if !yes {
			if err := p.confirm("Take it back?"); err != nil {
				return err
			}
		}
		res, err := c.Runs.StartRun(ctx, req)
		if err != nil {
			return err
		}
		if run, err = p.follow(ctx, c, res.GetRun().GetId()); err != nil {
			return err
		}
		return p.ended(run)
	})
	return c
}

// planUndo shows what an undo would do. As JSON that is shown only where nothing follows.
func (p *program) planUndo(ctx context.Context, c *client.Client, req *syncv1.StartRunRequest, limit int, planOnly bool) (*syncv1.Run, error) {
	res, err := c.Runs.StartRun(ctx, &syncv1.StartRunRequest{
		Kind: req.GetKind(), UndoRunId: req.GetUndoRunId(), UndoDeleteCreated: req.GetUndoDeleteCreated(), ConnectionId: req.GetConnectionId(), PlanOnly: true,
	})
	if err != nil {
		return nil, err
	}
	progress := p.progress()
	run, err := p.watch(ctx, c, res.GetRun().GetId(), progress.Stage)
	progress.Clear()
	switch {
	case err != nil:
		return nil, err
	case run.GetPlan() == nil:
		return nil, client.Verdict(run)
	case p.asJSON && planOnly:
		return run, p.planJSON(ctx, c, run, limit)
	case p.asJSON:
		return run, nil
	}
	planned, err := c.Planned(ctx, run, limit)
	if err != nil {
		return nil, err
	}
	planned.More = "--limit 0 shows all"
	return run, p.print(view.Plan(p.out, planned) + "Nothing was written so far.\n")
}
