package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

const planHelp = `Compute what a run would do now, field by field, what it would cost in API calls, and which guard would hold it.
Nothing is changed in the org.

With --json there is one line per change shown, {"change":{...}}, one per rejected person, {"rejected":{...}}, and last
the run with its plan, {"run":{...}}. All changes are written then, unless --limit is given.`

func (p *program) planCommand() *cobra.Command {
	limit, req := 10, &syncv1.StartRunRequest{PlanOnly: true}
	c := &cobra.Command{Use: "plan", Short: "Show what a run would do, without doing it", Long: planHelp, Args: args(0, 0)}
	c.Flags().IntVar(&limit, "limit", limit, "show at most this `number` of changes; 0 for all")
	c.Flags().Int32Var(&req.FieldMapVersion, "field-map", 0, "plan with this `version` of the field map instead of the latest")
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return exit.Misuse("--limit is %d; give 0 for all, or a number above", limit)
		}
		if p.asJSON && !cmd.Flags().Changed("limit") {
			limit = 0
		}
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			return p.plan(ctx, c, req, limit)
		})(cmd, args)
	}
	return c
}

func (p *program) plan(ctx context.Context, c *client.Client, req *syncv1.StartRunRequest, limit int) error {
	res, err := c.Runs.StartRun(ctx, req)
	if err != nil {
		return err
	}
	progress := p.progress()
	run, err := p.watch(ctx, c, res.GetRun().GetId(), progress.Stage) // the plan itself says what the stages came to
	progress.Clear()
	if err != nil {
		return err
	}
	if run.GetPlan() == nil {
		return client.Verdict(run)
	}
	if p.asJSON {
		return p.planJSON(ctx, c, run, limit)
	}
	planned, err := c.Planned(ctx, run, limit)
	if err != nil {
		return err
	}
	planned.More = "--limit 0 shows all"
	if err := p.print(view.Plan(p.out, planned) + "Nothing was changed in the org.\n"); err != nil {
		return err
	}
	return client.Verdict(run)
}

// planJSON writes changes as they come, holding one page of them.
func (p *program) planJSON(ctx context.Context, c *client.Client, run *syncv1.Run, limit int) error {
	left := limit
	line := func(key string, json []byte) error {
		return p.print(fmt.Sprintf("{%q:%s}\n", key, json[:len(json)-1]))
	}
	err := pages(limit, 1000, func(size int, token string) (int, string, error) {
		res, err := c.Runs.ListChanges(ctx, &syncv1.ListChangesRequest{RunId: run.GetId(), PageSize: int32(size), PageToken: token})
		for _, change := range res.GetChanges() {
			if err = line("change", view.JSON(change)); err != nil {
				return 0, "", err
			}
		}
		left -= len(res.GetChanges())
		return len(res.GetChanges()), res.GetNextPageToken(), err
	}, func(int) {})
	if err == nil && (limit == 0 || left > 0) {
		err = pages(max(left, 0), 1000, func(size int, token string) (int, string, error) {
			res, err := c.Runs.ListOutcomes(ctx, &syncv1.ListOutcomesRequest{
				RunId: run.GetId(), PageSize: int32(size), PageToken: token, Kinds: []syncv1.OutcomeKind{syncv1.OutcomeKind_OUTCOME_KIND_REJECTED},
			})
			for _, outcome := range res.GetOutcomes() {
				if err = line("rejected", view.JSON(outcome)); err != nil {
					return 0, "", err
				}
			}
			return len(res.GetOutcomes()), res.GetNextPageToken(), err
		}, func(int) {})
	}
	if err != nil {
		return err
	}
	if err := line("run", view.JSON(run)); err != nil {
		return err
	}
	return client.Verdict(run)
}
