package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

const runHelp = `Start a write run, and watch it to its end. Interrupting the watching does not stop the run.

Where the run would change more than the field map's guards let pass, nothing is written and the run is held: look at its
plan and decide with catalogsync approve or catalogsync reject. A newer run takes the place of one that is held.

With --json the run is written once, as it was when it ended or was held, or, with --watch=false, when it was requested.`

func (p *program) runCommand() *cobra.Command {
	req := &syncv1.StartRunRequest{}
	watch := true
	c := &cobra.Command{Use: "run", Short: "Start a write run and watch it", Long: runHelp, Args: args(0, 0)}
	c.Flags().BoolVar(&watch, "watch", watch, "wait until the run has ended and show how far it is")
	c.Flags().StringVar(&req.RequestId, "request-id", "", "`name` of the request: the same one finds the same run and starts no other")
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		res, err := c.Runs.StartRun(ctx, req)
		if err != nil {
			return err
		}
		run := res.GetRun()
		if !watch {
			return p.show(run, func(view.Style) string {
				return "Run " + view.Clean(run.GetId()) + " is " + view.Words(run.GetState()) + "; watch it with `catalogsync runs watch " + view.Clean(run.GetId()) + "`.\n"
			})
		}
		if run, err = p.follow(ctx, c, run.GetId()); err != nil {
			return err
		}
		return p.ended(run)
	})
	return c
}

// follow watches a run to its end, showing on standard error what each stage came to.
func (p *program) follow(ctx context.Context, c *client.Client, id string) (*syncv1.Run, error) {
	progress := p.progress()
	defer progress.Clear()
	return p.watch(ctx, c, id, progress.Run)
}

// progress shows on standard error how far things are, unless a program reads.
func (p *program) progress() *view.Progress {
	if p.asJSON {
		return view.NewProgress(io.Discard, view.Style{}, false)
	}
	return view.NewProgress(p.env.Stderr, p.err, p.live)
}

// watch calls show with a run whenever it has changed, until it has ended.
func (p *program) watch(ctx context.Context, c *client.Client, id string, show func(*syncv1.Run)) (*syncv1.Run, error) {
	run, err := c.Follow(ctx, id, show)
	if err != nil && ctx.Err() != nil {
		return nil, exit.With(exit.Interrupted, "interrupted; run %s goes on: `catalogsync runs watch %s` shows it, `catalogsync runs cancel %s` stops it", id, id, id)
	}
	return run, err
}

// ended shows a run that has ended, or is held, and turns its state into an exit code.
func (p *program) ended(run *syncv1.Run) error {
	if err := p.show(run, func(s view.Style) string { return "\n" + view.Run(s, run) }); err != nil {
		return err
	}
	return client.Verdict(run)
}
