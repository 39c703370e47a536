package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

const doctorHelp = `Examine the connection: sign-in, org, user and licences, scopes, rights on objects and on the fields of the field map,
the external id field, permissions for reports, the allocation of API calls and the latest sign-ins. Each finding says
why it matters and the click path in Salesforce Setup that mends it. Nothing is changed.

What the product needs in the org, a permission set and an external id field, comes two ways:

  catalogsync doctor package    write a metadata package, for an admin to deploy
  catalogsync doctor setup      make the same things through the API, as the connected user`

func (p *program) doctorCommand() *cobra.Command {
	req := &syncv1.DiagnoseRequest{}
	c := &cobra.Command{
		Use: "doctor", Short: "Examine the connection, and set up what the org lacks", Long: doctorHelp, Args: noSubcommand,
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Doctor.Diagnose(ctx, req)
			if err != nil {
				return err
			}
			if err := p.show(res, func(s view.Style) string { return view.Diagnosis(s, res) }); err != nil {
				return err
			}
			return failing(res.GetFindings(), res.GetUser() == nil)
		}),
		SuggestionsMinimumDistance: 2,
	}
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	c.AddCommand(p.doctorPackageCommand(), p.doctorSetupCommand())
	return c
}

// noSubcommand refuses arguments of a command that also holds others: they are misspelt commands.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return helpOrUnknown(cmd, args)
}

// failing says in the exit code that something does not work.
func failing(findings []*syncv1.Finding, signedOut bool) error {
	n := int64(0)
	for _, f := range findings {
		if f.GetSeverity() == syncv1.Severity_SEVERITY_ERROR {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	code := exit.Failed
	if signedOut {
		code = exit.Reconnect
	}
	return exit.With(code, "%s; see what mends each", view.Plural(n, "thing does not work", "things do not work"))
}

func (p *program) doctorPackageCommand() *cobra.Command {
	req := &syncv1.GetSetupPackageRequest{}
	file := ""
	c := &cobra.Command{
		Use: "package", Short: "Write a metadata package with the permission set and the external id field", Args: args(0, 0),
		Long: "Write a metadata package with the permission set and the external id field. An admin deploys it, for example with\n\n" +
			"  sf project deploy start --metadata-dir catalogsync-setup.zip --single-package\n\nand assigns the permission set to the integration user.",
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			// The org comes first: a package that was made for another one is worse than none.
			conn, err := c.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: req.GetConnectionId()})
			if err != nil {
				return err
			}
			res, err := c.Doctor.GetSetupPackage(ctx, req)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, os.ErrExist) {
				return exit.Misuse("%s is there already; name another file with --output", file)
			}
			if err != nil {
				return exit.Misuse("--output: %v", err)
			}
			_, err = f.Write(res.GetZip())
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			if p.asJSON {
				res.Zip = nil
				return p.print(string(view.JSON(res)))
			}
			return p.print(fmt.Sprintf("%s for %s holds %s\n", file, view.Clean(conn.GetConnection().GetInstanceUrl()), strings.Join(res.GetFiles(), ", ")))
		}),
	}
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	c.Flags().StringVar(&req.Object, "object", "", "`object` that people are written to; that of the field map, or Contact, where not given")
	c.Flags().StringVarP(&file, "output", "o", "catalogsync-setup.zip", "`file` to write")
	return c
}

func (p *program) doctorSetupCommand() *cobra.Command {
	req := &syncv1.ApplySetupRequest{}
	c := &cobra.Command{
		Use: "setup", Short: "Make the permission set and the external id field in the org", Args: args(0, 0),
		Long: "Make the permission set and the external id field in the org, as the connected user, who must be allowed to. What is there\nalready stays as it is, so that it may be done again.",
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Doctor.ApplySetup(ctx, req)
			if err != nil {
				return err
			}
			if err := p.show(res, func(s view.Style) string { return view.Findings(s, res.GetSteps()) }); err != nil {
				return err
			}
			return failing(res.GetSteps(), false)
		}),
	}
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	c.Flags().StringVar(&req.Object, "object", "", "`object` that people are written to; that of the field map, or Contact, where not given")
	return c
}
