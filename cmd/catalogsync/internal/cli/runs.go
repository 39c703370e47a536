package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

func (p *program) runsCommand() *cobra.Command {
	return holder("runs", "List, show, watch and cancel runs, and see how people ended in them",
		p.runsListCommand(), p.runsShowCommand(), p.runsWatchCommand(), p.runsCancelCommand(), p.runsOutcomesCommand())
}

func (p *program) runsListCommand() *cobra.Command {
	limit := 20
	c := &cobra.Command{
		Use:   "list",
		Short: "List runs, newest first",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			var runs []*syncv1.Run
			err := pages(limit, 500, func(size int, token string) (int, string, error) {
				res, err := c.Runs.ListRuns(ctx, &syncv1.ListRunsRequest{PageSize: int32(size), PageToken: token})
				runs = append(runs, res.GetRuns()...)
				return len(res.GetRuns()), res.GetNextPageToken(), err
			}, func(int) {})
			if err != nil {
				return err
			}
			return showAll(p, runs, "There are no runs yet; start one with `catalogsync run`.", view.Runs)
		}),
	}
	c.Flags().IntVar(&limit, "limit", limit, "at most this `number` of runs; 0 for all")
	return c
}

// runNamed returns the run that the arguments name, or else the latest one.
func runNamed(ctx context.Context, c *client.Client, args []string) (*syncv1.Run, error) {
	if len(args) > 0 {
		res, err := c.Runs.GetRun(ctx, &syncv1.GetRunRequest{RunId: args[0]})
		return res.GetRun(), err
	}
	res, err := c.Runs.ListRuns(ctx, &syncv1.ListRunsRequest{PageSize: 1})
	if err != nil {
		return nil, err
	}
	if len(res.GetRuns()) == 0 {
		return nil, errors.New("there are no runs yet; start one with `catalogsync run`")
	}
	return res.GetRuns()[0], nil
}

func (p *program) runsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show [RUN]",
		Short: "Show a run; the latest where none is named",
		Args:  args(0, 1),
		RunE: p.do(func(ctx context.Context, c *client.Client, args []string) error {
			run, err := runNamed(ctx, c, args)
			if err != nil {
				return err
			}
			return p.show(run, func(s view.Style) string { return view.Run(s, run) })
		}),
	}
}

func (p *program) runsWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch [RUN]",
		Short: "Watch a run to its end; the latest where none is named",
		Long: "Watch a run to its end, or until it is held; the latest where none is named. The exit code is that of `catalogsync run`.\n\n" +
			"With --json the run is written whenever it has changed, one object a line.",
		Args: args(0, 1),
		RunE: p.do(func(ctx context.Context, c *client.Client, args []string) error {
			run, err := runNamed(ctx, c, args)
			if err != nil {
				return err
			}
			if !p.asJSON {
				if run, err = p.follow(ctx, c, run.GetId()); err != nil {
					return err
				}
				return p.ended(run)
			}
			var failed error
			run, err = p.watch(ctx, c, run.GetId(), func(r *syncv1.Run) {
				if failed == nil {
					failed = p.print(string(view.JSON(r)))
				}
			})
			if err := errors.Join(failed, err); err != nil {
				return err
			}
			return client.Verdict(run)
		}),
	}
}

func (p *program) runsCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel RUN",
		Short: "Cancel a run: nothing more is sent, and people not sent end deferred",
		Args:  args(1, 1),
		RunE: p.do(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Runs.CancelRun(ctx, &syncv1.CancelRunRequest{RunId: args[0]})
			if err != nil {
				return err
			}
			run := res.GetRun()
			return p.show(run, func(view.Style) string {
				if view.Ended(run) && run.GetState() != syncv1.RunState_RUN_STATE_CANCELLED {
					return "Run " + view.Clean(run.GetId()) + " had ended already: it " + view.Words(run.GetState()) + ".\n"
				}
				return "Run " + view.Clean(run.GetId()) + " is " + view.Words(run.GetState()) + ".\n"
			})
		}),
	}
}

// kindWords are the words of --kind with the outcomes that they stand for.
func kindWords() ([]string, map[string][]syncv1.OutcomeKind) {
	kinds := map[string][]syncv1.OutcomeKind{"problems": {
		syncv1.OutcomeKind_OUTCOME_KIND_REJECTED, syncv1.OutcomeKind_OUTCOME_KIND_FAILED, syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED,
	}}
	var words []string
	for n := range int32(len(syncv1.OutcomeKind_name)) {
		if k := syncv1.OutcomeKind(n); view.Word(k) != "" {
			words = append(words, view.Word(k))
			kinds[view.Word(k)] = []syncv1.OutcomeKind{k}
		}
	}
	return append(words, "problems"), kinds
}

func (p *program) runsOutcomesCommand() *cobra.Command {
	limit := 100
	var kinds []string
	words, byWord := kindWords()
	c := &cobra.Command{Use: "outcomes [RUN]", Short: "List how people ended in a run; the latest run where none is named", Args: args(0, 1)}
	c.Flags().IntVar(&limit, "limit", limit, "at most this `number` of people; 0 for all")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these `outcomes`: "+strings.Join(words, ", ")+" (rejected, failed and deferred)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		req := &syncv1.ListOutcomesRequest{}
		for _, word := range kinds {
			if byWord[word] == nil {
				return exit.Misuse("--kind is %q; give one of %s", word, strings.Join(words, ", "))
			}
			req.Kinds = append(req.Kinds, byWord[word]...)
		}
		slices.Sort(req.Kinds)
		req.Kinds = slices.Compact(req.GetKinds())
		return p.do(func(ctx context.Context, c *client.Client, args []string) error {
			run, err := runNamed(ctx, c, args)
			if err != nil {
				return err
			}
			req.RunId = run.GetId()
			none := "There are no such people in run " + view.Clean(run.GetId()) + "."
			if !view.Ended(run) {
				none = "Run " + view.Clean(run.GetId()) + " has not ended; there are no such outcomes yet."
			}
			return list(p, limit, 1000, none, func(size int, token string) ([]*syncv1.Outcome, string, error) {
				req.PageSize, req.PageToken = int32(size), token
				res, err := c.Runs.ListOutcomes(ctx, req)
				return res.GetOutcomes(), res.GetNextPageToken(), err
			}, view.Outcomes)
		})(cmd, args)
	}
	return c
}
