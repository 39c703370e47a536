package client_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// people is a DirectoryService that does with an import what the test wants.
type people struct {
	directoryv1.UnimplementedDirectoryServiceServer
	take func(importServer) error
}

type importServer = grpc.BidiStreamingServer[directoryv1.ImportPeopleRequest, directoryv1.ImportPeopleResponse]

func (p people) ImportPeople(s importServer) error { return p.take(s) }

func dial(t *testing.T, take func(importServer) error) *client.Client {
	t.Helper()
	server := grpc.NewServer()
	directoryv1.RegisterDirectoryServiceServer(server, people{take: take})
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	c, err := client.Dial(client.Options{Server: lis.Addr().String(), Token: "cs_x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func header() *directoryv1.ImportHeader { return &directoryv1.ImportHeader{FileName: "people.csv"} }

// Every byte arrives once and in order, while lines at fault come back.
func TestImport(t *testing.T) {
	t.Parallel()
	file := strings.Repeat("0123456789abcdef", 70_000) // more than four chunks
	c := dial(t, func(s importServer) error {
		var got strings.Builder
		for {
			m, err := s.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if len(m.GetChunk()) > 256<<10 {
				t.Errorf("a chunk has %d bytes", len(m.GetChunk()))
			}
			got.Write(m.GetChunk())
			line := &directoryv1.ImportPeopleResponse_LineError{LineError: &directoryv1.LineError{Line: int64(got.Len())}}
			if err := s.Send(&directoryv1.ImportPeopleResponse{Message: line}); err != nil {
				return err
			}
		}
		if got.String() != file {
			t.Error("what arrived is not what was sent")
		}
		return s.Send(&directoryv1.ImportPeopleResponse{Message: &directoryv1.ImportPeopleResponse_Summary{Summary: &directoryv1.ImportSummary{Lines: 7}}})
	})
	var last, faults int64
	sum, err := c.Import(t.Context(), header(), iotest.OneByteReader(strings.NewReader(file)),
		func(n int64) { last = n }, func(*directoryv1.LineError) { faults++ })
	if err != nil || sum.GetLines() != 7 || last != int64(len(file)) || faults != 6 {
		t.Errorf("the import ends with %v, %v after %d bytes and %d faults", sum, err, last, faults)
	}
}

// A file that cannot be read to its end, and a server that ends early, both end the import with the reason.
func TestImportThatBreaks(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	c := dial(t, func(s importServer) error {
		for {
			if _, err := s.Recv(); err != nil {
				return err
			}
		}
	})
	_, err := c.Import(t.Context(), header(), io.MultiReader(strings.NewReader("id\n1\n"), iotest.ErrReader(broken)), nil, nil)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "people.csv") {
		t.Errorf("a file that breaks: %v", err)
	}
	refusing := dial(t, func(importServer) error { return errs.New(errs.Conflict, "import_running", "another import runs") })
	_, err = refusing.Import(t.Context(), header(), strings.NewReader(strings.Repeat("x", 10<<20)), nil, nil)
	if errs.ReasonOf(err) != "import_running" {
		t.Errorf("a server that refuses: %v", err)
	}
	silent := dial(t, func(importServer) error { return nil })
	if _, err = silent.Import(t.Context(), header(), strings.NewReader("id\n"), nil, nil); err == nil {
		t.Error("an import without a summary is taken for one that went well")
	}
}
