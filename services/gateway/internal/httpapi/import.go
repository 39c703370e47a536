package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// chunkBytes is how much of a file goes into one message.
const chunkBytes = 256 << 10

// Values of the query parameters.
var (
	modes = map[string]directoryv1.ImportMode{
		"": directoryv1.ImportMode_IMPORT_MODE_UNSPECIFIED, "delta": directoryv1.ImportMode_IMPORT_MODE_DELTA, "full": directoryv1.ImportMode_IMPORT_MODE_FULL,
	}
	formats = map[string]directoryv1.FileFormat{
		"": directoryv1.FileFormat_FILE_FORMAT_UNSPECIFIED, "csv": directoryv1.FileFormat_FILE_FORMAT_CSV, "ndjson": directoryv1.FileFormat_FILE_FORMAT_NDJSON,
	}
	compressions = map[string]directoryv1.Compression{
		"": directoryv1.Compression_COMPRESSION_UNSPECIFIED, "none": directoryv1.Compression_COMPRESSION_NONE,
		"gzip": directoryv1.Compression_COMPRESSION_GZIP, "zstd": directoryv1.Compression_COMPRESSION_ZSTD,
	}
)

// importHeader reads the query: mode, name, format, compression. Without a format the content type says it, where it
// does.
func importHeader(r *http.Request) (*directoryv1.ImportHeader, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errs.New(errs.Invalid, "invalid_query", "the query cannot be read: encode what follows the question mark")
	}
	h := &directoryv1.ImportHeader{FileName: q.Get("name")}
	var problems []string
	problems = pick(problems, q, "mode", modes, &h.Mode)
	problems = pick(problems, q, "format", formats, &h.Format)
	problems = pick(problems, q, "compression", compressions, &h.Compression)
	for key := range q {
		if !slices.Contains([]string{"mode", "name", "format", "compression"}, key) {
			problems = append(problems, fmt.Sprintf("there is no parameter %q: mode, name, format and compression are known", key))
		}
	}
	if problems != nil {
		slices.Sort(problems)
		return nil, errs.New(errs.Invalid, "invalid_query", "%s", strings.Join(problems, "; "))
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "text/csv":
		setIfZero(&h.Format, directoryv1.FileFormat_FILE_FORMAT_CSV)
	case "application/x-ndjson", "application/jsonl":
		setIfZero(&h.Format, directoryv1.FileFormat_FILE_FORMAT_NDJSON)
	}
	return h, nil
}

func pick[E comparable](problems []string, q url.Values, key string, values map[string]E, to *E) []string {
	v, ok := values[q.Get(key)]
	if !ok {
		known := make([]string, 0, len(values))
		for name := range values {
			if name != "" {
				known = append(known, name)
			}
		}
		slices.Sort(known)
		return append(problems, fmt.Sprintf("%s must be one of %s", key, strings.Join(known, ", ")))
	}
	*to = v
	return problems
}

func setIfZero[E comparable](to *E, v E) {
	var zero E
	if *to == zero {
		*to = v
	}
}

// importPeople takes the bytes of a file and answers a line per fault and one with the summary, while it reads.
func (a *api) importPeople(x *exchange, r *http.Request) {
	_ = x.rc.EnableFullDuplex() // HTTP/2 is so without
	// A body that is not read to its end must not be taken for the next request.
	x.Header().Set("Connection", "close")
	x.bound(a.Limits.FileBytes)
	header, err := importHeader(r)
	if err != nil {
		writeError(x, r, err)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	for _, v := range r.Header.Values("Authorization") {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
	}
	stream, err := a.people.ImportPeople(ctx)
	if err != nil {
		writeError(x, r, err)
		return
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		sendFile(stream, header, x, func(err error) { cancel(a.brokeOff(err)) })
	}()
	wrote, err := relay(x, stream)
	if cause, ok := errors.AsType[*errs.Error](context.Cause(ctx)); ok && err != nil {
		err = cause // why the file broke off
	}
	cancel(err)
	select {
	case <-sent:
	default: // the answer came before the end of the file, or the client has stopped taking it
		x.stopReading()
		<-sent
	}
	switch {
	case err == nil:
	case wrote:
		writeLine(x, bodyOf(err))
	default:
		writeError(x, r, err)
	}
}

// brokeOff says why a file did not arrive whole.
func (a *api) brokeOff(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errs.New(errs.Invalid, "file_too_large", "the file has more than %d bytes: send it compressed, or in parts with mode=delta", a.Limits.FileBytes)
	}
	return errs.Wrap(err, errs.Invalid, "file_broke_off", "the file did not arrive whole: send it again")
}

// sendFile sends the header and the bytes of the body. Only a body that came to its end ends the call: half a file must
// not look whole.
func sendFile(stream directoryv1.DirectoryService_ImportPeopleClient, header *directoryv1.ImportHeader, body io.Reader, brokeOff func(error)) {
	// Errors of Send are io.EOF; the other direction tells what is wrong.
	if stream.Send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Header{Header: header}}) != nil {
		return
	}
	buf := make([]byte, chunkBytes)
	for {
		n, err := fill(body, buf)
		if n > 0 && stream.Send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Chunk{Chunk: buf[:n]}}) != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			_ = stream.CloseSend()
			return
		}
		if err != nil {
			brokeOff(err)
			return
		}
	}
}

// fill reads until buf is full or the reader ends. Unlike io.ReadFull it does not mistake a body that is cut short for
// one that is at its end.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// relay writes the answers of the import, a line each, and reports whether there were any.
func relay(x *exchange, stream directoryv1.DirectoryService_ImportPeopleClient) (wrote bool, err error) {
	m := newMarshaler()
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return wrote, nil
		}
		if err != nil {
			return wrote, err
		}
		line, err := m.Marshal(map[string]any{"result": res})
		if err != nil {
			return wrote, err
		}
		if !wrote {
			x.Header().Set("Content-Type", m.StreamContentType(nil))
			wrote = true
		}
		if _, err := x.Write(append(line, '\n')); err != nil {
			return wrote, err
		}
		if err := x.rc.Flush(); err != nil {
			return wrote, err
		}
	}
}

func writeLine(x *exchange, v any) {
	_ = json.NewEncoder(x).Encode(v) // the client is gone
}
