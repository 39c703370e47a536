package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
)

const linkHelp = `Link a Salesforce org by client credentials: an External Client App with the client credentials flow switched on and a
user that it runs as. Linking the same org again replaces the credentials.

The consumer secret is read from --client-secret-file, else from CATALOGSYNC_CLIENT_SECRET or the file that
CATALOGSYNC_CLIENT_SECRET_FILE names, else it is asked for. It is never a flag: those can be seen in the list of
processes and stay in the shell's history.`

func (p *program) linkCommand() *cobra.Command {
	req := &authv1.LinkConnectionRequest{}
	creds := &authv1.ClientCredentials{}
	secretFile := ""
	c := &cobra.Command{Use: "link", Short: "Link a Salesforce org", Long: linkHelp, Args: args(0, 0)}
	c.Flags().StringVar(&req.Host, "host", "", "the org's My Domain `host`, such as acme.my.salesforce.com")
	c.Flags().StringVar(&creds.ClientId, "client-id", "", "consumer key, the `id` of the app")
	c.Flags().StringVar(&secretFile, "client-secret-file", "", "`file` that holds the consumer secret")
	c.Flags().StringVar(&req.Name, "name", "", "`name` of the connection, for people")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if req.Host == "" || creds.ClientId == "" {
			return exit.Misuse("--host and --client-id are both needed; see `catalogsync link --help`")
		}
		secret, err := p.clientSecret(secretFile)
		if err != nil {
			return err
		}
		creds.ClientSecret = secret
		req.Credentials = &authv1.LinkConnectionRequest_ClientCredentials{ClientCredentials: creds}
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Connections.LinkConnection(ctx, req)
			if err != nil {
				return err
			}
			return p.show(res.GetConnection(), func(s view.Style) string { return view.Connection(s, res.GetConnection()) })
		})(cmd, args)
	}
	return c
}

// clientSecret finds the consumer secret.
func (p *program) clientSecret(file string) (string, error) {
	if file == "" {
		value := p.environ("CATALOGSYNC_CLIENT_SECRET", "")
		file = p.environ("CATALOGSYNC_CLIENT_SECRET_FILE", "")
		if value != "" && file != "" {
			return "", exit.Misuse("CATALOGSYNC_CLIENT_SECRET and CATALOGSYNC_CLIENT_SECRET_FILE are both set; set one of them")
		}
		if value != "" {
			return strings.TrimSpace(value), nil
		}
	}
	if file != "" {
		secret, err := readSecret(file)
		if err != nil {
			return "", exit.Misuse("the file with the consumer secret: %v", err)
		}
		return secret, nil
	}
	in, ok := p.env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", exit.Misuse("there is no consumer secret; give --client-secret-file FILE or set CATALOGSYNC_CLIENT_SECRET_FILE")
	}
	fmt.Fprint(p.env.Stderr, "Consumer secret: ")
	typed, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(p.env.Stderr)
	if err != nil {
		return "", fmt.Errorf("read the consumer secret: %w", err)
	}
	secret := strings.TrimSpace(string(typed))
	if secret == "" {
		return "", exit.Misuse("the consumer secret is empty")
	}
	return secret, nil
}

func (p *program) testCommand() *cobra.Command {
	req := &authv1.TestConnectionRequest{}
	c := &cobra.Command{
		Use:   "test",
		Short: "Test the connection: ask Salesforce for a new access token",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Connections.TestConnection(ctx, req)
			if err != nil {
				return err
			}
			conn := res.GetConnection()
			err = p.show(res, func(s view.Style) string {
				if !res.GetOk() {
					return view.Connection(s, conn)
				}
				return fmt.Sprintf("%s Salesforce gives access to org %s as %s.\n", s.Paint(view.Good, "The connection works:"),
					view.Clean(conn.GetOrgId()), view.Clean(conn.GetUsername()))
			})
			if err != nil || res.GetOk() {
				return err
			}
			code := exit.Failed
			if conn.GetState() == authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT {
				code = exit.Reconnect
			}
			return exit.With(code, "%s", refusal(res))
		}),
	}
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	return c
}

// refusal says why a test failed, in Salesforce's words and in ours.
func refusal(res *authv1.TestConnectionResponse) string {
	text := "Salesforce gives no access token"
	for _, said := range []string{res.GetError(), res.GetErrorDescription()} {
		if said != "" {
			text += ": " + said
		}
	}
	if res.GetAdvice() != "" {
		text = strings.TrimSuffix(text, ".") + ". " + res.GetAdvice()
	}
	return view.Clean(text)
}
