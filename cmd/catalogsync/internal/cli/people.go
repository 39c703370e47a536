package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
)

func (p *program) peopleCommand() *cobra.Command {
	return holder("people", "Import and look at the people of the Catalog", p.peopleImportCommand(), p.peopleListCommand(), p.peopleShowCommand())
}

func (p *program) peopleListCommand() *cobra.Command {
	req := &directoryv1.ListPeopleRequest{}
	limit := 100
	c := &cobra.Command{
		Use:   "list",
		Short: "List people in the order of their ids",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			return list(p, limit, 1000, "There are no such people.", func(size int, token string) ([]*directoryv1.Person, string, error) {
				req.PageSize, req.PageToken = int32(size), token
				res, err := c.People.ListPeople(ctx, req)
				return res.GetPeople(), res.GetNextPageToken(), err
			}, view.People)
		}),
	}
	c.Flags().StringVar(&req.Subaccount, "subaccount", "", "only people of this `subaccount`")
	c.Flags().StringVar(&req.Prefix, "prefix", "", "only people whose id or e-mail begins with this `text`")
	c.Flags().BoolVar(&req.IncludeGone, "gone", false, "also people who are gone from the Catalog")
	c.Flags().IntVar(&limit, "limit", limit, "at most this `number` of people; 0 for all")
	return c
}

func (p *program) peopleShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one person, and why they are or are not in Salesforce",
		Args:  args(1, 1),
		RunE: p.do(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.People.GetPerson(ctx, &directoryv1.GetPersonRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return p.show(res, func(s view.Style) string { return view.Person(s, res.GetPerson(), res.GetOutcomes()) })
		}),
	}
}

// choice returns the value that goes with a word.
func choice[V any](flag, word string, words []string, values []V) (v V, err error) {
	i := slices.Index(words, word)
	if i < 0 {
		return v, exit.Misuse("--%s is %q; give one of %v", flag, word, words)
	}
	return values[i], nil
}
