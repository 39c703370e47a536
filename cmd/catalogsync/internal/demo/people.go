package demo

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
)

// importPeople loads the people, who are in a file as a customer's own would be.
func (t *tour) importPeople(ctx context.Context) error {
	name := t.PeopleFile
	if name == "" {
		name = t.file("people.csv")
		if err := write(name, func(w io.Writer) error {
			return sample.WriteCSV(w, sample.Options{People: t.People, Seed: t.Seed})
		}); err != nil {
			return err
		}
	}
	began := time.Now()
	sum, err := t.load(ctx, name, directoryv1.ImportMode_IMPORT_MODE_FULL)
	if err != nil {
		return err
	}
	count, err := t.client.People.CountPeople(ctx, &directoryv1.CountPeopleRequest{})
	if err != nil {
		return fmt.Errorf("count the people: %w", err)
	}
	if count.GetPeople() == 0 {
		return exit.Misuse("%s holds nobody who could be taken; correct it and try again", name)
	}
	t.out.step("People", fmt.Sprintf("%s of %s, from %s", view.Plural(count.GetPeople(), "person", "people"),
		view.Plural(int64(len(count.GetBySubaccount())), "subaccount", "subaccounts"), filepath.Base(name)), time.Since(began))
	t.remark(sum)
	return nil
}

// remark says what an import did not do.
func (t *tour) remark(sum *directoryv1.ImportSummary) {
	if n := sum.GetRejected(); n > 0 {
		t.out.more(t.out.style.Paint(view.Warn, view.Plural(n, "line was", "lines were")+" not taken; standard error says which and why"))
	}
	if sum.GetGoneWithheld() != "" {
		t.out.more("nobody was marked gone, because " + view.Clean(sum.GetGoneWithheld()))
	}
}

// load imports a file through the streaming RPC.
func (t *tour) load(ctx context.Context, name string, mode directoryv1.ImportMode) (*directoryv1.ImportSummary, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	progress := t.out.progress()
	sum, err := t.client.Import(ctx, &directoryv1.ImportHeader{FileName: filepath.Base(name), Mode: mode}, f,
		func(sent int64) { progress.Amount("import", sent, size, true) },
		func(e *directoryv1.LineError) {
			progress.Clear()
			fmt.Fprintln(t.Stderr, view.LineError(e))
		})
	progress.Clear()
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", name, err)
	}
	t.refused += sum.GetRejected()
	return sum, nil
}

// change gives some people new values and imports them again.
func (t *tour) change(ctx context.Context) error {
	if t.Changed == 0 {
		t.out.step("Changes", "none, as --changed 0 asks for", 0)
		return nil
	}
	began := time.Now()
	name, mode := t.file("people-changed.csv"), directoryv1.ImportMode_IMPORT_MODE_FULL
	make := func(w io.Writer) error {
		return sample.WriteCSV(w, sample.Options{People: t.People, Seed: t.Seed, Changed: t.Changed, ChangeSeed: t.Seed + 1})
	}
	if t.PeopleFile != "" { // only those who changed, in a format that any file's people fit in
		name, mode = t.file("people-changed.ndjson"), directoryv1.ImportMode_IMPORT_MODE_DELTA
		make = func(w io.Writer) error { return t.writeChanged(ctx, w) }
	}
	if err := write(name, make); err != nil {
		return err
	}
	sum, err := t.load(ctx, name, mode)
	if err != nil {
		return err
	}
	t.changed = sum.GetChanged()
	t.out.step("Changes", fmt.Sprintf("%s with new values, from %s", view.Plural(t.changed, "person", "people"), filepath.Base(name)), time.Since(began))
	t.remark(sum)
	return nil
}

// writeChanged writes the people of the directory who change, with their new titles.
func (t *tour) writeChanged(ctx context.Context, w io.Writer) error {
	count, err := t.client.People.CountPeople(ctx, &directoryv1.CountPeopleRequest{})
	if err != nil {
		return fmt.Errorf("count the people: %w", err)
	}
	left := count.GetPeople()
	change := int64(math.Round(t.Changed * float64(left)))
	change = max(change, min(left, 1))
	choose := rand.New(rand.NewPCG(uint64(t.Seed), 1))
	out := json.NewEncoder(w)
	req := &directoryv1.ListPeopleRequest{PageSize: 1000}
	for change > 0 {
		res, err := t.client.People.ListPeople(ctx, req)
		if err != nil {
			return fmt.Errorf("list the people: %w", err)
		}
		for _, p := range res.GetPeople() {
			// Each of the people left is as likely as the others, and in the end exactly as many change as should.
			if left > 0 && choose.Int64N(left) < change {
				change--
				if err := out.Encode(map[string]string{"id": p.GetId(), "title": title(p.GetFields()["title"])}); err != nil {
					return err
				}
			}
			left--
		}
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			return nil
		}
	}
	return nil
}

// title returns another title.
func title(now string) string {
	const senior = "Senior "
	if rest, ok := strings.CutPrefix(now, senior); ok {
		return cmp.Or(rest, "Member")
	}
	return strings.TrimSpace(senior + cmp.Or(now, "member"))
}

// write makes a file.
func write(name string, content func(io.Writer) error) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffered := bufio.NewWriterSize(f, 256<<10)
	if err := content(buffered); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return buffered.Flush()
}
