package cli

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/node"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const serveHelp = `Run the services in this process until it is interrupted: NATS is embedded, people are in SQLite, and everything that is
kept is in the data directory. One process at a time may use a data directory.

Every flag can also be set by a variable: CATALOGSYNC_SERVE_ and the flag's name in upper case, with _ for -. A flag wins
over its variable.

The data directory holds operator.token, with which the first API token of each tenant is made:

  catalogsync token create laptop --tenant acme --data DIR > token`

// servePrefix begins the names of the variables of serve.
const servePrefix = "CATALOGSYNC_SERVE"

// telemetryTimeout bounds how long the end of the process waits for its last telemetry.
const telemetryTimeout = 5 * time.Second

// serveSettings are the flags of serve, declared once: package config reads them, with their variables, and cobra shows
// them.
type serveSettings struct {
	node      node.Options
	log       app.LogOptions
	telemetry telemetry.Options
	flags     *flag.FlagSet
}

func (p *program) serveCommand() *cobra.Command {
	s := &serveSettings{
		node: node.DefaultOptions(), log: app.LogOptions{Format: "json"}, telemetry: telemetry.DefaultOptions("catalogsync"),
		flags: flag.NewFlagSet("serve", flag.ContinueOnError),
	}
	if p.live {
		s.log.Format = "text"
	}
	s.node.RegisterFlags(s.flags)
	s.log.RegisterFlags(s.flags)
	s.telemetry.RegisterFlags(s.flags)
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the services in one process",
		Long:  serveHelp,
		// Package config parses, for it knows which flags were given and so which variables count.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || strings.TrimLeft(a, "-") == "help" }) {
				return cmd.Help()
			}
			if err := config.Parse(s.flags, servePrefix, args, p.env.Environ); err != nil {
				return exit.Misuse("%v; see `catalogsync serve --help`", err)
			}
			if s.flags.NArg() > 0 {
				return exit.Misuse("%q is one argument too many; settings start with --, see `catalogsync serve --help`", s.flags.Arg(0))
			}
			if err := errors.Join(s.node.Validate(), s.telemetry.Validate()); err != nil {
				return exit.Misuse("%v", err)
			}
			return p.serve(cmd.Context(), s)
		},
	}
	c.Flags().AddGoFlagSet(s.flags)
	hideGlobals(c)
	return c
}

// hideGlobals leaves the flags of clients out of the help of a command that is none.
func hideGlobals(c *cobra.Command) {
	template := c.UsageTemplate()
	if i := strings.Index(template, "{{if .HasAvailableInheritedFlags}}"); i >= 0 {
		c.SetUsageTemplate(template[:i] + "\n")
	}
}

func (p *program) serve(ctx context.Context, s *serveSettings) (err error) {
	log, err := app.NewLogger(p.env.Stderr, s.log)
	if err != nil {
		return exit.Misuse("%v", err)
	}
	telemetry.ReportErrors(log)
	tel, shutdown, err := telemetry.Setup(ctx, s.telemetry)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetryTimeout)
		defer cancel()
		if err := shutdown(ctx); err != nil {
			log.WarnContext(ctx, "telemetry lost", telemetry.Err(err))
		}
	}()
	s.node.Log, s.node.Telemetry = log, tel
	n, err := node.Start(ctx, s.node)
	if err != nil {
		return err
	}
	if err := p.print(ready(n, s.node)); err != nil {
		return errors.Join(err, n.Close())
	}
	return n.Wait()
}

// ready says what runs and where.
func ready(n *node.Node, o node.Options) string {
	data := o.Data
	if abs, err := filepath.Abs(data); err == nil {
		data = abs
	}
	services := o.Targets
	if len(services) == 0 {
		services = node.Services
	}
	rows := [][2]string{{"services", strings.Join(services, ", ")}}
	if n.Addr() != "" {
		scheme := "http://"
		if o.Gateway.PublicCert != "" {
			scheme = "https://"
		}
		rows = append(rows, [2]string{"gRPC", n.Addr()}, [2]string{"JSON over HTTP", scheme + n.HTTPAddr()})
	}
	rows = append(rows, [2]string{"data", data})
	if n.OperatorToken() != "" {
		rows = append(rows, [2]string{"operator token", filepath.Join(data, "operator.token")})
	}
	return "catalogsync is ready.\n" + view.Columns(view.Style{}, 2, rows)
}
