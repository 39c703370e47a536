package mapper_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

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

func TestMapPeopleByRulesAndOverrides(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	h := header("id", "first_name", "last_name", "email", "title", "subaccount")
	h.Describe.Fields = append(h.Describe.Fields, field("AccountId", "reference", 18), field("Note__c", "string", 5))
	h.RecordColumns, h.StoppedTargets = []string{"Title"}, []string{"FirstName"}
	h.Now = timestamppb.New(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	h.FieldMap.Pairs = append(h.FieldMap.Pairs,
		&mapperv1.Pair{Source: "title", Target: "AccountId", Lookup: &mapperv1.Lookup{Object: "Account", Field: "Name"}},
		&mapperv1.Pair{Expression: `string(now.Year()) + record.Title`, Target: "Note__c", TooLong: mapperv1.TooLong_TOO_LONG_CUT},
	)
	h.FieldMap.Rules = []*mapperv1.Rule{{Name: "no tests", Effect: mapperv1.Effect_EFFECT_SKIP, Condition: &mapperv1.Condition{Condition: &mapperv1.Condition_Test{
		Test: &mapperv1.Test{Field: "email", Operator: mapperv1.Operator_OPERATOR_CONTAINS, Values: []string{"test"}},
	}}}}
	h.FieldMap.Overrides = []*mapperv1.Override{{Subaccount: "East", Pairs: []*mapperv1.Pair{{Constant: "Berlin", Target: "MailingCity"}}}}
	stream, err := c.eval.MapPeople(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*mapperv1.MapPeopleRequest{
		{Message: &mapperv1.MapPeopleRequest_Header{Header: h}},
		{Message: &mapperv1.MapPeopleRequest_Batch{Batch: &mapperv1.PeopleAndRecords{Rows: []*mapperv1.PersonAndRecord{
			{Person: &rowv1.Row{Id: "1", Values: []string{"1", "Ada", "L", "ada@example.com", "Acme  GmbH", "East"}}, Record: &rowv1.Row{Id: "003", Values: []string{"Dr."}}},
			{Person: &rowv1.Row{Id: "2", Values: []string{"2", "Bob", "B", "bob@test.example.com", "", ""}}},
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
	want := []*mapperv1.MappedPerson{
		{
			Values:  &rowv1.Row{Id: "1", Values: []string{"1", "", "L", "ada@example.com", "Acme  GmbH", "Acme  GmbH", "2026D", "Berlin"}, Absent: []uint32{1}},
			Lookups: []*mapperv1.LookupKey{{Column: 5, Key: "acme gmbh"}},
			Notes:   []*mapperv1.Problem{{Code: "cut", Field: "Note__c", Message: `Note__c: the value has 7 characters and the field takes 5 ("2026Dr."): it is cut to 5, as the pair says`, Scope: mapperv1.Scope_SCOPE_NOTE}},
		},
		{Values: &rowv1.Row{Id: "2", Values: make([]string, 8), Absent: []uint32{0, 1, 2, 3, 4, 5, 6, 7}}, SkippedBy: "no tests"},
	}
	if diff := cmp.Diff(want, got.GetPeople(), protocmp.Transform()); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
}

func TestCheckFieldMapSaysWhatIsReadAndWhatIsAmiss(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	h := header()
	h.FieldMap.Pairs = append(h.FieldMap.Pairs, &mapperv1.Pair{Expression: `record.Department == "" ? person.department : nil`, Target: "Titel"})
	got, err := c.eval.CheckFieldMap(t.Context(), &mapperv1.CheckFieldMapRequest{FieldMap: h.GetFieldMap(), Describe: contact()})
	if err != nil {
		t.Fatal(err)
	}
	want := &mapperv1.CheckFieldMapResponse{
		RecordFields: []string{"Department"}, PersonFields: []string{"department", "email", "first_name", "id", "last_name", "title"},
		Problems: []*mapperv1.Problem{{
			Code: "no_such_field", Field: "Titel", Scope: mapperv1.Scope_SCOPE_PAIR,
			Message: "pair 6 (expression -> Titel): Contact has no field Titel that the connected user may see: correct the API name, or give the user access to the field",
			Repair:  "remove the pair, or give the connected user access to the field",
		}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMapRecords(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	h := &mapperv1.MapHeader{Describe: contact(), RecordColumns: []string{"Email", "LastName", "Title"}, FieldMap: &mapperv1.FieldMap{
		Object: "Contact", Direction: mapperv1.Direction_DIRECTION_IMPORT, Pairs: []*mapperv1.Pair{
			{Source: "Email", Target: "email"}, {Source: "LastName", Target: "last_name"}, {Source: "Title", Target: "attributes.role", SecondarySource: "LastName"},
		},
	}}
	stream, err := c.eval.MapRecords(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*mapperv1.MapRecordsRequest{
		{Message: &mapperv1.MapRecordsRequest_Header{Header: h}},
		{Message: &mapperv1.MapRecordsRequest_Records{Records: &mapperv1.Records{Rows: []*rowv1.Row{
			{Id: "003A", Values: []string{"ada@example.com", "Lovelace", ""}, Null: []uint32{2}},
			{Id: "003B", Values: []string{"", "B", "x"}, Null: []uint32{0}},
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
	want := []*mapperv1.MappedPerson{
		{Values: &rowv1.Row{Id: "003A", Values: []string{"ada@example.com", "Lovelace", "Lovelace"}}},
		{Values: &rowv1.Row{Id: "003B", Values: []string{"", "B", "x"}, Null: []uint32{0}}},
	}
	if diff := cmp.Diff(want, got.GetPeople(), protocmp.Transform()); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	for name, m := range map[string]*mapperv1.MapRecordsRequest{
		"short row": {Message: &mapperv1.MapRecordsRequest_Records{Records: &mapperv1.Records{Rows: []*rowv1.Row{{Values: []string{"x"}}}}}},
		"no batch":  {},
		"header":    {Message: &mapperv1.MapRecordsRequest_Header{Header: h}},
	} {
		stream, err := c.eval.MapRecords(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&mapperv1.MapRecordsRequest{Message: &mapperv1.MapRecordsRequest_Header{Header: h}})
		_ = stream.Send(m)
		if _, err := stream.Recv(); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong, err := c.eval.MapRecords(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = wrong.Send(&mapperv1.MapRecordsRequest{Message: &mapperv1.MapRecordsRequest_Header{Header: header("id")}})
	_, err = wrong.Recv()
	wantKind(t, err, errs.Precondition, "wrong_direction")
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
	recorded, imports, broken := header("id"), header("id"), header("id")
	recorded.RecordColumns = []string{"Title"}
	imports.FieldMap.Direction = mapperv1.Direction_DIRECTION_IMPORT
	broken.FieldMap.Pairs[0] = &mapperv1.Pair{Expression: "person.nope", Target: "Catalog_Id__c"}
	tests := map[string]struct {
		messages []*mapperv1.MapPeopleRequest
		kind     errs.Kind
		reason   string
	}{
		"nothing":       {nil, errs.Invalid, "no_header"},
		"no header":     {[]*mapperv1.MapPeopleRequest{people("1")}, errs.Invalid, "no_header"},
		"two headers":   {[]*mapperv1.MapPeopleRequest{headed(header("id")), headed(header("id"))}, errs.Invalid, "no_batch"},
		"empty message": {[]*mapperv1.MapPeopleRequest{headed(header("id")), {}}, errs.Invalid, "no_batch"},
		"short record": {[]*mapperv1.MapPeopleRequest{headed(recorded), {Message: &mapperv1.MapPeopleRequest_Batch{Batch: &mapperv1.PeopleAndRecords{
			Rows: []*mapperv1.PersonAndRecord{{Person: &rowv1.Row{Values: []string{"1"}}, Record: &rowv1.Row{}}},
		}}}}, errs.Invalid, "row_length"},
		"other direction": {[]*mapperv1.MapPeopleRequest{headed(imports)}, errs.Precondition, "wrong_direction"},
		"bad expression":  {[]*mapperv1.MapPeopleRequest{headed(broken)}, errs.Precondition, "field_map_unusable"},
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
