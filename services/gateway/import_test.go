package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	"github.com/catalogsync/catalogsync/services/gateway"
)

func TestImportOverHTTP(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.answer(directoryv1.DirectoryService_ImportPeople_FullMethodName, func(_ context.Context, _ proto.Message, send func(proto.Message) error) error {
		if err := send(&directoryv1.ImportPeopleResponse{Message: &directoryv1.ImportPeopleResponse_LineError{LineError: &directoryv1.LineError{Line: 7, Column: "email"}}}); err != nil {
			return err
		}
		return send(&directoryv1.ImportPeopleResponse{Message: &directoryv1.ImportPeopleResponse_Summary{Summary: &directoryv1.ImportSummary{Lines: 9}}})
	})
	file := bytes.Repeat([]byte("0123456789abcde\n"), 70_000) // 1.1 MB: over the limit of other bodies, five chunks
	a := w.http(t, "POST", "/v1/people:import?mode=full&name=people.csv&compression=none", w.token(t, "acme", admin), string(file), "Content-Type: text/csv; charset=utf-8")
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" || len(lines) != 2 ||
		!strings.Contains(lines[0], `"line_error":{"line":"7","column":"email"`) || !strings.Contains(lines[1], `"summary":{"lines":"9"`) {
		t.Errorf("%d %v %q", a.status, a.header, lines)
	}
	calls := w.got(directoryv1.DirectoryService_ImportPeople_FullMethodName)
	if len(calls) != 1 {
		t.Fatalf("%d calls", len(calls))
	}
	want := &directoryv1.ImportHeader{FileName: "people.csv", Mode: directoryv1.ImportMode_IMPORT_MODE_FULL, Format: directoryv1.FileFormat_FILE_FORMAT_CSV, Compression: directoryv1.Compression_COMPRESSION_NONE}
	if got := calls[0].sent[0].(*directoryv1.ImportPeopleRequest).GetHeader(); !proto.Equal(got, want) {
		t.Errorf("header is %v", got)
	}
	var got []byte
	for _, m := range calls[0].sent[1:] {
		chunk := m.(*directoryv1.ImportPeopleRequest).GetChunk()
		if len(chunk) > 256<<10 {
			t.Errorf("chunk of %d bytes", len(chunk))
		}
		got = append(got, chunk...)
	}
	if !bytes.Equal(got, file) {
		t.Errorf("%d bytes arrived of %d", len(got), len(file))
	}
}

func TestHalfAFileIsNoFile(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *gateway.Config) { c.MaxFileBytes, c.Stall = 1000, 300*time.Millisecond })
	token := w.token(t, "acme", admin)
	a := w.http(t, "POST", "/v1/people:import", token, strings.Repeat("x", 2000))
	if a.status != http.StatusBadRequest || a.problem() != "INVALID_ARGUMENT file_too_large" {
		t.Errorf("a file that is too large: %d %s", a.status, a.body)
	}
	for name, rest := range map[string]string{
		"shorter than promised":  "Content-Length: 900\r\n\r\nid\n1\n",
		"a chunk without an end": "Transfer-Encoding: chunked\r\n\r\n5\r\nid\n1\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "POST /v1/people:import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s", token, rest); err != nil {
			t.Fatal(err)
		}
		if name == "a chunk without an end" { // the client goes
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		} // else it stalls
		answer, err := io.ReadAll(conn)
		if err != nil || bytes.Contains(answer, []byte(" 200 ")) {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		_ = conn.Close()
	}
	for _, c := range w.got(directoryv1.DirectoryService_ImportPeople_FullMethodName) {
		if c.err == nil {
			t.Errorf("half a file was taken for whole: %v", c.sent)
		}
	}
}
