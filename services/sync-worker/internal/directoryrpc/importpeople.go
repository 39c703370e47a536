package directoryrpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/importer"
)

const (
	// maxChunk is the largest part of a file in one message.
	maxChunk = 256 << 10
	// maxSent is how many lines at fault are sent; all are counted.
	maxSent = 1_000
)

// ImportPeople implements the service.
func (s *Server) ImportPeople(stream grpc.BidiStreamingServer[directoryv1.ImportPeopleRequest, directoryv1.ImportPeopleResponse]) error {
	ctx := stream.Context()
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return &errs.Error{
			Kind: errs.RateLimited, Reason: "imports_running", RetryAfter: 10 * time.Second,
			Msg: "several imports are running; try again in a moment",
		}
	}

	up := newUpload(s.idle)
	go up.receive(stream) // ends with the stream, which ends with this handler
	header, err := up.header(ctx)
	if err != nil {
		return err
	}
	options, err := importOptions(header)
	if err != nil {
		return err
	}
	faults := newFaultSender(stream)
	summary, err := importer.Import(ctx, s.dir, tenant, up.body, options, faults.report)
	if sendErr := faults.wait(); err == nil {
		err = sendErr
	}
	s.log.InfoContext(ctx, "import ended", slog.String(telemetry.KeyTenant, tenant), slog.String("mode", options.Mode.String()),
		slog.Int64("lines", summary.Lines), slog.Int64("added", summary.Added), slog.Int64("changed", summary.Changed),
		slog.Int64("unchanged", summary.Unchanged), slog.Int64("gone", summary.Gone), slog.Int64("rejected", summary.Rejected),
		slog.Bool("complete", err == nil))
	if err != nil {
		return err
	}
	return stream.Send(&directoryv1.ImportPeopleResponse{Message: &directoryv1.ImportPeopleResponse_Summary{Summary: &directoryv1.ImportSummary{
		Lines: summary.Lines, Added: summary.Added, Changed: summary.Changed, Unchanged: summary.Unchanged,
		Gone: summary.Gone, Rejected: summary.Rejected, GoneWithheld: summary.GoneWithheld,
	}}})
}

func importOptions(h *directoryv1.ImportHeader) (importer.Options, error) {
	o := importer.Options{FileName: h.GetFileName()}
	bad := func(field string, value interface{ String() string }) error {
		return errs.New(errs.Invalid, "import_header", "%s is %s, which this version does not know; leave it out", field, value)
	}
	switch h.GetFormat() {
	case directoryv1.FileFormat_FILE_FORMAT_UNSPECIFIED:
	case directoryv1.FileFormat_FILE_FORMAT_CSV:
		o.Format = importer.CSV
	case directoryv1.FileFormat_FILE_FORMAT_NDJSON:
		o.Format = importer.NDJSON
	default:
		return o, bad("format", h.GetFormat())
	}
	switch h.GetCompression() {
	case directoryv1.Compression_COMPRESSION_UNSPECIFIED:
	case directoryv1.Compression_COMPRESSION_NONE:
		o.Compression = importer.Plain
	case directoryv1.Compression_COMPRESSION_GZIP:
		o.Compression = importer.Gzip
	case directoryv1.Compression_COMPRESSION_ZSTD:
		o.Compression = importer.Zstd
	default:
		return o, bad("compression", h.GetCompression())
	}
	switch h.GetMode() {
	case directoryv1.ImportMode_IMPORT_MODE_UNSPECIFIED, directoryv1.ImportMode_IMPORT_MODE_DELTA:
	case directoryv1.ImportMode_IMPORT_MODE_FULL:
		o.Mode = directory.Full
	default:
		return o, bad("mode", h.GetMode())
	}
	return o, nil
}

// upload turns the messages of a stream into a header and a body.
type upload struct {
	idle    time.Duration
	headers chan *directoryv1.ImportHeader
	body    *io.PipeReader
	pipe    *io.PipeWriter
	failed  chan error // why there is no header
}

func newUpload(idle time.Duration) *upload {
	u := &upload{idle: idle, headers: make(chan *directoryv1.ImportHeader, 1), failed: make(chan error, 1)}
	u.body, u.pipe = io.Pipe()
	return u
}

// header waits for the first message.
func (u *upload) header(ctx context.Context) (*directoryv1.ImportHeader, error) {
	select {
	case h := <-u.headers:
		return h, nil
	case err := <-u.failed:
		return nil, err
	case <-time.After(u.idle):
		return nil, u.stalled()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (u *upload) stalled() error {
	return errs.New(errs.Unavailable, "upload_stalled", "nothing of the file came for %v, so the import was given up; send the whole file again", u.idle)
}

// receive reads messages until the client has sent its last one or the body is not wanted any more. A file that breaks
// off because the client went away does not look complete: its body ends with an error.
func (u *upload) receive(stream grpc.BidiStreamingServer[directoryv1.ImportPeopleRequest, directoryv1.ImportPeopleResponse]) {
	first, err := stream.Recv()
	switch {
	case errors.Is(err, io.EOF) || err == nil && first.GetHeader() == nil:
		u.failed <- errs.New(errs.Invalid, "import_header", "the first message must be the header")
		return
	case err != nil:
		u.failed <- err
		return
	}
	u.headers <- first.GetHeader()
	idle := time.AfterFunc(u.idle, func() { _ = u.pipe.CloseWithError(u.stalled()) })
	defer idle.Stop()
	for {
		m, err := stream.Recv()
		idle.Stop()
		if err == nil {
			err = u.write(m)
		}
		if err != nil {
			_ = u.pipe.CloseWithError(err) // io.EOF, after the last message, is the end of the file
			return
		}
		idle.Reset(u.idle)
	}
}

func (u *upload) write(m *directoryv1.ImportPeopleRequest) error {
	chunk, ok := m.GetMessage().(*directoryv1.ImportPeopleRequest_Chunk)
	switch {
	case !ok:
		return errs.New(errs.Invalid, "import_chunk", "behind the header only chunks may come")
	case len(chunk.Chunk) > maxChunk:
		return errs.New(errs.Invalid, "import_chunk", "a chunk has %d bytes; send at most %d at once", len(chunk.Chunk), maxChunk)
	}
	_, err := u.pipe.Write(chunk.Chunk)
	return err
}

// faultSender sends lines at fault beside the import, so that a client which first sends and then reads does not hold
// the import up.
type faultSender struct {
	queue chan *directoryv1.ImportPeopleResponse
	sent  int
	done  chan error
}

func newFaultSender(stream grpc.BidiStreamingServer[directoryv1.ImportPeopleRequest, directoryv1.ImportPeopleResponse]) *faultSender {
	f := &faultSender{queue: make(chan *directoryv1.ImportPeopleResponse, maxSent), done: make(chan error, 1)}
	go func() {
		var failed error
		for m := range f.queue {
			if failed == nil {
				failed = stream.Send(m)
			}
		}
		f.done <- failed
	}()
	return f
}

// report queues a fault. The queue holds all that may be sent.
func (f *faultSender) report(e importer.LineError) {
	if f.sent == maxSent {
		return
	}
	f.sent++
	f.queue <- &directoryv1.ImportPeopleResponse{Message: &directoryv1.ImportPeopleResponse_LineError{LineError: &directoryv1.LineError{
		Line: e.Line, Column: e.Column, Value: e.Value, Message: e.Message,
	}}}
}

// wait returns when all faults were sent, or could not be.
func (f *faultSender) wait() error {
	close(f.queue)
	return <-f.done
}
