package cli

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/mapfile"
)

func (p *program) mapCommand() *cobra.Command {
	return holder("map", "Show and set the field map: which Catalog field goes into which Salesforce field",
		p.mapShowCommand(), p.mapSetCommand(), p.mapEditCommand(), p.mapCheckCommand(), p.mapTryCommand(), p.mapSuggestCommand(),
		p.mapObjectsCommand(), p.mapFieldsCommand(), p.mapHistoryCommand(), p.mapDiffCommand(), p.mapRollbackCommand(), p.mapExportCommand(), p.mapImportCommand())
}

// connectionFlag lets a command speak of a connection other than the one that runs write to.
func connectionFlag(c *cobra.Command, id *string) {
	c.Flags().StringVar(id, "connection", "", "`id` of the connection; the one that runs write to where not given")
}

// noteFlag takes why a version is saved.
func noteFlag(c *cobra.Command, note *string) {
	c.Flags().StringVarP(note, "message", "m", "", "why, as a `note` that stays with the version")
}

func (p *program) mapShowCommand() *cobra.Command {
	req := &mapperv1.GetFieldMapRequest{}
	asYAML := false
	c := &cobra.Command{
		Use:     "show",
		Aliases: []string{"get"},
		Short:   "Show the field map",
		Args:    args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if asYAML && p.asJSON {
				return exit.Misuse("--yaml and --json exclude each other; give one of them")
			}
			res, err := c.FieldMaps.GetFieldMap(ctx, req)
			if err != nil {
				return err
			}
			if asYAML {
				b, err := mapfile.Format(res.GetFieldMap())
				if err != nil {
					return err
				}
				return p.print(string(b))
			}
			return p.show(res.GetFieldMap(), func(s view.Style) string { return view.FieldMap(s, res.GetFieldMap(), nil) })
		}),
	}
	c.Flags().Int32Var(&req.Version, "version", 0, "`version` to show; the latest where 0")
	c.Flags().BoolVar(&asYAML, "yaml", false, "write it as the file that `map set` reads")
	connectionFlag(c, &req.ConnectionId)
	return c
}

const mapSetHelp = `Save a new version of the field map, from a file or from flags. Every pair, rule and policy is checked against the org
first; the pairs of FirstName, LastName and Email are added where they are missing. What is the same as the latest version
makes no new one.

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

There is more: expressions, lookups, tables, rules, what differs for a subaccount, policies and guards. docs/field-maps.md
shows every setting. ` + "`catalogsync map suggest --write map.yaml`" + ` begins a file for you.

The same with flags:

  catalogsync map set --object Contact --external-id CatalogUserId__c \
    --pair first_name=FirstName --pair last_name=LastName --pair email=Email \
    --pair title=Title --default Title=Member --pair attributes.cohort=Cohort__c`

func (p *program) mapSetCommand() *cobra.Command {
	object, externalID := "", ""
	var pairs, defaults []string
	o := saving{}
	c := &cobra.Command{Use: "set [FILE.yaml]", Short: "Save a new version of the field map", Long: mapSetHelp, Args: args(0, 1)}
	c.Flags().StringVar(&object, "object", "", "target `object`: Contact or Lead")
	c.Flags().StringVar(&externalID, "external-id", "", "Salesforce `field` that identifies a person, an external id that is unique; people are matched by e-mail where not given")
	c.Flags().StringArrayVar(&pairs, "pair", nil, "Catalog field and the Salesforce field that it goes into, as `source=Field`; repeatable")
	c.Flags().StringArrayVar(&defaults, "default", nil, "value of a Salesforce field for people who have none, as `Field=value`; repeatable")
	c.Flags().BoolVar(&o.check, "check", false, "only check the field map; save nothing")
	o.flags(c)
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
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error { return p.save(ctx, c, fm, o) })(cmd, args)
	}
	return c
}

func (p *program) mapImportCommand() *cobra.Command {
	o := saving{}
	c := &cobra.Command{
		Use: "import FILE.yaml", Short: "Save a file that `map export` wrote as a new version", Args: args(1, 1),
		Long: "Save a file that `catalogsync map export` wrote as a new version, here or in another connection or tenant: the same as\n`catalogsync map set FILE.yaml`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			fm, err := p.readMap(args[0])
			if err != nil {
				return err
			}
			return p.do(func(ctx context.Context, c *client.Client, _ []string) error { return p.save(ctx, c, fm, o) })(cmd, args)
		},
	}
	o.flags(c)
	return c
}

func (p *program) mapCheckCommand() *cobra.Command {
	o := saving{check: true, compare: true}
	c := &cobra.Command{
		Use: "check FILE.yaml", Short: "Check a field map against the org, and say what it would change; save nothing", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fm, err := p.readMap(args[0])
			if err != nil {
				return err
			}
			return p.do(func(ctx context.Context, c *client.Client, _ []string) error { return p.save(ctx, c, fm, o) })(cmd, args)
		},
	}
	connectionFlag(c, &o.connection)
	return c
}

// saving is how a field map is saved.
type saving struct {
	connection string
	note       string
	expected   int32
	check      bool // save nothing
	compare    bool // show what differs from the latest version instead of the whole
}

func (o *saving) flags(c *cobra.Command) {
	noteFlag(c, &o.note)
	connectionFlag(c, &o.connection)
	c.Flags().Int32Var(&o.expected, "expect", 0, "save only if this `version` is the latest, so that nobody's work is lost; whatever is latest where 0")
}

// save saves or checks a field map and shows what came of it.
func (p *program) save(ctx context.Context, c *client.Client, fm *mapperv1.FieldMap, o saving) error {
	fm.ConnectionId, fm.Note = o.connection, o.note
	var latest *mapperv1.FieldMap
	if o.compare {
		res, err := c.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: o.connection})
		if err != nil && errs.ReasonOf(err) != "no_field_map" {
			return err
		}
		latest = res.GetFieldMap()
	}
	res, err := c.FieldMaps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: fm, ValidateOnly: o.check, ExpectedVersion: o.expected})
	if err != nil {
		return err
	}
	saved := res.GetFieldMap()
	err = p.show(res, func(s view.Style) string {
		if latest != nil {
			return view.Settings(s, mapfile.Diff(latest, saved))
		}
		return view.FieldMap(s, saved, res.GetAdded())
	})
	if err != nil {
		return err
	}
	for _, n := range res.GetNotes() {
		p.note("Note: %s", clean(n.GetMessage()))
	}
	switch {
	case o.check && res.GetUnchanged():
		p.note("The org takes this field map. It is the same as version %d.", saved.GetVersion())
	case o.check:
		p.note("The org takes this field map. Nothing was saved.")
	case res.GetUnchanged():
		p.note("Nothing was saved: version %d is the same.", saved.GetVersion())
	}
	return nil
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
		return nil, exit.Misuse("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", "\n"+name+": "))
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
