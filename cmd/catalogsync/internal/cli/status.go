package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/version"
)

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how things stand",
		Long:  "Show how things stand. The exit code is 4 when Salesforce refuses the credentials, 0 otherwise.",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Status.GetStatus(ctx, &gatewayv1.GetStatusRequest{})
			if err != nil {
				return err
			}
			if err := p.show(res, func(s view.Style) string { return view.Status(s, res) }); err != nil {
				return err
			}
			if res.GetState() == gatewayv1.IntegrationState_INTEGRATION_STATE_NEEDS_RECONNECT {
				return exit.With(exit.Reconnect, "Salesforce refuses the credentials; `catalogsync link` links the org again")
			}
			return nil
		}),
	}
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show which build this is",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if p.asJSON {
				return p.print(fmt.Sprintf("{\"version\":%q}\n", version.String()))
			}
			return p.print(version.String() + "\n")
		},
	}
}
