package cli

import (
	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/demo"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
)

const demoHelp = `See the main job from end to end, on this machine alone: the services run in this process, Salesforce is simulated, and
sample people of one tenant and two subaccounts are imported, planned, written, read back, changed and written again by
the scheduler. In the end what the runs report is compared with what the simulated org holds.

With --json standard output carries one JSON object for each run that wrote, one a line, and nothing else: run_id, kind,
trigger, object, people, created, updated, unchanged, skipped, rejected, failed, superseded, deferred, verified,
mismatched, api_calls, bulk_jobs, seconds, rows_per_second (people dealt with) and peak_rss_bytes (of this process with
everything in it, since it began). The run that only plans is not among them.

The exit code is 0 when everything adds up, 3 when it does but people were rejected, failed or deferred or lines of the
file were not taken, and 1 when something does not add up.`

func (p *program) demoCommand() *cobra.Command {
	o := demo.DefaultOptions()
	c := &cobra.Command{Use: "demo", Short: "See it work, with a simulated org and made-up people", Long: demoHelp, Args: args(0, 0)}
	f := c.Flags()
	f.IntVar(&o.People, "people", o.People, "`number` of sample people")
	f.StringVar(&o.PeopleFile, "people-file", "", "CSV or NDJSON `file` with people, in place of sample people")
	f.Float64Var(&o.Changed, "changed", o.Changed, "`share` of the people, 0 to 1, who have new values before the nightly run")
	f.StringVar(&o.Object, "object", o.Object, "what people become: `Contact` or Lead")
	f.StringVar(&o.ExternalID, "external-id", o.ExternalID, "`field` that identifies a person; empty to match by e-mail")
	f.Int64Var(&o.Seed, "seed", o.Seed, "`number` that chooses the people")
	f.StringVar(&o.Data, "data", "", "`directory` for everything that is kept; a temporary one, removed in the end, where not given")
	f.BoolVar(&o.Serve, "serve", false, "keep everything running in the end, and say how to reach it")
	f.BoolVar(&o.JSON, "json", false, "write one JSON object for each run, and nothing else")
	hideGlobals(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.PeopleFile != "" && cmd.Flags().Changed("people") {
			return exit.Misuse("--people and --people-file exclude each other; give one of them")
		}
		o.Stdout, o.Stderr, o.Style = p.env.Stdout, p.env.Stderr, p.out
		o.Live = p.outLive
		return demo.Run(cmd.Context(), o)
	}
	return c
}
