package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
)

func (p *program) connectionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "connections",
		Short: "List the linked orgs, and those for which consent is awaited",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Connections.ListConnections(ctx, &authv1.ListConnectionsRequest{})
			if err != nil {
				return err
			}
			return showAll(p, res.GetConnections(), "No org is linked.", view.Connections)
		}),
	}
	c.AddCommand(p.connectionsChangeCommand())
	return c
}

func (p *program) connectionsChangeCommand() *cobra.Command {
	req := &authv1.UpdateConnectionRequest{}
	var companies []string
	c := &cobra.Command{Use: "change ID", Short: "Change the name and the companies of a connection", Args: args(1, 1)}
	c.Flags().StringVar(&req.Name, "name", "", "new `name`; as it is where not given")
	c.Flags().StringArrayVar(&companies, "company", nil, "`name` of a company to which its data belongs, in place of those it has; repeatable")
	c.RunE = p.do(func(ctx context.Context, cl *client.Client, args []string) error {
		req.ConnectionId, req.CompanyNames = args[0], companies
		if !c.Flags().Changed("company") {
			now, err := cl.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: args[0]})
			if err != nil {
				return err
			}
			req.CompanyNames = now.GetConnection().GetCompanyNames()
		}
		res, err := cl.Connections.UpdateConnection(ctx, req)
		if err != nil {
			return err
		}
		return p.show(res.GetConnection(), func(s view.Style) string { return view.Connection(s, res.GetConnection()) })
	})
	return c
}

const unlinkHelp = `End the link to an org. At once: every credential is erased, its tokens are revoked at Salesforce, scheduled runs stop, runs
that are under way end cancelled, and no run can be started. What runs wrote stays in Salesforce as it is.

With the tenant's last connection its data key is destroyed: people, planned changes and outcomes of all runs so far can never
be read again, and no run can be undone. Whoever links the org again gets a new connection, whose field map and schedule are
to be set anew; field maps of this one can be read afterwards too: catalogsync map export --connection ID --all

This does not remove the app from Salesforce. An admin of the org does, if nothing else uses it:
  1. Setup > Connected Apps OAuth Usage > the app > Block, or Uninstall
  2. Setup > External Client App Manager > the app > Delete
  3. Setup > Users: deactivate the user that it ran as, and Setup > Permission Sets: remove the permission set`

func (p *program) unlinkCommand() *cobra.Command {
	req := &authv1.UnlinkConnectionRequest{}
	yes := false
	c := &cobra.Command{Use: "unlink", Short: "End the link to an org and erase its credentials", Long: unlinkHelp, Args: args(0, 0)}
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; "+theTarget+" where not given")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		now, err := c.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: req.GetConnectionId()})
		if err != nil {
			return err
		}
		conn := now.GetConnection()
		if !yes {
			all, err := c.Connections.ListConnections(ctx, &authv1.ListConnectionsRequest{})
			if err != nil {
				return err
			}
			p.note("Connection %q to org %s at %s: its credentials are erased and its tokens revoked. Scheduled runs stop, runs that are under\n"+
				"way end cancelled. What runs wrote stays in Salesforce.", view.Clean(conn.GetName()), view.Clean(conn.GetOrgId()), view.Clean(conn.GetHost()))
			if isLast(all.GetConnections(), conn.GetId()) {
				p.note("It is the last one: people, planned changes and outcomes of all runs so far can never be read again, and no run can be undone.")
			}
			if err := p.confirm("Unlink it?"); err != nil {
				return err
			}
		}
		req.ConnectionId = conn.GetId() // the one that was shown
		res, err := c.Connections.UnlinkConnection(ctx, req)
		if err != nil {
			return err
		}
		if res.GetRevokeProblem() != "" {
			p.note("The credentials are erased here, but Salesforce did not confirm that the tokens are revoked: %s", view.Clean(res.GetRevokeProblem()))
		}
		if res.GetDataKeyDestroyed() && !p.asJSON {
			p.note("It was the last connection: the data key is destroyed, and what runs have left cannot be read any more.")
		}
		if !p.asJSON {
			p.note("To remove the app from Salesforce as well, see `catalogsync unlink --help`.")
		}
		return p.show(res, func(s view.Style) string { return view.Connection(s, res.GetConnection()) })
	})
	return c
}

// isLast reports whether the tenant has no other connection.
func isLast(all []*authv1.Connection, id string) bool {
	for _, c := range all {
		switch c.GetState() {
		case authv1.ConnectionState_CONNECTION_STATE_UNLINKED, authv1.ConnectionState_CONNECTION_STATE_LINKING:
		default:
			if c.GetId() != id {
				return false
			}
		}
	}
	return true
}

func (p *program) signingKeyCommand() *cobra.Command {
	return holder("signing-key", "Make and list key pairs for links with a signed key", p.signingKeyCreateCommand(), p.signingKeyListCommand())
}

const signingKeyCreateHelp = `Make a key pair with which link --jwt signs. The private key stays in the service and is never shown; the certificate is
written to a file. In Salesforce: Setup > External Client App Manager > the app > Settings > OAuth Settings > Use digital
signatures, and upload the certificate there. A key that no link uses within 30 days is deleted.`

func (p *program) signingKeyCreateCommand() *cobra.Command {
	req := &authv1.CreateSigningKeyRequest{}
	out := ""
	c := &cobra.Command{Use: "create", Short: "Make a key pair and write its certificate to a file", Long: signingKeyCreateHelp, Args: args(0, 0)}
	c.Flags().StringVar(&req.CommonName, "name", "", "common `name` of the certificate; catalogsync and the tenant where not given")
	c.Flags().StringVar(&out, "out", "", "`file` for the certificate; the id of the key and .crt where not given")
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		res, err := c.Connections.CreateSigningKey(ctx, req)
		if err != nil {
			return err
		}
		key, file := res.GetKey(), out
		if file == "" {
			file = view.Clean(key.GetId()) + ".crt"
		}
		if err := writeNew(file, []byte(key.GetCertificatePem())); err != nil {
			return exit.With(exit.Failed, "key %s is made, but its certificate cannot be written: %v; `catalogsync signing-key list --json` shows it too", view.Clean(key.GetId()), err)
		}
		return p.show(key, func(view.Style) string {
			return fmt.Sprintf("Signing key %s. Its certificate is in %s: upload it to the app in Salesforce, then link with\n"+
				"  catalogsync link --jwt --host HOST --client-id ID --username USER --signing-key %s\n", view.Clean(key.GetId()), view.Clean(file), view.Clean(key.GetId()))
		})
	})
	return c
}

func (p *program) signingKeyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the key pairs, without their private keys",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Connections.ListSigningKeys(ctx, &authv1.ListSigningKeysRequest{})
			if err != nil {
				return err
			}
			return showAll(p, res.GetKeys(), "There are no signing keys.", view.SigningKeys)
		}),
	}
}
