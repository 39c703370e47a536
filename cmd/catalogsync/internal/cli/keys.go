package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
)

func (p *program) keysCommand() *cobra.Command {
	return holder("keys", "Replace the keys that protect what is stored, or destroy a tenant's", p.keysRotateCommand(), p.keysDestroyCommand())
}

const keysRotateHelp = `Replace the key that protects stored credentials, keys and tokens: a new one is made, everything is sealed anew, and the old
one is deleted. Nothing stops meanwhile. When this command is cut off, the services go on by themselves.

It needs the operator token, which serve keeps in its data directory:

  catalogsync keys rotate --data DIR

The key file, which wraps this key, is another one; docs/operations.md says how to change that.`

func (p *program) keysRotateCommand() *cobra.Command {
	req := &authv1.RotateKeysRequest{}
	data := ""
	c := &cobra.Command{Use: "rotate", Short: "Replace the key that protects stored credentials", Long: keysRotateHelp, Args: args(0, 0)}
	c.Flags().StringVar(&data, "data", "", "data `directory` of the services on this machine, whose operator token to use")
	c.Flags().BoolVar(&req.ResumeOnly, "resume", false, "only go on with a rotation that was cut off")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		token, err := p.tokenOrOperators(data)
		if err != nil {
			return err
		}
		return p.withClient(cmd.Context(), token, func(ctx context.Context, c *client.Client) error {
			stream, err := c.Keys.RotateKeys(ctx, req)
			if err != nil {
				return err
			}
			progress := view.NewProgress(p.env.Stderr, p.err, p.live)
			defer progress.Clear()
			last := &authv1.RotateKeysResponse{}
			for {
				res, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				last = res
				if !p.asJSON {
					progress.Amount("records", res.GetDone(), res.GetTotal(), false)
				}
			}
			progress.Clear()
			return p.show(last, func(s view.Style) string { return view.Rotated(s, last) })
		})
	}
	return c
}

const keysDestroyHelp = `Destroy the data key of the token's tenant. People, planned changes and outcomes of all runs so far can never be read again:
not here, and not in any backup. The runs themselves stay, with their numbers, and cannot be undone any more. What is in
Salesforce and in the Catalog stays as it is. The next run has a new key.

It is refused while a run has not ended. Workers forget the key within ten minutes.`

func (p *program) keysDestroyCommand() *cobra.Command {
	req := &authv1.DestroyDataKeyRequest{}
	yes := false
	c := &cobra.Command{Use: "destroy-data", Short: "Make everything unreadable that runs of the tenant have left", Long: keysDestroyHelp, Args: args(0, 0)}
	c.Flags().StringVar(&req.ConfirmTenant, "tenant", "", "`name` of the tenant, which must be that of the token")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		if req.GetConfirmTenant() == "" {
			return exit.Misuse("--tenant is missing; name the tenant whose runs shall never be read again")
		}
		if !yes {
			p.note("Tenant %s: people, planned changes and outcomes of all its runs so far can never be read again, in no backup either, and\n"+
				"no run can be undone.", view.Clean(req.GetConfirmTenant()))
			if err := p.confirm("Destroy the key?"); err != nil {
				return err
			}
		}
		res, err := c.Keys.DestroyDataKey(ctx, req)
		if err != nil {
			return err
		}
		return p.show(res, func(view.Style) string {
			return fmt.Sprintf("The data key of tenant %s is destroyed.\n", view.Clean(req.GetConfirmTenant()))
		})
	})
	return c
}
