package directoryrpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directoryrpc"
)

// bundle is a client of a server over gRPC in memory.
type bundle struct {
	client directoryv1.DirectoryServiceClient
	dir    directory.Directory
	ctx    context.Context // of tenant acme
}

func setup(t *testing.T, idle time.Duration) *bundle {
	t.Helper()
	dir, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "people.db"))
	if err != nil {
		t.Fatal(err)
	}
	log := testkit.Logger(t)
	service := directoryrpc.New(dir, log)
	if idle > 0 {
		service.SetIdle(idle)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := rpc.NewServer(rpc.ServerOptions{Log: log, Stopping: ctx.Done()})
	directoryv1.RegisterDirectoryServiceServer(server, service)
	net := rpc.NewMemNet()
	lis := net.Listen("sync-worker")
	served := make(chan error)
	go func() { served <- rpc.Serve(ctx, server, lis, 10*time.Second) }()
	conn, err := net.Dial("sync-worker", rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, conn.Close(), dir.Close()); err != nil {
			t.Error(err)
		}
	})
	return &bundle{
		client: directoryv1.NewDirectoryServiceClient(conn), dir: dir,
		ctx: rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "acme", Subject: "test", Role: optionsv1.Role_ROLE_ADMIN}),
	}
}

func header(h *directoryv1.ImportHeader) *directoryv1.ImportPeopleRequest {
	return &directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Header{Header: h}}
}

func chunk(b []byte) *directoryv1.ImportPeopleRequest {
	return &directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Chunk{Chunk: b}}
}

// load sends a file in chunks of that size, all of it before it reads an answer.
func (b *bundle) load(t *testing.T, h *directoryv1.ImportHeader, file []byte, size int) ([]*directoryv1.LineError, *directoryv1.ImportSummary, error) {
	t.Helper()
	stream, err := b.client.ImportPeople(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(header(h))
	for len(file) > 0 && err == nil {
		n := min(size, len(file))
		err = stream.Send(chunk(file[:n]))
		file = file[n:]
	}
	if err != nil && !errors.Is(err, io.EOF) { // the stream's own error comes with Recv
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	return receive(stream)
}

func receive(stream directoryv1.DirectoryService_ImportPeopleClient) (faults []*directoryv1.LineError, summary *directoryv1.ImportSummary, err error) {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return faults, summary, nil
		}
		if err != nil {
			return faults, summary, err
		}
		if summary != nil {
			return faults, summary, errors.New("a message behind the summary")
		}
		summary = m.GetSummary()
		if e := m.GetLineError(); e != nil {
			faults = append(faults, e)
		}
	}
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

func check(t *testing.T, err error, kind errs.Kind, reason string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Fatalf("err = %v (%v %s), want %v %s", err, errs.KindOf(err), errs.ReasonOf(err), kind, reason)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	var file bytes.Buffer
	if err := sample.WriteCSV(&file, sample.Options{People: 2_000, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	full := &directoryv1.ImportHeader{FileName: "people.csv", Mode: directoryv1.ImportMode_IMPORT_MODE_FULL}
	for i, size := range []int{256 << 10, 1_000, 64 << 10} {
		faults, summary, err := b.load(t, full, file.Bytes(), size)
		if err != nil || len(faults) != 0 {
			t.Fatal(faults, err)
		}
		want := &directoryv1.ImportSummary{Lines: 2_000, Unchanged: 2_000}
		if i == 0 {
			want = &directoryv1.ImportSummary{Lines: 2_000, Added: 2_000}
		}
		equal(t, want, summary)
	}
	count, err := b.client.CountPeople(b.ctx, &directoryv1.CountPeopleRequest{})
	if err != nil || count.GetPeople() != 2_000 || len(count.GetBySubaccount()) != 2 {
		t.Errorf("%v, %v", count, err)
	}

	faults, summary, err := b.load(t, &directoryv1.ImportHeader{}, []byte("id,email,active\nP0000001,x,perhaps\n,y,\n\"a\nb\"c,d,e\nnew,n,1\n"), 7)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, &directoryv1.ImportSummary{Lines: 5, Added: 1, Rejected: 4}, summary)
	equal(t, []*directoryv1.LineError{
		{Line: 2, Column: "active", Value: "perhaps", Message: "the value is neither true nor false; use true, false, yes, no, 1 or 0"},
		{Line: 3, Column: "id", Message: "the id is missing; every person needs one"},
		{Line: 4, Column: "id", Value: "a\nb", Message: "text follows the quote that closes a value; double every quote within the value"},
		{Line: 5, Column: "id", Value: `b"c`, Message: `a quote stands in a value that does not begin with one; write the value as "..." with every quote in it doubled`},
	}, faults)

	_, summary, err = b.load(t, full, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, &directoryv1.ImportSummary{GoneWithheld: "the file is empty"}, summary)
	ndjson := &directoryv1.ImportHeader{Format: directoryv1.FileFormat_FILE_FORMAT_NDJSON, Compression: directoryv1.Compression_COMPRESSION_NONE, Mode: directoryv1.ImportMode_IMPORT_MODE_FULL}
	_, summary, err = b.load(t, ndjson, []byte(`{"id":"new","email":"n","active":true}`), 3)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, &directoryv1.ImportSummary{Lines: 1, Unchanged: 1, Gone: 2_000}, summary)
}

// TestImportManyFaults sends more faults than fit into a connection's buffers to a client that reads them last.
func TestImportManyFaults(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	file := []byte("id,active\n" + strings.Repeat("x,"+strings.Repeat("é", 500)+"\n", 5_000) + "y,yes\n")
	faults, summary, err := b.load(t, &directoryv1.ImportHeader{FileName: "p.csv"}, file, 256<<10)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, &directoryv1.ImportSummary{Lines: 5_001, Added: 1, Rejected: 5_000}, summary)
	if len(faults) != 1_000 || faults[999].GetLine() != 1_001 {
		t.Errorf("%d faults", len(faults))
	}
}

func TestImportErrors(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	good := &directoryv1.ImportHeader{FileName: "p.csv"}
	for name, c := range map[string]struct {
		send   []*directoryv1.ImportPeopleRequest
		kind   errs.Kind
		reason string
	}{
		"nothing":         {nil, errs.Invalid, "import_header"},
		"no header":       {[]*directoryv1.ImportPeopleRequest{chunk([]byte("id\n"))}, errs.Invalid, "import_header"},
		"empty message":   {[]*directoryv1.ImportPeopleRequest{{}}, errs.Invalid, "import_header"},
		"header twice":    {[]*directoryv1.ImportPeopleRequest{header(good), header(good)}, errs.Invalid, "import_chunk"},
		"header at end":   {[]*directoryv1.ImportPeopleRequest{header(good), chunk([]byte("id\n1\n")), header(good)}, errs.Invalid, "import_chunk"},
		"large chunk":     {[]*directoryv1.ImportPeopleRequest{header(good), chunk(make([]byte, 256<<10+1))}, errs.Invalid, "import_chunk"},
		"format":          {[]*directoryv1.ImportPeopleRequest{header(&directoryv1.ImportHeader{Format: 9})}, errs.Invalid, "import_header"},
		"compression":     {[]*directoryv1.ImportPeopleRequest{header(&directoryv1.ImportHeader{Compression: 9})}, errs.Invalid, "import_header"},
		"mode":            {[]*directoryv1.ImportPeopleRequest{header(&directoryv1.ImportHeader{Mode: 9})}, errs.Invalid, "import_header"},
		"wrong file":      {[]*directoryv1.ImportPeopleRequest{header(good), chunk([]byte("\x89PNG\r\n\x1a\n\x00"))}, errs.Invalid, "unknown_format"},
		"cut compression": {[]*directoryv1.ImportPeopleRequest{header(good), chunk([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))}, errs.Invalid, "damaged_file"},
	} {
		stream, err := b.client.ImportPeople(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.send {
			if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		_, summary, err := receive(stream)
		if errs.KindOf(err) != c.kind || errs.ReasonOf(err) != c.reason || summary != nil {
			t.Errorf("%s: %v (%s), %v", name, err, errs.ReasonOf(err), summary)
		}
	}
	// None of them left an import open, or a slot taken.
	if _, _, err := b.load(t, good, []byte("id\n1\n"), 10); err != nil {
		t.Error(err)
	}
}

// begin starts an import and returns when the directory has it.
func (b *bundle) begin(t *testing.T, ctx context.Context, tenant string) directoryv1.DirectoryService_ImportPeopleClient {
	t.Helper()
	stream, err := b.client.ImportPeople(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(header(&directoryv1.ImportHeader{FileName: "p.csv", Mode: directoryv1.ImportMode_IMPORT_MODE_FULL})); err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	lines.WriteString("id\n")
	for i := range 6_000 { // a batch and more
		fmt.Fprintf(&lines, "%s%d\n", tenant, i)
	}
	if err := stream.Send(chunk(lines.Bytes())); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		c, err := b.dir.Count(t.Context(), tenant)
		if err == nil && c.People == 0 {
			err = errors.New("nobody is there yet")
		}
		return err
	})
	return stream
}

// TestImportAbandoned: a client that goes away, and one that sends no more, mark nobody gone and hold nothing up.
func TestImportAbandoned(t *testing.T) {
	t.Parallel()
	b := setup(t, 50*time.Millisecond)
	for _, send := range [][]*directoryv1.ImportPeopleRequest{nil, {header(&directoryv1.ImportHeader{FileName: "p.csv"})}} {
		stream, err := b.client.ImportPeople(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range send {
			if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		_, _, err = receive(stream)
		check(t, err, errs.Unavailable, "upload_stalled")
	}

	b = setup(t, 0)
	if _, _, err := b.load(t, &directoryv1.ImportHeader{FileName: "p.csv"}, []byte("id\nold\n"), 10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	stream := b.begin(t, ctx, "acme")
	cancel()
	if _, _, err := receive(stream); err == nil {
		t.Error("a cancelled import succeeded")
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		_, _, err := b.load(t, &directoryv1.ImportHeader{FileName: "p.csv"}, []byte("id\nnew\n"), 10)
		return err
	})
	p, err := b.client.GetPerson(b.ctx, &directoryv1.GetPersonRequest{Id: "old"})
	if err != nil || p.GetPerson().GetGone() {
		t.Errorf("%v, %v", p, err)
	}
}

func TestImportLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	as := func(tenant string) context.Context {
		return rpc.WithCaller(t.Context(), rpc.Caller{Tenant: tenant, Role: optionsv1.Role_ROLE_ADMIN})
	}
	streams := []directoryv1.DirectoryService_ImportPeopleClient{b.begin(t, as("acme"), "acme")}
	_, _, err := b.load(t, &directoryv1.ImportHeader{FileName: "p.csv"}, []byte("id\nold\n"), 10)
	check(t, err, errs.Conflict, "import_running")
	for _, tenant := range []string{"b", "c", "d"} {
		streams = append(streams, b.begin(t, as(tenant), tenant))
	}
	_, _, err = b.load(t, &directoryv1.ImportHeader{FileName: "p.csv"}, []byte("id\nold\n"), 10)
	check(t, err, errs.RateLimited, "imports_running")
	if errs.RetryAfter(err) == 0 {
		t.Error("it does not say when to try again")
	}
	for _, stream := range streams {
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		_, summary, err := receive(stream)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, &directoryv1.ImportSummary{Lines: 6_000, Added: 6_000}, summary)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	_, _, err := b.load(t, &directoryv1.ImportHeader{}, []byte(`{"id":"1","email":"Ann@example.com","phone":null,"city":"","subaccount":"north","cohort":"a"}
{"id":"2","email":"bob@example.com","subaccount":"south"}
{"id":"3"}`), 100)
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	outcome := &syncv1.Outcome{PersonId: "1", Kind: syncv1.OutcomeKind_OUTCOME_KIND_FAILED, Code: "X", Fields: []string{"LastName"}}
	if err := b.dir.ProjectOutcomes(t.Context(), "acme", "conn", "run1", ended, []*syncv1.Outcome{outcome}); err != nil {
		t.Fatal(err)
	}

	got, err := b.client.GetPerson(b.ctx, &directoryv1.GetPersonRequest{Id: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(got.GetPerson().GetChangedAt().AsTime()); age < 0 || age > time.Minute {
		t.Errorf("changed %v ago", age)
	}
	got.Person.ChangedAt = nil
	equal(t, &directoryv1.GetPersonResponse{
		Person: &directoryv1.Person{Id: "1", Fields: map[string]string{
			"email": "Ann@example.com", "city": "", "subaccount": "north", "attributes.cohort": "a",
		}},
		Outcomes: []*directoryv1.PersonOutcome{{ConnectionId: "conn", RunId: "run1", EndedAt: timestamppb.New(ended), Outcome: outcome}},
	}, got)
	_, err = b.client.GetPerson(b.ctx, &directoryv1.GetPersonRequest{Id: "4"})
	check(t, err, errs.NotFound, "no_person")
	_, err = b.client.GetPerson(b.ctx, &directoryv1.GetPersonRequest{})
	check(t, err, errs.Invalid, "no_id")

	fields, err := b.client.ListPersonFields(b.ctx, &directoryv1.ListPersonFieldsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, append(append([]string{"id"}, directory.FieldNames()...), "attributes.cohort"), fields.GetFields())

	var ids []string
	for req := (&directoryv1.ListPeopleRequest{PageSize: 1}); ; {
		page, err := b.client.ListPeople(b.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.GetPeople() {
			ids = append(ids, p.GetId())
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	equal(t, []string{"1", "2", "3"}, ids)
	for want, req := range map[string]*directoryv1.ListPeopleRequest{"1": {Prefix: "ann"}, "2": {Subaccount: "south"}} {
		page, err := b.client.ListPeople(b.ctx, req)
		if err != nil || len(page.GetPeople()) != 1 || page.GetPeople()[0].GetId() != want {
			t.Errorf("%v: %v, %v", req, page, err)
		}
	}
	_, err = b.client.ListPeople(b.ctx, &directoryv1.ListPeopleRequest{PageSize: 1_001})
	check(t, err, errs.Invalid, "page_size")
	_, err = b.client.ListPeople(b.ctx, &directoryv1.ListPeopleRequest{PageSize: -1})
	check(t, err, errs.Invalid, "page_size")
	_, err = b.client.ListPeople(b.ctx, &directoryv1.ListPeopleRequest{PageToken: "!"})
	check(t, err, errs.Invalid, "page_token")
}

// TestTenants: every method works for the caller's tenant alone, and without one not at all.
func TestTenants(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	if _, _, err := b.load(t, &directoryv1.ImportHeader{}, []byte("id,secret\n1,x\n"), 100); err != nil {
		t.Fatal(err)
	}
	other := &bundle{client: b.client, ctx: rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "other", Role: optionsv1.Role_ROLE_ADMIN})}
	_, err := other.client.GetPerson(other.ctx, &directoryv1.GetPersonRequest{Id: "1"})
	check(t, err, errs.NotFound, "no_person")
	page, err := other.client.ListPeople(other.ctx, &directoryv1.ListPeopleRequest{})
	if err != nil || len(page.GetPeople()) != 0 {
		t.Errorf("%v, %v", page, err)
	}
	count, err := other.client.CountPeople(other.ctx, &directoryv1.CountPeopleRequest{})
	if err != nil || count.GetPeople() != 0 {
		t.Errorf("%v, %v", count, err)
	}
	fields, err := other.client.ListPersonFields(other.ctx, &directoryv1.ListPersonFieldsRequest{})
	if err != nil || len(fields.GetFields()) != 1+directory.NumFields {
		t.Errorf("%v, %v", fields, err)
	}
	_, summary, err := other.load(t, &directoryv1.ImportHeader{Mode: directoryv1.ImportMode_IMPORT_MODE_FULL}, []byte("id\n2\n"), 100)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, &directoryv1.ImportSummary{Lines: 1, Added: 1}, summary)

	nobody := &bundle{client: b.client, ctx: t.Context()}
	calls := []error{}
	_, err = nobody.client.GetPerson(nobody.ctx, &directoryv1.GetPersonRequest{Id: "1"})
	calls = append(calls, err)
	_, err = nobody.client.ListPeople(nobody.ctx, &directoryv1.ListPeopleRequest{})
	calls = append(calls, err)
	_, err = nobody.client.CountPeople(nobody.ctx, &directoryv1.CountPeopleRequest{})
	calls = append(calls, err)
	_, err = nobody.client.ListPersonFields(nobody.ctx, &directoryv1.ListPersonFieldsRequest{})
	calls = append(calls, err)
	_, _, err = nobody.load(t, &directoryv1.ImportHeader{}, []byte("id\n2\n"), 100)
	calls = append(calls, err)
	for _, err := range calls {
		check(t, err, errs.Unauthenticated, "no_tenant")
	}
}
