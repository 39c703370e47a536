package cli

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/mapfile"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

func (p *program) mapCommand() *cobra.Command {
	return holder("map", "Show and set the field map: which Catalog field goes into which Salesforce field", p.mapShowCommand(), p.mapSetCommand())
}

func (p *program) mapShowCommand() *cobra.Command {
	req := &mapperv1.GetFieldMapRequest{}
	asYAML := false
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the field map",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if asYAML && p.asJSON {
				return exit.Misuse("--yaml and --json exclude each other; give one of them")
			}
			res, err := c.FieldMaps.GetFieldMap(ctx, req)
			if err != nil {
				return err
			}
			if asYAML {
				return p.print(string(mapfile.Format(res.GetFieldMap())))
			}
			return p.show(res.GetFieldMap(), func(s view.Style) string { return view.FieldMap(s, res.GetFieldMap(), nil) })
		}),
	}
	c.Flags().Int32Var(&req.Version, "version", 0, "`version` to show; the latest where 0")
	c.Flags().BoolVar(&asYAML, "yaml", false, "write it as the file that `map set` reads")
	return c
}

const mapSetHelp = `Save a new version of the field map, from a file or from flags. Every pair is checked against the org first; the pairs of
FirstName, LastName and Email are added where they are missing.

A file is YAML and has its place in version control ("-" reads standard input):

  object: Contact
  external_id: CatalogUserId__c    # leave out to match by e-mail
  fields:                          # Salesforce field: Catalog field
    FirstName: first_name
    LastName: last_name
    Email: email
    Title:
      from: title
      default: Member              # for people who have none
    Cohort__c: attributes.cohort

The same with flags:

  catalogsync map set --object Contact --external-id CatalogUserId__c \
    --pair first_name=FirstName --pair last_name=LastName --pair email=Email \
    --pair title=Title --default Title=Member --pair attributes.cohort=Cohort__c`

func (p *program) mapSetCommand() *cobra.Command {
	object, externalID := "", ""
	var pairs, defaults []string
	req := &mapperv1.SaveFieldMapRequest{}
	c := &cobra.Command{Use: "set [FILE.yaml]", Short: "Save a new version of the field map", Long: mapSetHelp, Args: args(0, 1)}
	c.Flags().StringVar(&object, "object", "", "target `object`: Contact or Lead")
	c.Flags().StringVar(&externalID, "external-id", "", "Salesforce `field` that identifies a person, an external id that is unique; people are matched by e-mail where not given")
	c.Flags().StringArrayVar(&pairs, "pair", nil, "Catalog field and the Salesforce field that it goes into, as `source=Field`; repeatable")
	c.Flags().StringArrayVar(&defaults, "default", nil, "value of a Salesforce field for people who have none, as `Field=value`; repeatable")
	c.Flags().BoolVar(&req.ValidateOnly, "check", false, "only check the field map; save nothing")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		fm := &mapperv1.FieldMap{Object: object, ExternalIdField: externalID}
		var err error
		switch {
		case len(args) == 1 && (object != "" || externalID != "" || len(pairs)+len(defaults) > 0):
			return exit.Misuse("a file and flags exclude each other; give the file alone, or --object with --pair")
		case len(args) == 1:
			fm, err = p.readMap(args[0])
		case object == "" || len(pairs) == 0:
			return exit.Misuse("there is no field map; give a FILE.yaml, or --object with at least one --pair; see `catalogsync map set --help`")
		default:
			fm.Pairs, err = parsePairs(pairs, defaults)
		}
		if err != nil {
			return err
		}
		req.FieldMap = fm
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.FieldMaps.SaveFieldMap(ctx, req)
			if err != nil {
				return err
			}
			if err := p.show(res, func(s view.Style) string { return view.FieldMap(s, res.GetFieldMap(), res.GetAdded()) }); err != nil {
				return err
			}
			if req.GetValidateOnly() {
				p.note("The org takes this field map. Nothing was saved.")
			}
			return nil
		})(cmd, args)
	}
	return c
}

func (p *program) readMap(name string) (*mapperv1.FieldMap, error) {
	var b []byte
	var err error
	if name == "-" {
		name = "standard input"
		b, err = io.ReadAll(p.env.Stdin)
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, exit.Misuse("the file with the field map: %v", err)
	}
	fm, err := mapfile.Parse(b)
	if err != nil {
		return nil, exit.Misuse("%s: %v", name, err)
	}
	return fm, nil
}

// parsePairs reads "source=Field" and "Field=value".
func parsePairs(pairs, defaults []string) ([]*mapperv1.Pair, error) {
	var out []*mapperv1.Pair
	byTarget := map[string]*mapperv1.Pair{}
	for _, text := range pairs {
		source, target, ok := strings.Cut(text, "=")
		if !ok || source == "" || target == "" {
			return nil, exit.Misuse("--pair is %q; give source=Field, such as first_name=FirstName", text)
		}
		if byTarget[strings.ToLower(target)] != nil {
			return nil, exit.Misuse("--pair names %s twice; a Salesforce field takes one Catalog field", target)
		}
		pair := &mapperv1.Pair{Source: source, Target: target}
		out, byTarget[strings.ToLower(target)] = append(out, pair), pair
	}
	for _, text := range defaults {
		target, value, ok := strings.Cut(text, "=")
		pair := byTarget[strings.ToLower(target)]
		if !ok || pair == nil {
			return nil, exit.Misuse("--default is %q; give Field=value for a Salesforce field that a --pair names", text)
		}
		pair.DefaultValue = value
	}
	return out, nil
}
