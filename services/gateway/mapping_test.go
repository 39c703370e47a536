package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// mappingWorld is a world whose services know an org and three people.
func mappingWorld(t *testing.T) (*world, context.Context, mapperv1.FieldMapServiceClient) {
	t.Helper()
	w := start(t)
	w.reply(authv1.TokenService_CreateGrant_FullMethodName, &authv1.CreateGrantResponse{Grant: "grant-1"})
	w.answer(syncv1.ObjectService_DescribeObject_FullMethodName, func(_ context.Context, req proto.Message, send func(proto.Message) error) error {
		r := req.(*syncv1.DescribeObjectRequest)
		if r.GetGrant() != "grant-1" {
			return errs.New(errs.Denied, "no_grant", "the describe of %s came with the grant %q", r.GetObject(), r.GetGrant())
		}
		if r.GetObject() == "Hidden__c" {
			return errs.New(errs.NotFound, "no_such_object", "the org has no object %s", r.GetObject())
		}
		return send(&syncv1.DescribeObjectResponse{Describe: &salesforcev1.ObjectDescribe{Name: r.GetObject(), Fields: []*salesforcev1.FieldDescribe{
			{Name: "AccountId", Type: "reference", RelationshipName: "Account", ReferenceTo: []string{"Account"}},
		}}})
	})
	columns := []string{"id", "email", "attributes.level"}
	w.reply(directoryv1.DirectoryService_ListPersonFields_FullMethodName, &directoryv1.ListPersonFieldsResponse{Fields: columns})
	people := []*directoryv1.Person{
		{Id: "1", Fields: map[string]string{"email": "ada@example.com", "attributes.level": "3"}},
		{Id: "2", Fields: map[string]string{"email": "bob@example.com"}},
		{Id: "3", Fields: map[string]string{"email": "BOB@example.com"}},
	}
	w.answer(directoryv1.DirectoryService_GetPerson_FullMethodName, func(_ context.Context, req proto.Message, send func(proto.Message) error) error {
		id := req.(*directoryv1.GetPersonRequest).GetId()
		if i := slices.IndexFunc(people, func(p *directoryv1.Person) bool { return p.GetId() == id }); i >= 0 {
			return send(&directoryv1.GetPersonResponse{Person: people[i]})
		}
		return errs.New(errs.NotFound, "no_such_person", "there is no person %s", id)
	})
	w.answer(directoryv1.DirectoryService_ListPeople_FullMethodName, func(_ context.Context, req proto.Message, send func(proto.Message) error) error {
		prefix := req.(*directoryv1.ListPeopleRequest).GetPrefix()
		return send(&directoryv1.ListPeopleResponse{People: slices.DeleteFunc(slices.Clone(people), func(p *directoryv1.Person) bool {
			return !strings.HasPrefix(strings.ToLower(p.GetFields()["email"]), prefix)
		})})
	})
	return w, with(t.Context(), w.token(t, "acme", admin)), mapperv1.NewFieldMapServiceClient(w.conn)
}

// sent returns the last request that reached a method.
func sent[M proto.Message](t *testing.T, w *world, method string) (m M) {
	t.Helper()
	calls := w.got(method)
	if len(calls) == 0 {
		t.Fatalf("nothing reached %s", method)
	}
	return calls[len(calls)-1].sent[0].(M)
}

func names(describes []*salesforcev1.ObjectDescribe) (out []string) {
	for _, d := range describes {
		out = append(out, d.GetName())
	}
	return out
}

// A field map is checked against every object that it names.
func TestRelatedObjectsAreDescribed(t *testing.T) {
	t.Parallel()
	w, ctx, maps := mappingWorld(t)
	lookup := func(object string) *mapperv1.Pair {
		return &mapperv1.Pair{Source: "organization", Target: object + "Id", Lookup: &mapperv1.Lookup{Object: object, Field: "Name"}}
	}
	tests := map[string]struct {
		m    *mapperv1.FieldMap
		want []string
	}{
		"nothing": {&mapperv1.FieldMap{Object: "Contact"}, nil},
		"lookups, those of overrides too, each once": {&mapperv1.FieldMap{
			Object: "Contact", Pairs: []*mapperv1.Pair{lookup("Account"), lookup("account"), lookup("contact")},
			Overrides: []*mapperv1.Override{{Subaccount: "North", Pairs: []*mapperv1.Pair{lookup("Campaign")}}},
		}, []string{"Account", "Campaign"}},
		"what a Lead becomes": {&mapperv1.FieldMap{Object: "Lead"}, []string{"Contact"}},
		"what an import reads through": {&mapperv1.FieldMap{Object: "Contact", Direction: mapperv1.Direction_DIRECTION_IMPORT, Pairs: []*mapperv1.Pair{
			{Source: "account.Name", Target: "organization"}, {Source: "Name", SecondarySource: "Owner.Name", Target: "title"},
		}}, []string{"Account"}},
	}
	for name, tt := range tests {
		if _, err := maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: tt.m, Related: []*salesforcev1.ObjectDescribe{{Name: "Forged"}}}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		req := sent[*mapperv1.SaveFieldMapRequest](t, w, mapperv1.FieldMapService_SaveFieldMap_FullMethodName)
		if diff := cmp.Diff(tt.want, names(req.GetRelated())); diff != "" || req.GetDescribe().GetName() != tt.m.GetObject() {
			t.Errorf("%s: %s", name, diff)
		}
	}
	_, err := maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{Object: "Contact", Pairs: []*mapperv1.Pair{lookup("Hidden__c")}}})
	wantError(t, "a lookup of an object that is not there", err, errs.NotFound, "no_such_object", "Hidden__c")
	many := &mapperv1.FieldMap{Object: "Contact"}
	for i := range 21 {
		many.Pairs = append(many.Pairs, lookup(fmt.Sprintf("Thing%d__c", i)))
	}
	_, err = maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: many})
	wantError(t, "lookups of many objects", err, errs.Invalid, "too_many_objects", "21")
	// An org may show Leads to the user and no Contacts.
	w.answer(syncv1.ObjectService_DescribeObject_FullMethodName, func(_ context.Context, req proto.Message, send func(proto.Message) error) error {
		if object := req.(*syncv1.DescribeObjectRequest).GetObject(); object != "Lead" {
			return errs.New(errs.NotFound, "no_such_object", "the org has no object %s", object)
		}
		return send(&syncv1.DescribeObjectResponse{Describe: &salesforcev1.ObjectDescribe{Name: "Lead"}})
	})
	if _, err := maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{Object: "Lead"}}); err != nil {
		t.Errorf("Leads alone: %v", err)
	}
}

func TestRollbackIsCheckedAgainstTheOrgOfToday(t *testing.T) {
	t.Parallel()
	w, ctx, maps := mappingWorld(t)
	w.reply(mapperv1.FieldMapService_GetFieldMap_FullMethodName, &mapperv1.GetFieldMapResponse{FieldMap: &mapperv1.FieldMap{ConnectionId: "con_acme", Object: "Lead", Version: 2}})
	if _, err := maps.RollbackFieldMap(ctx, &mapperv1.RollbackFieldMapRequest{Version: 2, Note: "why", Attributes: []string{"attributes.forged"}}); err != nil {
		t.Fatal(err)
	}
	asked := sent[*mapperv1.GetFieldMapRequest](t, w, mapperv1.FieldMapService_GetFieldMap_FullMethodName)
	if asked.GetVersion() != 2 || asked.GetConnectionId() != "con_acme" {
		t.Errorf("asked for %v", asked)
	}
	req := sent[*mapperv1.RollbackFieldMapRequest](t, w, mapperv1.FieldMapService_RollbackFieldMap_FullMethodName)
	if req.GetConnectionId() != "con_acme" || req.GetDescribe().GetName() != "Lead" || req.GetNote() != "why" {
		t.Errorf("sent %v", req)
	}
	if diff := cmp.Diff([]string{"attributes.level"}, req.GetAttributes()); diff != "" {
		t.Error(diff)
	}
	if n := len(w.got(authv1.TokenService_CreateGrant_FullMethodName)); n != 1 {
		t.Errorf("%d grants were made for one request", n)
	}
	_, err := maps.RollbackFieldMap(ctx, &mapperv1.RollbackFieldMapRequest{})
	wantError(t, "no version", err, errs.Invalid, "bad_version")
}

func TestPeopleComeWithTrialsAndSuggestions(t *testing.T) {
	t.Parallel()
	w, ctx, maps := mappingWorld(t)
	all := []*rowv1.Row{
		{Id: "1", Values: []string{"1", "ada@example.com", "3"}},
		{Id: "2", Values: []string{"2", "bob@example.com", ""}, Absent: []uint32{2}},
		{Id: "3", Values: []string{"3", "BOB@example.com", ""}, Absent: []uint32{2}},
	}
	if _, err := maps.SuggestPairs(ctx, &mapperv1.SuggestPairsRequest{Object: "Contact"}); err != nil {
		t.Fatal(err)
	}
	suggest := sent[*mapperv1.SuggestPairsRequest](t, w, mapperv1.FieldMapService_SuggestPairs_FullMethodName)
	want := &rowv1.Batch{Columns: []string{"id", "email", "attributes.level"}, Rows: all}
	if diff := cmp.Diff(want, suggest.GetPeople(), protocmp.Transform()); diff != "" || suggest.GetDescribe().GetName() != "Contact" || suggest.GetConnectionId() != "con_acme" {
		t.Error(suggest, diff)
	}
	try := func(ids ...string) (*mapperv1.TryFieldMapRequest, error) {
		_, err := maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: &mapperv1.FieldMap{Object: "Contact"}, PersonIds: ids, People: &rowv1.Batch{Columns: []string{"forged"}}})
		if err != nil {
			return nil, err
		}
		return sent[*mapperv1.TryFieldMapRequest](t, w, mapperv1.FieldMapService_TryFieldMap_FullMethodName), nil
	}
	for _, tt := range []struct {
		ids  []string
		want []*rowv1.Row
	}{
		{nil, all},
		{[]string{"3", "1"}, []*rowv1.Row{all[2], all[0]}},
		{[]string{"ada@example.com"}, all[:1]},
	} {
		req, err := try(tt.ids...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, req.GetPeople().GetRows(), protocmp.Transform()); diff != "" || req.GetFieldMap().GetConnectionId() != "con_acme" {
			t.Errorf("%v: %s", tt.ids, diff)
		}
	}
	_, err := try("9")
	wantError(t, "nobody", err, errs.NotFound, "no_such_person", "9")
	_, err = try("eve@example.com")
	wantError(t, "nobody's e-mail", err, errs.NotFound, "no_such_person", "eve@example.com")
	_, err = try("bob@example.com")
	wantError(t, "an e-mail of two", err, errs.Invalid, "several_people", "2 and 3")
	_, err = try(make([]string, 101)...)
	wantError(t, "a crowd", err, errs.Invalid, "too_many_people", "101")
	_, err = maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{})
	wantError(t, "no object to try", err, errs.Invalid, "missing_object")
	_, err = maps.SuggestPairs(ctx, &mapperv1.SuggestPairsRequest{})
	wantError(t, "no object to suggest for", err, errs.Invalid, "missing_object")
}

// What is stored is read without a word to the org: the connection may have ended.
func TestReadingFieldMapsAsksNoOrg(t *testing.T) {
	t.Parallel()
	w, ctx, maps := mappingWorld(t)
	if _, err := maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "con_acme"}); err != nil {
		t.Error(err)
	}
	if _, err := maps.ListFieldMaps(ctx, &mapperv1.ListFieldMapsRequest{ConnectionId: "con_acme"}); err != nil {
		t.Error(err)
	}
	if _, err := maps.DiffFieldMaps(ctx, &mapperv1.DiffFieldMapsRequest{ConnectionId: "con_acme", From: 1}); err != nil {
		t.Error(err)
	}
	for _, method := range []string{authv1.TokenService_CreateGrant_FullMethodName, syncv1.ObjectService_DescribeObject_FullMethodName} {
		if n := len(w.got(method)); n > 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
	objects := syncv1.NewObjectServiceClient(w.conn)
	if res, err := objects.DescribeObject(ctx, &syncv1.DescribeObjectRequest{Object: "Contact", Grant: "forged"}); err != nil || res.GetDescribe().GetName() != "Contact" {
		t.Errorf("described %v, %v", res, err)
	}
}
