package mapper_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/mapper"
)

// clients talk to a mapper over gRPC in memory.
type clients struct {
	maps mapperv1.FieldMapServiceClient
	eval mapperv1.MapperServiceClient
}

// serve starts a mapper on the bus.
func serve(t testing.TB, b *bus.Bus) clients {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	service, err := mapper.New(ctx, mapper.DefaultConfig(), mapper.Deps{Log: testkit.Logger(t), Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t), Health: service.Health, Stopping: ctx.Done()})
	service.Register(server)
	network := rpc.NewMemNet()
	lis := network.Listen("mapper")
	var running sync.WaitGroup
	running.Go(func() { _ = rpc.Serve(ctx, server, lis, time.Second) })
	running.Go(func() {
		if err := service.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	conn, err := network.Dial("mapper", rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		running.Wait()
	})
	return clients{mapperv1.NewFieldMapServiceClient(conn), mapperv1.NewMapperServiceClient(conn)}
}

// as returns a context in which an admin of the tenant calls.
func as(t testing.TB, tenant string) context.Context {
	return rpc.WithCaller(t.Context(), rpc.Caller{Tenant: tenant, Subject: "ada", Role: optionsv1.Role_ROLE_ADMIN})
}

func field(name, fieldType string, length int32, change ...func(*salesforcev1.FieldDescribe)) *salesforcev1.FieldDescribe {
	f := &salesforcev1.FieldDescribe{Name: name, Label: name, Type: fieldType, Length: length, Createable: true, Updateable: true, Nillable: true}
	for _, c := range change {
		c(f)
	}
	return f
}

func contact() *salesforcev1.ObjectDescribe {
	return &salesforcev1.ObjectDescribe{Name: "Contact", Label: "Contact", Fields: []*salesforcev1.FieldDescribe{
		field("FirstName", "string", 40),
		field("LastName", "string", 80, func(f *salesforcev1.FieldDescribe) { f.Nillable = false }),
		field("Email", "email", 80), field("Phone", "phone", 40), field("Title", "string", 128),
		field("MailingStreet", "textarea", 255), field("MailingCity", "string", 40), field("MailingPostalCode", "string", 20),
		field("MailingCountry", "string", 80), field("Department", "string", 80), field("MobilePhone", "phone", 40),
		field("Catalog_Id__c", "string", 64, func(f *salesforcev1.FieldDescribe) { f.ExternalId, f.Unique = true, true }),
	}}
}

func contactMap(pairs ...*mapperv1.Pair) *mapperv1.FieldMap {
	return &mapperv1.FieldMap{ConnectionId: "c1", Object: "Contact", Pairs: pairs}
}

func wantKind(t *testing.T, err error, kind errs.Kind, reason string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Fatalf("error %v (%v, %s), want %v, %s", err, errs.KindOf(err), errs.ReasonOf(err), kind, reason)
	}
}

func TestFieldMapsHaveVersions(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")

	_, err := c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.NotFound, "no_field_map")

	req := &mapperv1.SaveFieldMapRequest{FieldMap: contactMap(&mapperv1.Pair{Source: "title", Target: "title"}), Describe: contact(), ValidateOnly: true}
	checked, err := c.maps.SaveFieldMap(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	want := &mapperv1.FieldMap{ConnectionId: "c1", Object: "Contact", Pairs: []*mapperv1.Pair{
		{Source: "title", Target: "Title", Type: "string", Length: 128},
		{Source: "first_name", Target: "FirstName", Type: "string", Length: 40},
		{Source: "last_name", Target: "LastName", Type: "string", Length: 80},
		{Source: "email", Target: "Email", Type: "email", Length: 80},
	}}
	if diff := cmp.Diff(want, checked.GetFieldMap(), protocmp.Transform()); diff != "" {
		t.Errorf("checked map (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"FirstName", "LastName", "Email"}, checked.GetAdded()); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	_, err = c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.NotFound, "no_field_map")

	req.ValidateOnly = false
	first, err := c.maps.SaveFieldMap(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if m := first.GetFieldMap(); m.GetVersion() != 1 || m.GetAuthor() != "ada" || !m.GetSavedAt().IsValid() {
		t.Errorf("first version %v", m)
	}
	// What was stored, sent back, means the same.
	again, err := c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: first.GetFieldMap(), Describe: contact()})
	if err != nil || !proto.Equal(again.GetFieldMap(), first.GetFieldMap()) || len(again.GetAdded()) > 0 {
		t.Errorf("an unchanged map gave %v, %v", again, err)
	}
	for i := range int32(6) {
		req.FieldMap.Pairs[0].DefaultValue = fmt.Sprintf("Member %d", i)
		saved, err := c.maps.SaveFieldMap(ctx, req)
		if err != nil || saved.GetFieldMap().GetVersion() != i+2 {
			t.Fatalf("saved %v, %v; want version %d", saved, err, i+2)
		}
		latest, err := c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
		if err != nil || !proto.Equal(latest.GetFieldMap(), saved.GetFieldMap()) {
			t.Fatalf("latest is %v, %v; want %v", latest, err, saved)
		}
	}
	old, err := c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1", Version: 1})
	if err != nil || !proto.Equal(old.GetFieldMap(), first.GetFieldMap()) {
		t.Errorf("version 1 is %v, %v", old, err)
	}
	_, err = c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1", Version: 8})
	wantKind(t, err, errs.NotFound, "no_field_map")
	_, err = c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1", Version: -1})
	wantKind(t, err, errs.Invalid, "bad_version")

	all, err := c.maps.ListFieldMaps(ctx, &mapperv1.ListFieldMapsRequest{ConnectionId: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int32
	for _, m := range all.GetFieldMaps() {
		numbers = append(numbers, m.GetVersion())
	}
	if diff := cmp.Diff([]int32{7, 6, 5, 4, 3, 2, 1}, numbers); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func TestFieldMapsBelongToATenant(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	if _, err := c.maps.SaveFieldMap(as(t, "acme"), &mapperv1.SaveFieldMapRequest{FieldMap: contactMap(), Describe: contact()}); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"other", "acme.c1", "*", ">", ""} {
		_, err := c.maps.GetFieldMap(as(t, tenant), &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
		if tenant == "" {
			wantKind(t, err, errs.Unauthenticated, "no_tenant")
			continue
		}
		wantKind(t, err, errs.NotFound, "no_field_map")
		all, err := c.maps.ListFieldMaps(as(t, tenant), &mapperv1.ListFieldMapsRequest{ConnectionId: "c1"})
		if err != nil || len(all.GetFieldMaps()) > 0 {
			t.Errorf("tenant %q sees %v, %v", tenant, all, err)
		}
	}
	_, err := c.maps.GetFieldMap(t.Context(), &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.Unauthenticated, "no_tenant")
}

func TestSavingAtOnceLosesNoVersion(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	mappers := []clients{serve(t, server.Bus(t)), serve(t, server.Bus(t))}
	const each = 8
	var group sync.WaitGroup
	for i := range 2 * each {
		group.Go(func() {
			req := &mapperv1.SaveFieldMapRequest{Describe: contact(), FieldMap: contactMap(&mapperv1.Pair{Source: "title", Target: "Title", DefaultValue: fmt.Sprint(i)})}
			if _, err := mappers[i%2].maps.SaveFieldMap(as(t, "acme"), req); err != nil {
				t.Errorf("save: %v", err)
			}
		})
	}
	group.Wait()
	all, err := mappers[0].maps.ListFieldMaps(as(t, "acme"), &mapperv1.ListFieldMapsRequest{ConnectionId: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, m := range all.GetFieldMaps() {
		if want := int32(2*each - i); m.GetVersion() != want {
			t.Errorf("version %d at place %d, want %d", m.GetVersion(), i, want)
		}
		seen[m.GetPairs()[0].GetDefaultValue()] = true
	}
	if len(seen) != 2*each {
		t.Errorf("%d different maps are stored, want %d", len(seen), 2*each)
	}
}

func TestSaveFieldMapReportsEverything(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")
	_, err := c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{Describe: contact(), FieldMap: contactMap(
		&mapperv1.Pair{Source: "titel", Target: "Title"}, &mapperv1.Pair{Source: "attributes.shoe", Target: "Shoe__c"},
	)})
	wantKind(t, err, errs.Invalid, "invalid_field_map")
	for _, part := range []string{"pair 1 (titel -> Title)", "pair 2 (attributes.shoe -> Shoe__c): no person", "Contact has no field Shoe__c"} {
		if !strings.Contains(errs.Message(err), part) {
			t.Errorf("message %q lacks %q", errs.Message(err), part)
		}
	}
	tests := map[string]struct {
		req    *mapperv1.SaveFieldMapRequest
		reason string
	}{
		"nothing":           {&mapperv1.SaveFieldMapRequest{}, "no_connection"},
		"connection":        {&mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{ConnectionId: strings.Repeat("x", 129)}}, "no_connection"},
		"no describe":       {&mapperv1.SaveFieldMapRequest{FieldMap: contactMap()}, "no_describe"},
		"another object":    {&mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{ConnectionId: "c1", Object: "Account"}, Describe: contact()}, "invalid_field_map"},
		"unknown attribute": {&mapperv1.SaveFieldMapRequest{FieldMap: contactMap(&mapperv1.Pair{Source: "attributes.a", Target: "Title"}), Describe: contact(), Attributes: []string{"attributes.b"}}, "invalid_field_map"},
	}
	for name, tt := range tests {
		_, err := c.maps.SaveFieldMap(ctx, tt.req)
		t.Log(name)
		wantKind(t, err, errs.Invalid, tt.reason)
	}
	// Very many problems still make an error that every client can take.
	many := contactMap()
	for i := range 400 {
		many.Pairs = append(many.Pairs, &mapperv1.Pair{Source: strings.Repeat("é", 500), Target: fmt.Sprintf("No_%03d__c", i)})
	}
	_, err = c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: many, Describe: contact()})
	wantKind(t, err, errs.Invalid, "invalid_field_map")
	if m := errs.Message(err); len(m) > 4000 || !utf8.ValidString(m) || !strings.Contains(m, "\n- No_012__c: unknown_source") || !strings.Contains(m, " more") {
		t.Errorf("message of %d bytes: %s", len(m), m)
	}
	saved, err := c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{
		FieldMap: contactMap(&mapperv1.Pair{Source: "attributes.a", Target: "Title"}), Describe: contact(), Attributes: []string{"attributes.a"},
	})
	if err != nil || saved.GetFieldMap().GetVersion() != 1 {
		t.Errorf("a known attribute gave %v, %v", saved, err)
	}
}

func TestCheckFieldMap(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	saved, err := c.maps.SaveFieldMap(as(t, "acme"), &mapperv1.SaveFieldMapRequest{
		FieldMap: contactMap(&mapperv1.Pair{Source: "title", Target: "Title"}, &mapperv1.Pair{Source: "phone", Target: "Phone"}), Describe: contact(),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.eval.CheckFieldMap(t.Context(), &mapperv1.CheckFieldMapRequest{FieldMap: saved.GetFieldMap(), Describe: contact()})
	if err != nil || len(got.GetProblems()) > 0 {
		t.Fatalf("problems %v, %v", got, err)
	}
	today := contact()
	today.Fields[4].Length = 40
	today.Fields[3].Createable, today.Fields[3].Updateable = false, false
	got, err = c.eval.CheckFieldMap(t.Context(), &mapperv1.CheckFieldMapRequest{FieldMap: saved.GetFieldMap(), Describe: today})
	if err != nil || len(got.GetProblems()) != 2 {
		t.Fatalf("problems %v, %v", got, err)
	}
	if p := got.GetProblems()[0]; p.GetCode() != "field_shorter" || p.GetField() != "Title" || !p.GetAdvisory() {
		t.Errorf("problem %v", p)
	}
	if p := got.GetProblems()[1]; p.GetCode() != "not_writable" || p.GetField() != "Phone" || p.GetAdvisory() {
		t.Errorf("problem %v", p)
	}
}

// header is a complete map with an external id.
func header(columns ...string) *mapperv1.MapHeader {
	return &mapperv1.MapHeader{Describe: contact(), PersonColumns: columns, FieldMap: &mapperv1.FieldMap{
		ConnectionId: "c1", Version: 1, Object: "Contact", ExternalIdField: "Catalog_Id__c", Pairs: []*mapperv1.Pair{
			{Source: "id", Target: "Catalog_Id__c"},
			{Source: "first_name", Target: "FirstName"},
			{Source: "last_name", Target: "LastName"},
			{Source: "email", Target: "Email"},
			{Source: "title", Target: "Title"},
		},
	}}
}

func TestMapPeople(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	stream, err := c.eval.MapPeople(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *mapperv1.MapPeopleRequest) {
		t.Helper()
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	send(&mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Header{Header: header("id", "first_name", "last_name", "email", "title")}})
	batches := [][]*mapperv1.PersonAndRecord{
		{
			{Person: &rowv1.Row{Id: "1", Values: []string{"1", " Ada ", "Lovelace", "ada@example.com", ""}, Null: []uint32{4}}},
			{
				Person: &rowv1.Row{Id: "2", Values: []string{"2", "", "", "bob", ""}, Absent: []uint32{1, 2, 4}},
				Record: &rowv1.Row{Id: "003000000000001AAA"},
			},
		},
		nil,
		{{Person: &rowv1.Row{Id: "3", Values: []string{"3", "Cy", "", "", "x"}, Null: []uint32{2, 3}}}},
	}
	want := [][]*mapperv1.MappedPerson{
		{
			{Values: &rowv1.Row{Id: "1", Values: []string{"1", "Ada", "Lovelace", "ada@example.com", ""}, Null: []uint32{4}}},
			{
				Values:   &rowv1.Row{Id: "2", Values: []string{"2", "", "", "", ""}, Absent: []uint32{1, 2, 3, 4}},
				Problems: []*mapperv1.Problem{{Code: "invalid_email", Field: "Email", Message: `Email: "bob" has no @ and Salesforce would refuse it: correct the e-mail in the Catalog`}},
			},
		},
		nil,
		{{
			Values: &rowv1.Row{Id: "3", Values: []string{"3", "Cy", "", "", "x"}, Null: []uint32{3}, Absent: []uint32{2}},
			Problems: []*mapperv1.Problem{{
				Code: "required", Field: "LastName",
				Message: "LastName: the person has no last_name and Salesforce requires it: fill it in the Catalog, or give the pair a default value",
			}},
		}},
	}
	for i, batch := range batches {
		send(&mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Batch{Batch: &mapperv1.PeopleAndRecords{Rows: batch}}})
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[i], got.GetPeople(), protocmp.Transform()); diff != "" {
			t.Errorf("batch %d (-want +got):\n%s", i, diff)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last batch: %v", err)
	}
}

func TestMatchKeys(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	stream, err := c.eval.MatchKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*mapperv1.MatchKeysRequest{
		{Message: &mapperv1.MatchKeysRequest_Header{Header: header("email", "id")}},
		{Message: &mapperv1.MatchKeysRequest_People{People: &mapperv1.People{Rows: []*rowv1.Row{
			{Id: "P-1", Values: []string{" Ada@Example.com", "P-1"}}, {Id: "P-2", Values: []string{"", "P-2"}, Null: []uint32{0}},
		}}}},
	} {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	got, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	want := []*mapperv1.MatchKey{{ExternalId: "p-1", Email: "ada@example.com"}, {ExternalId: "p-2"}}
	if diff := cmp.Diff(want, got.GetKeys(), protocmp.Transform()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestStreamsRefuseWhatIsNoBatch(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	people := func(values ...string) *mapperv1.MapPeopleRequest {
		return &mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Batch{Batch: &mapperv1.PeopleAndRecords{
			Rows: []*mapperv1.PersonAndRecord{{Person: &rowv1.Row{Values: values}}},
		}}}
	}
	headed := func(h *mapperv1.MapHeader) *mapperv1.MapPeopleRequest {
		return &mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Header{Header: h}}
	}
	drifted := header("id")
	drifted.Describe.Fields = drifted.Describe.Fields[1:]
	tests := map[string]struct {
		messages []*mapperv1.MapPeopleRequest
		kind     errs.Kind
		reason   string
	}{
		"nothing":         {nil, errs.Invalid, "no_header"},
		"no header":       {[]*mapperv1.MapPeopleRequest{people("1")}, errs.Invalid, "no_header"},
		"two headers":     {[]*mapperv1.MapPeopleRequest{headed(header("id")), headed(header("id"))}, errs.Invalid, "no_batch"},
		"empty message":   {[]*mapperv1.MapPeopleRequest{headed(header("id")), {}}, errs.Invalid, "no_batch"},
		"short row":       {[]*mapperv1.MapPeopleRequest{headed(header("id", "email")), people("1")}, errs.Invalid, "row_length"},
		"long row":        {[]*mapperv1.MapPeopleRequest{headed(header("id")), people("1", "2")}, errs.Invalid, "row_length"},
		"drifted":         {[]*mapperv1.MapPeopleRequest{headed(drifted)}, errs.Precondition, "field_map_unusable"},
		"empty header":    {[]*mapperv1.MapPeopleRequest{headed(&mapperv1.MapHeader{})}, errs.Precondition, "field_map_unusable"},
		"repeated column": {[]*mapperv1.MapPeopleRequest{headed(header("id", "id"))}, errs.Precondition, "field_map_unusable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream, err := c.eval.MapPeople(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range tt.messages {
				if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			_ = stream.CloseSend()
			_, err = stream.Recv()
			wantKind(t, err, tt.kind, tt.reason)
		})
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	c := mapper.DefaultConfig()
	fs := flag.NewFlagSet("mapper", flag.ContinueOnError)
	c.RegisterFlags(fs)
	if err := fs.Parse([]string{"-max-pairs", "3"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "-max-pairs") {
		t.Errorf("validate: %v", err)
	}
	if _, err := mapper.New(t.Context(), c, mapper.Deps{}); err == nil {
		t.Error("New takes a configuration that is not valid")
	}
	if _, err := mapper.New(t.Context(), mapper.DefaultConfig(), mapper.Deps{}); err == nil {
		t.Error("New takes no dependencies")
	}
}

// BenchmarkMapPeople maps batches of 1,000 people by ten pairs, over gRPC in memory: both sides' encoding included.
func BenchmarkMapPeople(b *testing.B) {
	c := serve(b, testkit.Bus(b))
	columns := []string{"id", "first_name", "last_name", "email", "title", "phone", "street", "city", "postal_code", "country"}
	targets := []string{"Catalog_Id__c", "FirstName", "LastName", "Email", "Title", "Phone", "MailingStreet", "MailingCity", "MailingPostalCode", "MailingCountry"}
	h := header(columns...)
	h.FieldMap.Pairs = nil
	for i := range columns {
		h.FieldMap.Pairs = append(h.FieldMap.Pairs, &mapperv1.Pair{Source: columns[i], Target: targets[i]})
	}
	batch := &mapperv1.PeopleAndRecords{}
	for i := range 1000 {
		n := fmt.Sprint(i)
		batch.Rows = append(batch.Rows, &mapperv1.PersonAndRecord{Person: &rowv1.Row{Id: "P-" + n, Values: []string{
			"P-" + n, "Zoë", "Person " + n, "person" + n + "@example.com", "Engineer", "+1 555 " + n, "Main Street " + n, "Berlin", "10115", "Germany",
		}}})
	}
	stream, err := c.eval.MapPeople(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.Send(&mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Header{Header: h}}); err != nil {
		b.Fatal(err)
	}
	req := &mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Batch{Batch: batch}}
	b.ReportAllocs()
	people, began := 0, cpu(b)
	for b.Loop() {
		if err := stream.Send(req); err != nil {
			b.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil || len(resp.GetPeople()) != len(batch.Rows) {
			b.Fatalf("%d people, %v", len(resp.GetPeople()), err)
		}
		people += len(batch.Rows)
	}
	b.ReportMetric(float64(people)/b.Elapsed().Seconds(), "people/s")
	b.ReportMetric(float64(people)/(cpu(b)-began).Seconds(), "people/cpu-s")
}

// cpu returns the processor time that this process has had: unlike the time that passes, it is the same on a busy machine.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
