package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/mapfile"
)

func (p *program) mapHistoryCommand() *cobra.Command {
	req := &mapperv1.ListFieldMapsRequest{}
	limit := 20
	c := &cobra.Command{Use: "history", Short: "List the versions of the field map, newest first", Args: args(0, 0)}
	c.Flags().IntVar(&limit, "limit", limit, "at most this `number` of versions; 0 for all")
	connectionFlag(c, &req.ConnectionId)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		if limit < 0 {
			return exit.Misuse("--limit is %d; give 0 for all, or a number above", limit)
		}
		res, err := c.FieldMaps.ListFieldMaps(ctx, req)
		if err != nil {
			return err
		}
		list := res.GetFieldMaps()
		if limit > 0 && len(list) > limit {
			defer p.note("The newest %d of %d are shown; --limit 0 shows all.", limit, len(list))
			list = list[:limit]
		}
		return showAll(p, list, "No field map was saved yet; begin with `catalogsync map suggest`.", view.FieldMaps)
	})
	return c
}

func (p *program) mapDiffCommand() *cobra.Command {
	req := &mapperv1.DiffFieldMapsRequest{}
	c := &cobra.Command{
		Use:   "diff [FROM [TO]]",
		Short: "Show in which settings two versions of the field map differ",
		Long: "Show in which settings two versions of the field map differ: the latest from the one before it, from FROM where that is\n" +
			"given, or TO from FROM.",
		Args: args(0, 2),
	}
	connectionFlag(c, &req.ConnectionId)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, args []string) (err error) {
		for i, at := range []*int32{&req.From, &req.To} {
			if i < len(args) {
				if *at, err = versionNumber(args[i]); err != nil {
					return err
				}
			}
		}
		res, err := c.FieldMaps.DiffFieldMaps(ctx, req)
		if err != nil {
			return err
		}
		return p.show(res, func(s view.Style) string { return view.Differences(s, res) })
	})
	return c
}

// versionNumber reads a version, which people may write as v3.
func versionNumber(text string) (int32, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(text, "v"), 10, 32)
	if err != nil || n < 1 {
		return 0, exit.Misuse("%q is no version; give a number from 1, see `catalogsync map history`", text)
	}
	return int32(n), nil
}

func (p *program) mapRollbackCommand() *cobra.Command {
	req := &mapperv1.RollbackFieldMapRequest{}
	c := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "Save an older version of the field map as the next one",
		Long: "Check an older version of the field map against the org as it is today, and save it as the next version. No version is\n" +
			"lost: going back can be undone in the same way. Runs use it from the next one on.",
		Args: args(1, 1),
	}
	noteFlag(c, &req.Note)
	connectionFlag(c, &req.ConnectionId)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, args []string) (err error) {
		if req.Version, err = versionNumber(args[0]); err != nil {
			return err
		}
		latest, err := c.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: req.GetConnectionId()})
		if err != nil {
			return err
		}
		res, err := c.FieldMaps.RollbackFieldMap(ctx, req)
		if err != nil {
			return err
		}
		m := res.GetFieldMap()
		if err := p.show(m, func(s view.Style) string { return view.FieldMap(s, m, nil) }); err != nil {
			return err
		}
		if m.GetVersion() == latest.GetFieldMap().GetVersion() {
			p.note("Nothing was saved: version %d, the latest, says the same as version %d.", m.GetVersion(), req.GetVersion())
		}
		return nil
	})
	return c
}

const mapExportHelp = `Write the field map as the file that ` + "`map set`" + ` and ` + "`map import`" + ` read: to standard output, or with --all each version as a file
of its own into a directory. The versions of a connection that was unlinked, or replaced by another org, can be exported
too: name it with --connection.`

func (p *program) mapExportCommand() *cobra.Command {
	req := &mapperv1.GetFieldMapRequest{}
	everything, dir := false, ""
	c := &cobra.Command{Use: "export", Short: "Write the field map, or all its versions, as files", Long: mapExportHelp, Args: args(0, 0)}
	c.Flags().Int32Var(&req.Version, "version", 0, "`version` to write; the latest where 0")
	c.Flags().BoolVar(&everything, "all", false, "write every version, each as a file of its own in --dir")
	c.Flags().StringVar(&dir, "dir", "", "`directory` for the files of --all")
	connectionFlag(c, &req.ConnectionId)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		switch {
		case everything != (dir != ""):
			return exit.Misuse("--all and --dir go together; give both, or neither for one version on standard output")
		case everything && req.GetVersion() != 0:
			return exit.Misuse("--all and --version exclude each other; give one of them")
		case everything:
			return p.exportAll(ctx, c, req.GetConnectionId(), dir)
		}
		res, err := c.FieldMaps.GetFieldMap(ctx, req)
		if err != nil {
			return err
		}
		if p.asJSON {
			return p.print(string(view.JSON(res.GetFieldMap())))
		}
		b, err := mapfile.Format(res.GetFieldMap())
		if err != nil {
			return err
		}
		return p.print(string(b))
	})
	return c
}

// exportAll writes every version into a directory. What is in the way is not overwritten, unless it is the same.
func (p *program) exportAll(ctx context.Context, c *client.Client, connection, dir string) error {
	latest, err := c.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: connection})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return exit.Misuse("--dir: %v", err)
	}
	for n := int32(1); n <= latest.GetFieldMap().GetVersion(); n++ {
		res, err := c.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: connection, Version: n})
		if err != nil {
			return err
		}
		b, err := mapfile.Format(res.GetFieldMap())
		if err != nil {
			return fmt.Errorf("version %d: %w", n, err)
		}
		name := filepath.Join(dir, fmt.Sprintf("%04d.yaml", n))
		if err := writeNew(name, append([]byte(heading(res.GetFieldMap())), b...)); err != nil {
			return exit.Misuse("--dir: %v", err)
		}
		if err := p.print(name + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// heading is a comment that says which version a file holds.
func heading(m *mapperv1.FieldMap) string {
	text := fmt.Sprintf("# version %d of connection %s, %s", m.GetVersion(), m.GetConnectionId(), m.GetSavedAt().AsTime().Format("2006-01-02 15:04:05 MST"))
	if m.GetAuthor() != "" {
		text += ", saved by " + m.GetAuthor()
	}
	if m.GetRolledBackTo() != 0 {
		text += fmt.Sprintf(", back to version %d", m.GetRolledBackTo())
	}
	if m.GetNote() != "" {
		text += ": " + m.GetNote()
	}
	return view.Clean(text) + "\n"
}

func writeNew(name string, content []byte) error {
	if there, err := os.ReadFile(name); err == nil {
		if string(there) == string(content) {
			return nil
		}
		return fmt.Errorf("%s is there already and says something else; name another directory", name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, content, 0o644) //nolint:gosec // a field map is no secret
}

func (p *program) mapEditCommand() *cobra.Command {
	o := saving{}
	c := &cobra.Command{
		Use:   "edit",
		Short: "Change the field map in an editor and save it as a new version",
		Long: "Open the latest version of the field map in the editor that VISUAL or EDITOR names (vi where neither does), and save what\n" +
			"you made of it. Where somebody else saved meanwhile, or the org does not take it, nothing is saved and the file is kept.",
		Args: args(0, 0),
	}
	noteFlag(c, &o.note)
	connectionFlag(c, &o.connection)
	c.RunE = p.do(func(ctx context.Context, c *client.Client, _ []string) error {
		res, err := c.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: o.connection})
		if err != nil {
			return err
		}
		before, err := mapfile.Format(res.GetFieldMap())
		if err != nil {
			return err
		}
		o.expected, o.connection = res.GetFieldMap().GetVersion(), res.GetFieldMap().GetConnectionId()
		name, err := p.edit(ctx, before)
		if err != nil {
			return err
		}
		fm, err := p.readMap(name)
		if err == nil {
			err = p.save(ctx, c, fm, o)
		}
		if err != nil {
			p.note("What you wrote is in %s", name)
			return err
		}
		return os.RemoveAll(filepath.Dir(name))
	})
	return c
}

// edit lets the user change a text and returns the file with what became of it.
func (p *program) edit(ctx context.Context, text []byte) (name string, err error) {
	editor := p.environ("VISUAL", p.environ("EDITOR", "vi"))
	dir, err := os.MkdirTemp("", "catalogsync-")
	if err != nil {
		return "", err
	}
	name = filepath.Join(dir, "map.yaml")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return "", err
	}
	// The variable may hold arguments, as in "code --wait", so a shell reads it, as git has it read.
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", name) //nolint:gosec // the user's own editor
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.env.Stdin, p.env.Stdout, p.env.Stderr
	if p.asJSON {
		cmd.Stdout = p.env.Stderr
	}
	if err := cmd.Run(); err != nil {
		return "", exit.With(exit.Failed, "the editor %s ended with %v; nothing was saved, and the file is %s", editor, err, name)
	}
	return name, nil
}
