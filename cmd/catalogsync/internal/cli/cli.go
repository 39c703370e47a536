// Package cli owns the commands of catalogsync. Apart from serve and demo, which run the services, they are clients of
// the gateway: each asks over gRPC with an API token and shows the answer with package view.
//
// Standard output carries the answer and nothing else; progress, warnings and errors go to standard error.
package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	"github.com/catalogsync/catalogsync/internal/app"
)

// program is one call of catalogsync.
type program struct {
	env *app.Env

	server    string
	tokenFile string
	caFile    string
	plaintext bool
	asJSON    bool
	timeout   time.Duration

	out, err view.Style
	live     bool // standard error is a terminal, on which progress can be drawn
	outLive  bool // so is standard output
}

// Run carries out the command that the environment's arguments name. Its errors have an ExitCode, see the help of the
// root command.
func Run(ctx context.Context, env *app.Env) error {
	p := &program{env: env}
	p.out, p.outLive = styleOf(env.Stdout, env.Environ)
	p.err, p.live = styleOf(env.Stderr, env.Environ)
	root := p.root()
	root.SetArgs(env.Args)
	return p.explain(ctx, root.ExecuteContext(ctx))
}

const rootHelp = `catalogsync keeps Salesforce in step with a Catalog: it plans what would change, applies it and reads back what it wrote.

First steps, on one machine:

  catalogsync demo                        see it work, with a simulated org and made-up people
  catalogsync serve --data DIR            run the services
  catalogsync token create NAME --tenant TENANT --data DIR > token
  export CATALOGSYNC_TOKEN_FILE=token
  catalogsync people import FILE.csv
  catalogsync link --host acme.my.salesforce.com --client-id ID --client-secret-file FILE
  catalogsync map set map.yaml
  catalogsync plan
  catalogsync run`

const rootTail = `
Environment:
  CATALOGSYNC_SERVER       address of the gateway, where --server is not given
  CATALOGSYNC_TOKEN        API token
  CATALOGSYNC_TOKEN_FILE   file that holds the API token, where --token-file is not given
  NO_COLOR                 no colours

Exit codes:
  0    done
  1    it did not work; the message says why
  2    wrong use: a flag, an argument or a file that cannot be used
  3    done, but not for all: people were rejected, failed or deferred, or lines of a file were not taken
  4    Salesforce refuses the credentials: link the org again
  5    the run was cancelled
  6    the run failed
  7    a guard holds the run until somebody approves or rejects it
  130  interrupted; a run that was being watched goes on
`

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "catalogsync",
		Short:         "Keep Salesforce in step with a Catalog",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          helpOrUnknown,
	}
	root.SetIn(p.env.Stdin)
	root.SetOut(p.env.Stdout)
	root.SetErr(p.env.Stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(root.UsageTemplate() + `{{if not .HasParent}}` + rootTail + `{{end}}`)
	f := root.PersistentFlags()
	f.StringVar(&p.server, "server", p.environ("CATALOGSYNC_SERVER", "127.0.0.1:8080"), "`address` of the gateway's gRPC API")
	f.StringVar(&p.tokenFile, "token-file", "", "`file` that holds the API token")
	f.StringVar(&p.caFile, "tls-ca", "", "PEM `file` with the authority of the gateway's certificate; the system's authorities where not given")
	f.BoolVar(&p.plaintext, "plaintext", false, "do not encrypt, though the gateway is on another machine")
	f.BoolVar(&p.asJSON, "json", false, "write JSON for programs, one object a line")
	f.DurationVar(&p.timeout, "timeout", 30*time.Second, "`time` that one request may take; imports and watching may take longer")

	root.AddGroup(
		&cobra.Group{ID: "start", Title: "To begin with:"},
		&cobra.Group{ID: "setup", Title: "People and org:"},
		&cobra.Group{ID: "runs", Title: "Runs:"},
		&cobra.Group{ID: "admin", Title: "Administration:"},
	)
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("start", p.demoCommand(), p.serveCommand())
	group("setup", p.peopleCommand(), p.linkCommand(), p.unlinkCommand(), p.connectionsCommand(), p.signingKeyCommand(), p.testCommand(), p.doctorCommand(), p.mapCommand())
	group("runs", p.planCommand(), p.runCommand(), p.approveCommand(), p.rejectCommand(), p.runsCommand(), p.undoCommand(), p.whyCommand(), p.scheduleCommand(), p.statusCommand())
	group("admin", p.tokenCommand(), p.auditCommand(), p.keysCommand(), p.identitiesCommand(), p.versionCommand())
	root.SetHelpCommandGroupID("admin")
	root.SetCompletionCommandGroupID("admin")
	return root
}

// helpOrUnknown is what a command does that only holds others.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return exit.Misuse("there is no command %q; did you mean `%s %s`?", args[0], cmd.CommandPath(), near[0])
	}
	return exit.Misuse("there is no command %q; see `%s --help`", args[0], cmd.CommandPath())
}

// flagError explains a flag that cannot be parsed.
func flagError(cmd *cobra.Command, err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		wanted := map[string]string{
			"int": "a whole number", "int32": "a whole number", "int64": "a whole number", "float64": "a number, such as 0.01",
			"duration": "a time, such as 30s or 5m", "bool": "true or false",
		}[bad.GetFlag().Value.Type()]
		if wanted != "" {
			return exit.Misuse("--%s is %q; give %s", bad.GetFlag().Name, bad.GetValue(), wanted)
		}
	}
	return exit.Misuse("%v; see `%s --help`", err, cmd.CommandPath())
}

// holder makes a command that only holds others.
func holder(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: helpOrUnknown, SuggestionsMinimumDistance: 2}
	c.AddCommand(commands...)
	return c
}

// args makes sure of the number of arguments, which the usage line names.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return exit.Misuse("an argument is missing; use it as `%s`", cmd.UseLine())
		case len(args) > most:
			return exit.Misuse("%q is one argument too many; use it as `%s`", args[most], cmd.UseLine())
		}
		return nil
	}
}

// environ returns an environment variable, or other where it is empty or absent.
func (p *program) environ(name, other string) string {
	for _, line := range p.env.Environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok && value != "" {
			other = value
		}
	}
	return other
}

// print writes text to standard output.
func (p *program) print(text string) error {
	_, err := io.WriteString(p.env.Stdout, text)
	return err
}
