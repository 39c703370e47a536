package mapper_test

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

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
				Problems: []*mapperv1.Problem{{Code: "invalid_email", Field: "Email", Message: `Email: "bob" has no @ and Salesforce would refuse it: correct the e-mail in the Catalog`, Scope: mapperv1.Scope_SCOPE_PERSON}},
			},
		},
		nil,
		{{
			Values: &rowv1.Row{Id: "3", Values: []string{"3", "Cy", "", "", "x"}, Null: []uint32{3}, Absent: []uint32{2}},
			Problems: []*mapperv1.Problem{{
				Code: "required", Field: "LastName",
				Message: "LastName: the person has no last_name and Salesforce requires it: fill it in the Catalog, or give the pair a default value", Scope: mapperv1.Scope_SCOPE_PERSON,
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
