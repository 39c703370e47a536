// Package importer owns how a file of people becomes people in a directory.
//
// A file is read as a stream: whatever its size, a line and two batches are in memory. A line at fault is reported with
// line, column and value and costs nothing but itself. Somebody is marked gone only when a full file was read to its
// end and every line in it could be told to be about somebody.
package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// Options say what is coming.
type Options struct {
	// FileName is for messages, and to tell the format from.
	FileName string
	// Format of the file.
	Format Format
	// Compression of the file.
	Compression Compression
	// Mode says what the file's silence about a person means.
	Mode directory.Mode
	// BatchRows is how many people are written in one transaction; 5,000 where 0.
	BatchRows int
}

// LineError is a line that was not taken.
type LineError struct {
	// Line from 1; where a quoted record begins.
	Line int64
	// Column as the file names it; empty when the whole line is at fault.
	Column string
	// Value at fault, at most 80 characters.
	Value string
	// Message says what is wrong and what to do.
	Message string
}

// Summary says what an import did. Added, Changed, Unchanged and Rejected add up to Lines; Added less Gone is what the
// number of people grew by.
type Summary struct {
	// Lines read, header and blank lines not counted.
	Lines int64
	// Added people are new, or were gone and are back.
	Added int64
	// Changed people have new values.
	Changed int64
	// Unchanged people were so already.
	Unchanged int64
	// Rejected lines were not taken; each was reported.
	Rejected int64
	// Gone people were marked so.
	Gone int64
	// GoneWithheld says why a full import marked nobody gone; empty where it looked.
	GoneWithheld string
}

// fault is what is wrong with a line.
type fault struct {
	column  int    // from 1; 0 for none
	name    string // of the column, where it has no number
	value   string
	message string
	id      string // of the person the line is about, where that is beyond doubt
}

const (
	defaultBatchRows = 5_000
	// batchBytes ends a batch early when values are long.
	batchBytes = 4 << 20
)

// Import reads a file into the directory and reports each line that was not taken, in their order. The summary is valid
// also when the import fails on the way: then it says what was taken before, which stays, and nobody was marked gone.
//
// Reports come from the calling goroutine. When r is an io.Closer it is closed to end a read that is under way when the
// import cannot go on.
func Import(ctx context.Context, dir directory.Directory, tenant string, r io.Reader, o Options, report func(LineError)) (Summary, error) {
	if o.FileName == "" {
		o.FileName = "the file"
	}
	if o.BatchRows <= 0 {
		o.BatchRows = defaultBatchRows
	}
	s := Summary{}
	if o.Mode == directory.Full {
		s.GoneWithheld = "the import did not come to its end"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	src := &source{r: r}
	stop := context.AfterFunc(ctx, src.close)
	defer stop()

	p, err := newParser(ctx, dir, tenant, src, o)
	if err != nil {
		return s, src.explain(ctx, err, o.FileName, 0, 0)
	}
	defer p.close()
	if p.reader == nil { // not a single byte
		return withheld(s, o, "the file is empty"), nil
	}
	imp, err := dir.BeginImport(ctx, tenant, o.Mode)
	if err != nil {
		return s, err
	}
	defer imp.Close() //nolint:errcheck // gives back a lock; what was put is committed

	batches := make(chan *batch, 1)
	go p.run(ctx, batches)
	err = takeAll(ctx, imp, batches, &s, report)
	if err != nil { // let the parser end, whatever it waits for
		cancel()
		for range batches {
		}
		return s, err
	}
	if p.err != nil {
		return s, src.explain(ctx, p.err, o.FileName, p.lastLine, s.Lines-s.Rejected)
	}
	if err := ctx.Err(); err != nil {
		return s, err
	}
	if o.Mode != directory.Full {
		return s, nil
	}
	switch {
	case s.Lines == 0:
		return withheld(s, o, "the file holds nobody"), nil
	case s.Lines == s.Rejected:
		return withheld(s, o, "not a single line could be taken"), nil
	case p.brokenOff > 0:
		return withheld(s, o, fmt.Sprintf("the file seems to break off in line %d; send the whole file again", p.brokenOff)), nil
	case p.unknown > 0:
		return withheld(s, o, fmt.Sprintf("it is not certain whom line %d is about%s; correct the file and import it again",
			p.firstUnknown, others(p.unknown-1))), nil
	}
	s.Gone, err = imp.MarkGone(ctx)
	if err == nil {
		s.GoneWithheld = ""
	}
	return s, err
}

func withheld(s Summary, o Options, why string) Summary {
	if o.Mode == directory.Full {
		s.GoneWithheld = why
	}
	return s
}

func others(n int64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", and of one more line"
	}
	return fmt.Sprintf(", and of %d more lines", n)
}

// takeAll puts batches until there are no more.
func takeAll(ctx context.Context, imp directory.Import, batches <-chan *batch, s *Summary, report func(LineError)) error {
	for b := range batches {
		var results []directory.Result
		if len(b.records) > 0 {
			var err error
			if results, err = imp.Put(ctx, b.records); err != nil {
				return err
			}
		}
		for i, result := range results {
			switch result {
			case directory.Added:
				s.Added++
			case directory.Changed:
				s.Changed++
			case directory.Unchanged:
				s.Unchanged++
			case directory.Duplicate:
				b.faults = append(b.faults, LineError{
					Line: b.lines[i], Column: b.idColumn, Value: cut(b.records[i].ID),
					Message: "the id has come before in this file, and that line was taken; keep one of the two",
				})
			}
		}
		if err := imp.Mention(ctx, b.mentioned); err != nil {
			return err
		}
		s.Lines += b.read
		s.Rejected += int64(len(b.faults))
		slices.SortStableFunc(b.faults, func(a, b LineError) int { return cmp.Compare(a.Line, b.Line) })
		for _, f := range b.faults {
			report(f)
		}
	}
	return nil
}

// source remembers whether the input itself failed, as opposed to what is in it, and stays failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) close() {
	if c, ok := s.r.(io.Closer); ok {
		_ = c.Close()
	}
}

// explain says why the file was not read to its end.
func (s *source) explain(ctx context.Context, err error, name string, line, taken int64) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	far := fmt.Sprintf("%d people in it were taken before and stay, and nobody was marked gone", taken)
	if s.err != nil {
		if errs.KindOf(s.err) != errs.Internal {
			return s.err
		}
		return errs.Wrap(s.err, errs.Unavailable, "file_unreadable", "%s could not be read behind line %d: %s; try again", name, line, far)
	}
	if errs.KindOf(err) != errs.Internal {
		return err
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return errs.Wrap(err, errs.Invalid, "window_too_large", "%s needs more than %d MiB of memory to unpack: %s; pack it again without --long or --ultra", name, maxWindow>>20, far)
	}
	return errs.Wrap(err, errs.Invalid, "damaged_file", "%s breaks off or is damaged behind line %d: %s; send the whole file again", name, line, far)
}
