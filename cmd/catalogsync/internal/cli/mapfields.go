package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

func (p *program) mapObjectsCommand() *cobra.Command {
	req := &syncv1.ListObjectsRequest{}
	everything := false
	c := &cobra.Command{Use: "objects", Short: "List the org's objects that people can be written to", Args: args(0, 0)}
	c.Flags().BoolVar(&everything, "all", false, "also objects that the connected user may only read")
	connectionFlag(c, &req.ConnectionId)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		res, err := c.Objects.ListObjects(ctx, req)
		if err != nil {
			return err
		}
		list := res.GetObjects()
		if !everything {
			list = slices.DeleteFunc(list, func(o *syncv1.ObjectSummary) bool { return !o.GetCreateable() || !o.GetUpdateable() })
		}
		return showAll(p, list, "The connected user may create and update no object; `catalogsync doctor` says why.", view.Objects)
	})
	return c
}

func (p *program) mapFieldsCommand() *cobra.Command {
	connection, filter := "", ""
	everything, catalog := false, false
	c := &cobra.Command{
		Use:   "fields [OBJECT]",
		Short: "List the fields that a field map can name: an object's, or with --catalog the Catalog's",
		Long: "List the fields of an object (that of the field map where none is named, or Contact) that the connected user may write, with\n" +
			"type, length and values; with --all those that it may only read too, which rules can test. With --catalog the fields of\n" +
			"the Catalog are listed, with the custom attributes that people have.",
		Args: args(0, 1),
	}
	c.Flags().BoolVar(&everything, "all", false, "also fields that cannot be written")
	c.Flags().BoolVar(&catalog, "catalog", false, "the Catalog's fields instead")
	c.Flags().StringVar(&filter, "filter", "", "only fields with this `text` in their name or label")
	connectionFlag(c, &connection)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, args []string) error {
		if catalog {
			if len(args) > 0 || everything {
				return exit.Misuse("--catalog goes with neither an object nor --all")
			}
			res, err := c.People.ListPersonFields(ctx, &directoryv1.ListPersonFieldsRequest{})
			if err != nil {
				return err
			}
			res.Fields = slices.DeleteFunc(res.GetFields(), func(f string) bool { return !has(filter, f) })
			return p.show(res, func(view.Style) string { return joined(res.GetFields()) })
		}
		object, err := objectOf(ctx, c, connection, args)
		if err != nil {
			return err
		}
		res, err := c.Objects.DescribeObject(ctx, &syncv1.DescribeObjectRequest{ConnectionId: connection, Object: object})
		if err != nil {
			return err
		}
		list := slices.DeleteFunc(res.GetDescribe().GetFields(), func(f *salesforcev1.FieldDescribe) bool {
			return !has(filter, f.GetName(), f.GetLabel()) || !everything && (f.GetCalculated() || !f.GetCreateable() && !f.GetUpdateable())
		})
		return showAll(p, list, "There are no such fields.", view.Fields)
	})
	return c
}

// has reports whether one of the texts contains a part, whatever the case.
func has(part string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), strings.ToLower(part)) })
}

// joined writes texts one a line.
func joined(list []string) string {
	var b strings.Builder
	for _, one := range list {
		b.WriteString(view.Clean(one) + "\n")
	}
	return b.String()
}
