package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

const approveHelp = `Let a run go on that a guard holds. First its plan is shown, and whoever is there is asked; then the run is watched to
its end. The approval is for the plan that was shown: should the run have another one by then, nothing is approved.

What somebody has changed in Salesforce while the run was held is not overwritten by what was decided before: those
changes are planned anew.

With --json the run is written once, as it was when it ended; --yes is needed then.`

func (p *program) approveCommand() *cobra.Command {
	req := &syncv1.ApproveRunRequest{}
	yes, watch, limit := false, true, 10
	c := &cobra.Command{Use: "approve RUN", Short: "Let a held run go on", Long: approveHelp, Args: args(1, 1)}
	c.Flags().StringVarP(&req.Note, "message", "m", "", "`note` that is kept with the run: why")
	c.Flags().StringVar(&req.PlanHash, "plan", "", "`hash` of the plan that you have seen; nothing is approved where the run has another one")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&watch, "watch", watch, "wait until the run has ended and show how far it is")
	c.Flags().IntVar(&limit, "limit", limit, "show at most this `number` of changes; 0 for all")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return exit.Misuse("--limit is %d; give 0 for all, or a number above", limit)
		}
		if p.asJSON && !yes {
			return exit.Misuse("--json has nobody to ask; give --yes as well")
		}
		return p.do(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Runs.GetRun(ctx, &syncv1.GetRunRequest{RunId: args[0]})
			if err != nil {
				return err
			}
			run := res.GetRun()
			req.RunId = run.GetId()
			if req.GetPlanHash() == "" {
				req.PlanHash = run.GetHold().GetPlanHash()
			}
			if run.GetState() == syncv1.RunState_RUN_STATE_HELD && !p.asJSON {
				if err := p.showHeld(ctx, c, run, limit); err != nil {
					return err
				}
				if !yes {
					if err := p.confirm("Approve this plan?"); err != nil {
						return err
					}
				}
			}
			if req.GetPlanHash() == "" {
				return exit.With(exit.Failed, "run %s is not held; it is %s", run.GetId(), view.Words(run.GetState()))
			}
			approved, err := c.Runs.ApproveRun(ctx, req)
			if err != nil {
				return err
			}
			if run = approved.GetRun(); !watch {
				return p.show(run, func(view.Style) string {
					return "Run " + view.Clean(run.GetId()) + " goes on; watch it with `catalogsync runs watch " + view.Clean(run.GetId()) + "`.\n"
				})
			}
			if run, err = p.follow(ctx, c, run.GetId()); err != nil {
				return err
			}
			return p.ended(run)
		})(cmd, args)
	}
	return c
}

// showHeld shows the plan of a held run and why it is held.
func (p *program) showHeld(ctx context.Context, c *client.Client, run *syncv1.Run, limit int) error {
	planned, err := c.Planned(ctx, run, limit)
	if err != nil {
		return err
	}
	planned.More = "--limit 0 shows all"
	return p.print(view.Plan(p.out, planned))
}

const rejectHelp = `End a run that a guard holds. Nothing is written, and its people end deferred: the next run plans them anew.`

func (p *program) rejectCommand() *cobra.Command {
	req := &syncv1.RejectRunRequest{}
	c := &cobra.Command{Use: "reject RUN", Short: "End a held run; nothing is written", Long: rejectHelp, Args: args(1, 1)}
	c.Flags().StringVarP(&req.Note, "message", "m", "", "`note` that is kept with the run: why")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if req.GetNote() == "" {
			return exit.Misuse("say why with -m: whoever looks at the run later wants to know")
		}
		return p.do(func(ctx context.Context, c *client.Client, args []string) error {
			req.RunId = args[0]
			res, err := c.Runs.RejectRun(ctx, req)
			if err != nil {
				return err
			}
			run := res.GetRun()
			return p.show(run, func(view.Style) string {
				return "Run " + view.Clean(run.GetId()) + " was rejected; nothing was written.\n"
			})
		})(cmd, args)
	}
	return c
}
