package mapper_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// save saves a field map, which must succeed.
func (c clients) save(ctx context.Context, t testing.TB, req *mapperv1.SaveFieldMapRequest) *mapperv1.SaveFieldMapResponse {
	t.Helper()
	if req.Describe == nil {
		req.Describe = contact()
	}
	res, err := c.maps.SaveFieldMap(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func titled(standard string) *mapperv1.FieldMap {
	return contactMap(&mapperv1.Pair{Source: "title", Target: "Title", DefaultValue: standard})
}

// everySetting is a field map in which every kind of setting is set.
func everySetting() *mapperv1.FieldMap {
	test := func(field string, op mapperv1.Operator, values ...string) *mapperv1.Condition {
		return &mapperv1.Condition{Condition: &mapperv1.Condition_Test{Test: &mapperv1.Test{Field: field, Operator: op, Values: values}}}
	}
	return &mapperv1.FieldMap{
		ConnectionId: "c1", Object: "Contact", ExternalIdField: "Catalog_Id__c", Direction: mapperv1.Direction_DIRECTION_WRITE,
		Pairs: []*mapperv1.Pair{
			{Target: "Title", Expression: "upper(person.title)", TooLong: mapperv1.TooLong_TOO_LONG_CUT},
			{Target: "Department", Constant: "Students", WriteWhen: mapperv1.WriteWhen_WRITE_WHEN_CREATE},
			{
				Target: "MobilePhone", Source: "mobile_phone", SecondarySource: "phone", PhoneRegion: "DE", PhoneFormat: mapperv1.PhoneFormat_PHONE_FORMAT_E164,
				Absent: mapperv1.Blank_BLANK_CLEAR, Null: mapperv1.Blank_BLANK_LEAVE, Empty: mapperv1.Blank_BLANK_LEAVE,
			},
			{Target: "MailingCountry", Source: "country", Table: map[string]string{"DE": "Germany"}, Unlisted: mapperv1.Unlisted_UNLISTED_KEEP},
		},
		Rules: []*mapperv1.Rule{
			{Name: "no tests", Effect: mapperv1.Effect_EFFECT_SKIP, Condition: test("email", mapperv1.Operator_OPERATOR_CONTAINS, "test"), Subaccounts: []string{"North"}},
			{Name: "members", Effect: mapperv1.Effect_EFFECT_INCLUDE, Condition: test("groups", mapperv1.Operator_OPERATOR_IN, "member", "staff")},
		},
		Overrides: []*mapperv1.Override{{Subaccount: "South", Filter: test("city", mapperv1.Operator_OPERATOR_EQUALS, "Rome"), Pairs: []*mapperv1.Pair{{Target: "Department", Constant: "South"}}}},
		Identity:  &mapperv1.Identity{NoAdoption: true, SeveralMatches: mapperv1.SeveralMatches_SEVERAL_MATCHES_OLDEST, Deleted: mapperv1.Deleted_DELETED_UNDELETE},
		Guards:    &mapperv1.Guards{Creates: &mapperv1.Brake{Count: 100, Share: 0.25}, ApproveEveryRun: true, HoldHours: 12, LeastPeople: 0.9, AllocationShare: 0.1},
		Note:      " why not ",
	}
}

// What was saved comes back whole, with who saved it and why.
func TestVersionsHoldEverySetting(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")
	saved := c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: everySetting()}).GetFieldMap()
	got, err := c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(saved, got.GetFieldMap(), protocmp.Transform()); diff != "" {
		t.Errorf("what is stored is not what was answered: %s", diff)
	}
	want := everySetting()
	want.Note, want.Version, want.Author, want.SavedAt = "why not", 1, "ada", saved.GetSavedAt()
	// What was added, and what the org says, is not in what was sent.
	stripped := proto.CloneOf(saved)
	stripped.Pairs = stripped.Pairs[:len(want.GetPairs())]
	for _, p := range append(stripped.GetPairs(), stripped.GetOverrides()[0].GetPairs()...) {
		p.Type, p.Length = "", 0
	}
	if diff := cmp.Diff(want, stripped, protocmp.Transform()); diff != "" {
		t.Errorf("what is stored is not what was sent: %s", diff)
	}
	// The same again is no new version, whoever says it in which words.
	again := everySetting()
	again.Note, again.Identity.Converted, again.Rules[0].Condition.GetTest().Side = "other", mapperv1.Converted_CONVERTED_LEAVE, mapperv1.Side_SIDE_CATALOG
	res := c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: again, ExpectedVersion: 7})
	if !res.GetUnchanged() || res.GetFieldMap().GetVersion() != 1 || res.GetFieldMap().GetNote() != "why not" {
		t.Errorf("saved again: %v", res)
	}
	// What the org says is part of a version: a field that has become longer makes a new one.
	longer := contact()
	longer.Fields[4].Length = 200
	if res := c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: everySetting(), Describe: longer}); res.GetUnchanged() || res.GetFieldMap().GetVersion() != 2 {
		t.Errorf("saved for another org: %v", res)
	}
}

// Settings that a newer program stored come back, and are not dropped by an older one that saves.
func TestUnknownSettingsSurvive(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	c := serve(t, b)
	ctx := as(t, "acme")
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("")})
	newer := titled("")
	newer.Version = 2
	newer.Pairs[0].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1))
	bytes, err := proto.Marshal(newer)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "acme", "c1", 2, map[string]any{"tenant": "acme", "connection": "c1", "version": 2, "field_map_proto": bytes})
	got, err := c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
	if err != nil || !proto.Equal(got.GetFieldMap(), newer) {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: got.GetFieldMap(), Describe: contact()})
	wantKind(t, err, errs.Invalid, "unknown_setting")
	if res := c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("")}); res.GetUnchanged() {
		t.Error("what lacks the newer setting counts as the same")
	}
}

// Versions that were stored when field maps were pairs alone are read as they always were.
func TestFirstVersionsAreStillRead(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	c := serve(t, b)
	put(t, b, "acme", "c1", 1, json.RawMessage(`{"tenant":"acme","connection":"c1","version":1,"saved_at":"2026-01-02T03:04:05Z","author":"ada",
		"field_map":{"Object":"Contact","ExternalIDField":"Catalog_Id__c","Pairs":[{"Source":"title","Target":"Title","Default":"Member","Type":"string","Length":128}]}}`))
	got, err := c.maps.GetFieldMap(as(t, "acme"), &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	m := got.GetFieldMap()
	if m.GetAuthor() != "ada" || m.GetVersion() != 1 || m.GetConnectionId() != "c1" || m.GetSavedAt().AsTime().Format("2006-01-02T15:04:05Z") != "2026-01-02T03:04:05Z" {
		t.Errorf("version %v", m)
	}
	want := []*mapperv1.Pair{{Source: "title", Target: "Title", DefaultValue: "Member", Type: "string", Length: 128}}
	if diff := cmp.Diff(want, m.GetPairs(), protocmp.Transform()); diff != "" || m.GetExternalIdField() != "Catalog_Id__c" || m.GetObject() != "Contact" {
		t.Error(m, diff)
	}
	if res := c.save(as(t, "acme"), t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("x"), ExpectedVersion: 1}); res.GetFieldMap().GetVersion() != 2 {
		t.Errorf("saved on top: %v", res)
	}
}

// put stores a version as some program did.
func put(t testing.TB, b *bus.Bus, tenant, connection string, number int, v any) {
	t.Helper()
	bucket, err := store.Open[any](t.Context(), b, store.Config{Bucket: "FIELD_MAPS", History: 1, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Create(t.Context(), store.Key(tenant, connection, fmt.Sprintf("%08d", number)), v); err != nil {
		t.Fatal(err)
	}
}

// Who saves on top of a version that is no longer the latest loses nobody's work.
func TestExpectedVersion(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("a")})
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("b"), ExpectedVersion: 1})
	for _, only := range []bool{true, false} {
		_, err := c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: titled("c"), Describe: contact(), ExpectedVersion: 1, ValidateOnly: only})
		wantKind(t, err, errs.Conflict, "newer_version")
		if m := errs.Message(err); !strings.Contains(m, "version 2 of the field map is the latest, saved by ada") {
			t.Errorf("message %q", m)
		}
		// Saving again what got through, because the answer was lost, is no conflict.
		res := c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("b"), ExpectedVersion: 1, ValidateOnly: only})
		if !res.GetUnchanged() || res.GetFieldMap().GetVersion() != 2 {
			t.Errorf("repeated: %v", res)
		}
	}
	_, err := c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: titled("c"), Describe: contact(), ExpectedVersion: -1})
	wantKind(t, err, errs.Invalid, "bad_version")
	_, err = c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: titled("c"), Describe: contact(), ExpectedVersion: 9})
	wantKind(t, err, errs.Conflict, "newer_version")
	long := titled("c")
	long.Note = strings.Repeat("é", 1001)
	_, err = c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: long, Describe: contact()})
	wantKind(t, err, errs.Invalid, "note_too_long")
	large := titled("c")
	large.Pairs[0].Table = map[string]string{}
	for i := range 30000 {
		large.Pairs[0].Table[fmt.Sprint("value ", i)] = strings.Repeat("x", 20)
	}
	_, err = c.maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: large, Describe: contact()})
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("a field map that does not fit into the store: %v", err)
	}
}

// Of many who save on top of the same version at once, one gets through.
func TestOneOfManySaversWins(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	mappers := []clients{serve(t, server.Bus(t)), serve(t, server.Bus(t))}
	ctx := as(t, "acme")
	mappers[0].save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("first")})
	var won, lost atomic.Int32
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			_, err := mappers[i%2].maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: titled(fmt.Sprint(i)), Describe: contact(), ExpectedVersion: 1})
			switch {
			case err == nil:
				won.Add(1)
			case errs.ReasonOf(err) == "newer_version":
				lost.Add(1)
			default:
				t.Errorf("save: %v", err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 || lost.Load() != 11 {
		t.Errorf("%d got through and %d were told to look again", won.Load(), lost.Load())
	}
}

func TestDiffFieldMaps(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")
	_, err := c.maps.DiffFieldMaps(ctx, &mapperv1.DiffFieldMapsRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.NotFound, "no_field_map")
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("")})
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("Member")})
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: contactMap(&mapperv1.Pair{Source: "phone", Target: "Phone"})})
	diff := func(from, to int32) (lines []string) {
		t.Helper()
		res, err := c.maps.DiffFieldMaps(ctx, &mapperv1.DiffFieldMapsRequest{ConnectionId: "c1", From: from, To: to})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range res.GetDifferences() {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", d.GetPath(), d.GetBefore(), d.GetAfter()))
		}
		return append(lines, fmt.Sprintf("%d to %d", res.GetFrom().GetVersion(), res.GetTo().GetVersion()))
	}
	for _, tt := range []struct {
		from, to int32
		want     []string
	}{
		{0, 0, []string{"fields.Title: {from: title, default: Member} -> ", "fields.Phone:  -> phone", "2 to 3"}},
		{0, 2, []string{"fields.Title.default:  -> Member", "1 to 2"}},
		{2, 1, []string{"fields.Title.default: Member -> ", "2 to 1"}},
		{2, 2, []string{"2 to 2"}},
		{1, 0, []string{"fields.Title: title -> ", "fields.Phone:  -> phone", "1 to 3"}},
		{0, 1, []string{"object:  -> Contact", "fields.Title:  -> title", "fields.FirstName:  -> first_name", "fields.LastName:  -> last_name", "fields.Email:  -> email", "0 to 1"}},
	} {
		if diff := cmp.Diff(tt.want, diff(tt.from, tt.to)); diff != "" {
			t.Errorf("from %d to %d: %s", tt.from, tt.to, diff)
		}
	}
	_, err = c.maps.DiffFieldMaps(ctx, &mapperv1.DiffFieldMapsRequest{ConnectionId: "c1", From: 4})
	wantKind(t, err, errs.NotFound, "no_field_map")
	_, err = c.maps.DiffFieldMaps(ctx, &mapperv1.DiffFieldMapsRequest{ConnectionId: "c1", From: -1})
	wantKind(t, err, errs.Invalid, "bad_version")
}

func TestRollbackFieldMap(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: everySetting()})
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: titled("")})
	back := func(version int32, describe *salesforcev1.ObjectDescribe) (*mapperv1.FieldMap, error) {
		res, err := c.maps.RollbackFieldMap(as(t, "acme"), &mapperv1.RollbackFieldMapRequest{ConnectionId: "c1", Version: version, Note: "it was better", Describe: describe})
		return res.GetFieldMap(), err
	}
	// A version that no longer fits the org is not gone back to.
	today := contact()
	today.Fields = today.Fields[:4]
	_, err := back(1, today)
	wantKind(t, err, errs.Precondition, "version_unusable")
	if m := errs.Message(err); !strings.Contains(m, "version 1 no longer fits the org") || !strings.Contains(m, "Title") {
		t.Errorf("message %q", m)
	}
	m, err := back(1, contact())
	if err != nil {
		t.Fatal(err)
	}
	if m.GetVersion() != 3 || m.GetRolledBackTo() != 1 || m.GetNote() != "it was better" || m.GetAuthor() != "ada" {
		t.Errorf("rolled back: %v", m)
	}
	res, err := c.maps.DiffFieldMaps(ctx, &mapperv1.DiffFieldMapsRequest{ConnectionId: "c1", From: 1, To: 3})
	if err != nil || len(res.GetDifferences()) > 0 {
		t.Errorf("the version differs from what it repeats: %v, %v", res.GetDifferences(), err)
	}
	// Going back to what is there already stores nothing.
	if m, err = back(1, contact()); err != nil || m.GetVersion() != 3 {
		t.Errorf("rolled back again: %v, %v", m, err)
	}
	_, err = back(0, contact())
	wantKind(t, err, errs.Invalid, "bad_version")
	_, err = back(9, contact())
	wantKind(t, err, errs.NotFound, "no_field_map")
	_, err = back(1, nil)
	wantKind(t, err, errs.Invalid, "no_describe")
	_, err = c.maps.RollbackFieldMap(as(t, "other"), &mapperv1.RollbackFieldMapRequest{ConnectionId: "c1", Version: 1, Describe: contact()})
	wantKind(t, err, errs.NotFound, "no_field_map")
}

func TestTryFieldMap(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")
	m := everySetting()
	people := &rowv1.Batch{Columns: []string{"id", "email", "first_name", "last_name", "title", "groups", "subaccount", "country"}, Rows: []*rowv1.Row{
		{Id: "1", Values: []string{"1", "ada@example.com", "Ada", "Lovelace", "countess", "member", "North", "DE"}},
		{Id: "2", Values: []string{"2", "test@example.com", "Bob", "Bee", "x", "member", "North", "DE"}},
		{Id: "3", Values: []string{"3", "carl@example.com", "Carl", "Cee", "x", "guest", "", "DE"}},
		{Id: "4", Values: []string{"4", "no mail", "Dan", "Dee", "", "staff", "", "Narnia"}},
	}}
	res, err := c.maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: m, Describe: contact(), People: people})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Title", "Department", "MobilePhone", "MailingCountry", "FirstName", "LastName", "Email", "Catalog_Id__c"}, res.GetTargets()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4"}, res.GetPersonIds()); diff != "" {
		t.Error(diff)
	}
	if p := res.GetPeople()[0]; p.GetValues().GetValues()[0] != "COUNTESS" || p.GetValues().GetValues()[3] != "Germany" || p.GetSkippedBy() != "" || len(p.GetProblems()) > 0 {
		t.Errorf("person 1: %v", p)
	}
	if p := res.GetPeople()[1]; p.GetSkippedBy() != "no tests" {
		t.Errorf("person 2: %v", p)
	}
	if p := res.GetPeople()[2]; !strings.Contains(p.GetSkippedBy(), "members") {
		t.Errorf("person 3: %v", p)
	}
	if p := res.GetPeople()[3]; len(p.GetProblems()) == 0 || p.GetProblems()[0].GetField() != "Email" {
		t.Errorf("person 4: %v", p)
	}
	// Nothing was saved.
	_, err = c.maps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.NotFound, "no_field_map")

	m.Pairs[0].Expression = "upper(person.title"
	_, err = c.maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: m, Describe: contact(), People: people})
	wantKind(t, err, errs.Invalid, "invalid_field_map")
	_, err = c.maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: titled(""), People: people})
	wantKind(t, err, errs.Invalid, "no_describe")
	_, err = c.maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: &mapperv1.FieldMap{}, Describe: contact()})
	wantKind(t, err, errs.Invalid, "no_connection")
	in := &mapperv1.FieldMap{ConnectionId: "c1", Object: "Contact", Direction: mapperv1.Direction_DIRECTION_IMPORT, Pairs: []*mapperv1.Pair{{Source: "Email", Target: "email"}}}
	_, err = c.maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: in, Describe: contact(), People: people})
	wantKind(t, err, errs.Invalid, "import_map")
	short := &rowv1.Batch{Columns: []string{"id", "email"}, Rows: []*rowv1.Row{{Id: "1", Values: []string{"1"}}}}
	_, err = c.maps.TryFieldMap(ctx, &mapperv1.TryFieldMapRequest{FieldMap: titled(""), Describe: contact(), People: short})
	wantKind(t, err, errs.Invalid, "row_length")
}

func TestSuggestPairs(t *testing.T) {
	t.Parallel()
	c := serve(t, testkit.Bus(t))
	ctx := as(t, "acme")
	res, err := c.maps.SuggestPairs(ctx, &mapperv1.SuggestPairsRequest{ConnectionId: "c1", Object: "Contact", Describe: contact(), People: &rowv1.Batch{
		Columns: []string{"id", "email", "first_name", "last_name", "mobile_phone", "postal_code", "attributes.dept"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	m := contactMap()
	for _, s := range res.GetSuggestions() {
		got = append(got, fmt.Sprintf("%.2f %s -> %s", s.GetConfidence(), s.GetPair().GetSource(), s.GetPair().GetTarget()))
		m.Pairs = append(m.Pairs, s.GetPair())
	}
	want := []string{
		"1.00 first_name -> FirstName", "1.00 last_name -> LastName", "1.00 email -> Email", "0.95 mobile_phone -> MobilePhone",
		"0.95 id -> Catalog_Id__c", "0.94 postal_code -> MailingPostalCode", "0.90 attributes.dept -> Department",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// What is suggested can be saved.
	m.ExternalIdField = "Catalog_Id__c"
	c.save(ctx, t, &mapperv1.SaveFieldMapRequest{FieldMap: m, Attributes: []string{"attributes.dept"}})
	_, err = c.maps.SuggestPairs(ctx, &mapperv1.SuggestPairsRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.Invalid, "no_describe")
}
