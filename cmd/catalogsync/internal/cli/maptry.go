package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/mapfile"
)

func (p *program) mapTryCommand() *cobra.Command {
	connection, version := "", int32(0)
	var people []string
	c := &cobra.Command{
		Use:   "try [FILE.yaml]",
		Short: "Map some people by a file, or by the saved field map, and show what becomes of them",
		Long: "Map some people by a file that need not be saved, or by the saved field map, and show for each the values, the rule that\n" +
			"skips them, or why they would be rejected. Nothing is written, and it is as if nobody had a record in Salesforce;\n" +
			"`catalogsync plan` looks at everybody and at what is there.",
		Args: args(0, 1),
	}
	c.Flags().StringArrayVar(&people, "person", nil, "`id` or e-mail of a person; repeatable; the first 20 people where not given")
	c.Flags().Int32Var(&version, "version", 0, "saved `version` to try; the latest where 0")
	connectionFlag(c, &connection)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var fm *mapperv1.FieldMap
		if len(args) == 1 {
			var err error
			if version != 0 {
				return exit.Misuse("a file and --version exclude each other; give one of them")
			}
			if fm, err = p.readMap(args[0]); err != nil {
				return err
			}
			fm.ConnectionId = connection
		}
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			if fm == nil {
				res, err := c.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: connection, Version: version})
				if err != nil {
					return err
				}
				fm = res.GetFieldMap()
			}
			res, err := c.FieldMaps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: fm, PersonIds: people})
			if err != nil {
				return err
			}
			if len(res.GetPeople()) == 0 && !p.asJSON {
				p.note("There are no people to try it on; load some with `catalogsync people import`.")
				return nil
			}
			return p.show(res, func(s view.Style) string { return view.Tried(s, res) })
		})(cmd, args)
	}
	return c
}

func (p *program) mapSuggestCommand() *cobra.Command {
	req := &mapperv1.SuggestPairsRequest{}
	file, least := "", 0.6
	c := &cobra.Command{
		Use:   "suggest [OBJECT]",
		Short: "Suggest pairs from names, types and what people's values look like",
		Long: "Suggest which Catalog field goes into which field of an object (that of the field map where none is named, or Contact), from\n" +
			"names, labels, types and what the values of some people look like. With --write those that are sure enough go into a file:\n" +
			"a new one, or one that is there, in which all else stays as it is. Nothing is saved; look it over and use `catalogsync map set`.",
		Args: args(0, 1),
	}
	c.Flags().StringVar(&file, "write", "", "`file` to write the suggestions to")
	c.Flags().Float64Var(&least, "least", least, "how sure a suggestion must be that is written, from 0 to 1")
	connectionFlag(c, &req.ConnectionId)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, args []string) error {
		if least < 0 || least > 1 {
			return exit.Misuse("--least is %v; give a number from 0 to 1", least)
		}
		if err := p.suggestFor(ctx, c, req, args, file); err != nil {
			return err
		}
		res, err := c.FieldMaps.SuggestPairs(ctx, req)
		if err != nil {
			return err
		}
		if err := showAll(p, res.GetSuggestions(), "There is nothing to suggest.", view.Suggestions); err != nil || file == "" {
			return err
		}
		return p.writeSuggestions(file, req.GetObject(), slices.DeleteFunc(res.GetSuggestions(), func(s *mapperv1.Suggestion) bool { return s.GetConfidence() < least }))
	})
	return c
}

// suggestFor finds the object to make suggestions for: the one that is named, that of the file to write to, that of the
// field map, or Contact.
func (p *program) suggestFor(ctx context.Context, c *client.Client, req *mapperv1.SuggestPairsRequest, args []string, file string) error {
	if b, err := os.ReadFile(file); file != "" && err == nil {
		fm, err := mapfile.Parse(b)
		if err != nil {
			return exit.Misuse("%s: %v", file, err)
		}
		if req.Object = fm.GetObject(); len(args) == 1 && !strings.EqualFold(args[0], fm.GetObject()) {
			return exit.Misuse("%s is a field map for %s; name another file, or leave %s out", file, fm.GetObject(), args[0])
		}
		return nil
	}
	var err error
	req.Object, err = objectOf(ctx, c, req.GetConnectionId(), args)
	return err
}

// objectOf is the object that is named, or that of the field map, or Contact.
func objectOf(ctx context.Context, c *client.Client, connection string, args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	res, err := c.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: connection})
	if err != nil && errs.ReasonOf(err) != "no_field_map" {
		return "", err
	}
	return cmp.Or(res.GetFieldMap().GetObject(), "Contact"), nil
}

// writeSuggestions writes suggestions into a file.
func (p *program) writeSuggestions(file, object string, list []*mapperv1.Suggestion) error {
	var pairs []*mapperv1.Pair
	var comments []string
	externalID := ""
	for _, s := range list {
		pairs, comments = append(pairs, s.GetPair()), append(comments, fmt.Sprintf("%.2f: %s", s.GetConfidence(), s.GetReason()))
		if s.GetPair().GetSource() == "id" { // it is suggested for what can tell people apart alone
			externalID = s.GetPair().GetTarget()
		}
	}
	there, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return exit.Misuse("--write: %v", err)
	}
	added, content := pairs, []byte(nil)
	if err != nil {
		content, err = mapfile.New(object, externalID, pairs, comments)
	} else {
		content, added, err = mapfile.Add(there, pairs, comments)
	}
	if err != nil {
		return exit.Misuse("--write: %s: %v", file, err)
	}
	if len(added) == 0 {
		p.note("%s has all of them already.", file)
		return nil
	}
	if err := os.WriteFile(file, content, 0o644); err != nil { //nolint:gosec // a field map is no secret
		return exit.Misuse("--write: %v", err)
	}
	p.note("%s were written to %s; look them over, then `catalogsync map check %s` and `catalogsync map set %s`.",
		view.Plural(int64(len(added)), "field", "fields"), file, file, file)
	return nil
}
