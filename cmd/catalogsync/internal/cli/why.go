package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

const whyHelp = `Say why a person is, or is not, in Salesforce: who the person is, what each run did, which rule or version of the field
map decided, what Salesforce answered, and what the next run would do. That is computed live for the one person, by the
same steps as a run, and nothing is written.

The person is named by the id in the Catalog, by e-mail, or by the id of the record in Salesforce.`

func (p *program) whyCommand() *cobra.Command {
	req := &syncv1.WhyRequest{}
	c := &cobra.Command{
		Use: "why PERSON", Short: "Say why a person is, or is not, in Salesforce", Long: whyHelp, Args: args(1, 1),
		Example: "  catalogsync why ada@example.com",
		RunE: p.do(func(ctx context.Context, c *client.Client, args []string) error {
			req.Person = args[0]
			res, err := c.Why.Why(ctx, req)
			if err != nil {
				return err
			}
			return showAll(p, res.GetPeople(), "", view.Why)
		}),
	}
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	c.Flags().BoolVar(&req.Offline, "offline", false, "do not ask Salesforce: tell what runs did, not what the next one would do")
	return c
}
