package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
)

const importHelp = `Import people from a CSV file with a header row, or from NDJSON: one JSON object a line. Both may be packed with gzip or
zstd. "-" reads standard input.

Columns are id (mandatory and unique), email, first_name, last_name, phone, mobile_phone, title, organization,
department, street, city, state, postal_code, country, locale, time_zone, active, groups, subaccount, created_at and
updated_at; any other column becomes a custom attribute, attributes.NAME.

A line at fault is reported on standard error with its number, column and value; all others are taken, and the exit
code is then 3.`

func (p *program) peopleImportCommand() *cobra.Command {
	mode, format, compression, name := "delta", "auto", "auto", ""
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Import people from a CSV or NDJSON file",
		Long:  importHelp,
		Args:  args(1, 1),
	}
	c.Flags().StringVar(&mode, "mode", mode, "`delta`: the file holds some people; full: it holds everybody, and people who are not in it are marked gone")
	c.Flags().StringVar(&format, "format", format, "`csv` or ndjson; told from the file's name where auto")
	c.Flags().StringVar(&compression, "compression", compression, "`none`, gzip or zstd; told from the first bytes where auto")
	c.Flags().StringVar(&name, "name", "", "`name` of what standard input holds, to tell the format from")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		header := &directoryv1.ImportHeader{}
		var err1, err2, err3 error
		header.Mode, err1 = choice("mode", mode, []string{"delta", "full"},
			[]directoryv1.ImportMode{directoryv1.ImportMode_IMPORT_MODE_DELTA, directoryv1.ImportMode_IMPORT_MODE_FULL})
		header.Format, err2 = choice("format", format, []string{"auto", "csv", "ndjson"},
			[]directoryv1.FileFormat{0, directoryv1.FileFormat_FILE_FORMAT_CSV, directoryv1.FileFormat_FILE_FORMAT_NDJSON})
		header.Compression, err3 = choice("compression", compression, []string{"auto", "none", "gzip", "zstd"},
			[]directoryv1.Compression{0, directoryv1.Compression_COMPRESSION_NONE, directoryv1.Compression_COMPRESSION_GZIP, directoryv1.Compression_COMPRESSION_ZSTD})
		if err := errors.Join(err1, err2, err3); err != nil {
			return exit.Misuse("%v", err)
		}
		in, size, err := p.openPeople(args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		if header.FileName = name; name == "" {
			header.FileName = filepath.Base(args[0])
		}
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			return p.importPeople(ctx, c, header, in, size)
		})(cmd, args)
	}
	return c
}

// openPeople opens a file to import. The size is 0 where it is not known.
func (p *program) openPeople(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(p.env.Stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, exit.Misuse("the file with people: %v", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory; name a CSV or NDJSON file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, exit.Misuse("the file with people: %v", err)
	}
	return f, info.Size(), nil
}

func (p *program) importPeople(ctx context.Context, c *client.Client, header *directoryv1.ImportHeader, in io.Reader, size int64) error {
	progress := p.progress()
	sum, err := c.Import(ctx, header, in,
		func(sent int64) { progress.Amount("import", sent, size, true) },
		func(e *directoryv1.LineError) {
			progress.Clear()
			p.note("%s", view.LineError(e))
		})
	progress.Clear()
	if err != nil {
		return err
	}
	if err := p.show(sum, func(s view.Style) string { return view.Imported(s, sum) }); err != nil {
		return err
	}
	if n := sum.GetRejected(); n > 0 {
		return exit.With(exit.Partly, "%s not taken; correct them and import the file again", view.Plural(n, "line was", "lines were"))
	}
	return nil
}
