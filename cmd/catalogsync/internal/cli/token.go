package cli

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
)

func (p *program) tokenCommand() *cobra.Command {
	return holder("token", "Make, list and revoke API tokens", p.tokenCreateCommand(), p.tokenListCommand(), p.tokenRevokeCommand())
}

const tokenCreateHelp = `Make an API token. Its secret is shown this once: on standard output and nothing else, so that it can go into a file.

The first token of a tenant is made by who runs the installation, with the operator token that serve keeps in its data
directory. --data names that directory:

  catalogsync token create laptop --tenant acme --data DIR > token

After that an owner of the tenant can make more, with a token of their own: the role owner is for that, and for what cannot
be undone. Admins change everything else, and viewers look.`

func (p *program) tokenCreateCommand() *cobra.Command {
	req := &gatewayv1.CreateApiTokenRequest{}
	role, data, expires := "admin", "", time.Duration(0)
	c := &cobra.Command{Use: "create NAME", Short: "Make an API token", Long: tokenCreateHelp, Args: args(1, 1)}
	c.Flags().StringVar(&role, "role", role, "`admin`, who may change everything of the tenant; viewer, who may look; or owner, who may make tokens and destroy keys, too")
	c.Flags().StringVar(&req.Tenant, "tenant", "", "`tenant`; that of the own token where not given")
	c.Flags().DurationVar(&expires, "expires", 0, "`time` after which the token ends, such as 720h; never where 0")
	c.Flags().StringVar(&data, "data", "", "data `directory` of the services on this machine, whose operator token to use")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		req.Name = args[0]
		req.Role, err = choice("role", role, []string{"admin", "viewer", "owner"}, []optionsv1.Role{optionsv1.Role_ROLE_ADMIN, optionsv1.Role_ROLE_VIEWER, optionsv1.Role_ROLE_OWNER})
		if err != nil {
			return err
		}
		if expires < 0 {
			return exit.Misuse("--expires is %s; give a time ahead", expires)
		}
		if expires > 0 {
			req.ExpiresAt = timestamppb.New(time.Now().Add(expires))
		}
		token, err := p.tokenOrOperator(data, req.GetTenant())
		if err != nil {
			return err
		}
		return p.withClient(cmd.Context(), token, func(ctx context.Context, c *client.Client) error {
			res, err := c.Tokens.CreateApiToken(ctx, req)
			if err != nil {
				return err
			}
			if !p.asJSON {
				t := res.GetToken()
				p.note("Token %s, %s of tenant %s. This is its secret; it cannot be shown again.", view.Clean(t.GetId()), view.Word(t.GetRole()), view.Clean(t.GetTenant()))
			}
			return p.show(res, func(view.Style) string { return res.GetSecret() + "\n" })
		})
	}
	return c
}

// tokenOrOperator is tokenOrOperators for a request that names a tenant.
func (p *program) tokenOrOperator(data, tenant string) (string, error) {
	if data == "" {
		return p.token()
	}
	if tenant == "" && p.tokenFile == "" {
		return "", exit.Misuse("--tenant is missing; the operator token belongs to no tenant, so say whose token to make")
	}
	return p.tokenOrOperators(data)
}

// tokenOrOperators returns the operator token of a data directory, or, where that is empty, the token that every command
// uses.
func (p *program) tokenOrOperators(data string) (string, error) {
	if data == "" {
		return p.token()
	}
	if p.tokenFile != "" {
		return "", exit.Misuse("--data and --token-file exclude each other; give one of them")
	}
	if !isLocal(p.server) {
		return "", errors.New("--data is for services on this machine, and --server names another; the operator token stays here")
	}
	token, err := readSecret(filepath.Join(data, "operator.token"))
	if err != nil {
		return "", exit.Misuse("the operator token: %v; is --data the data directory of a `catalogsync serve`?", err)
	}
	return token, nil
}

func (p *program) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tenant's API tokens, without their secrets",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Tokens.ListApiTokens(ctx, &gatewayv1.ListApiTokensRequest{})
			if err != nil {
				return err
			}
			return showAll(p, res.GetTokens(), "There are no API tokens.", view.Tokens)
		}),
	}
}

func (p *program) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End an API token at once",
		Args:  args(1, 1),
		RunE: p.do(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Tokens.RevokeApiToken(ctx, &gatewayv1.RevokeApiTokenRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return p.show(res, func(view.Style) string { return "Token " + view.Clean(args[0]) + " is revoked.\n" })
		}),
	}
}
