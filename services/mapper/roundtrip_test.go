package mapper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
)

// orgTokens gives the simulated org's own token.
type orgTokens struct{ org *simulator.Server }

func (o orgTokens) Token(context.Context) (salesforce.Token, error) {
	return salesforce.Token{AccessToken: salesforce.NewAccessToken(o.org.AccessToken()), InstanceURL: o.org.URL}, nil
}

func (o orgTokens) Reject(ctx context.Context, _ salesforce.Token) (salesforce.Token, error) {
	return o.Token(ctx)
}

// described turns a describe into what the mapper is sent.
func described(t testing.TB, d *salesforce.ObjectDescribe) *salesforcev1.ObjectDescribe {
	t.Helper()
	out := &salesforcev1.ObjectDescribe{Name: d.Name, Label: d.Label}
	for i := range d.Fields {
		f := &d.Fields[i]
		one := &salesforcev1.FieldDescribe{
			Name: f.Name, Label: f.Label, Type: string(f.Type), Length: int32(f.Length), Precision: int32(f.Precision), Scale: int32(f.Scale),
			Digits: int32(f.Digits), Createable: f.Createable, Updateable: f.Updateable, Nillable: f.Nillable, DefaultedOnCreate: f.DefaultedOnCreate,
			ExternalId: f.ExternalID, Unique: f.Unique, CaseSensitive: f.CaseSensitive, RestrictedPicklist: f.RestrictedPicklist,
			ReferenceTo: f.ReferenceTo, Calculated: f.Calculated, RelationshipName: f.RelationshipName,
		}
		for _, v := range f.Picklist {
			one.PicklistValues, one.PicklistLabels = append(one.PicklistValues, v.Value), append(one.PicklistLabels, v.Label)
		}
		out.Fields = append(out.Fields, one)
	}
	return out
}

// org is a simulated org and a mapper that maps to it, by a pair for each kind of field.
type org struct {
	t        testing.TB
	client   *salesforce.Client
	mapper   clients
	describe *salesforcev1.ObjectDescribe
	fields   *mapperv1.FieldMap
	columns  []string
	record   []salesforce.Column
}

const keyField = "CatalogUserId__c"

// kinds are pairs that text of any kind may go into.
var kinds = []*mapperv1.Pair{
	{Source: "title", Target: "Title", TooLong: mapperv1.TooLong_TOO_LONG_CUT},
	{Source: "street", Target: "MailingStreet"},
	{Source: "attributes.notes", Target: "Description"},
	{Source: "phone", Target: "Phone"},
	{Source: "mobile_phone", Target: "MobilePhone", PhoneFormat: mapperv1.PhoneFormat_PHONE_FORMAT_E164, PhoneRegion: "DE"},
	{Source: "attributes.source", Target: "LeadSource"},
	{Source: "attributes.accuracy", Target: "MailingGeocodeAccuracy"},
	{Source: "attributes.latitude", Target: "MailingLatitude"},
	{Source: "attributes.born", Target: "Birthdate", TimeZone: "America/New_York"},
	{Source: "attributes.bounced", Target: "EmailBouncedDate", TimeZone: "Europe/Berlin"},
	{Source: "country", Target: "MailingCountryCode"},
	{Source: "attributes.other", Target: "OtherCountry"},
	{Source: "city", Target: "MailingCity"},
}

func newOrg(t *testing.T) *org {
	t.Helper()
	server, err := simulator.Start(simulator.Options{ExternalIDFields: []string{"Contact." + keyField}, StateCountryPicklists: true, DailyLimit: 10_000_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	policy := salesforce.HostPolicy{AllowDev: []string{server.URL}}
	client, err := salesforce.New(salesforce.Options{HTTP: salesforce.NewHTTPClient(policy), Policy: policy, Tokens: orgTokens{server}, APIVersion: "67.0", ClientName: "catalogsync"})
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := client.Describe(t.Context(), "Contact", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	o := &org{t: t, client: client, mapper: serve(t, testkit.Bus(t)), describe: described(t, d)}
	attributes := []string{}
	for _, p := range kinds {
		if strings.HasPrefix(p.GetSource(), "attributes.") {
			attributes = append(attributes, p.GetSource())
		}
	}
	saved, err := o.mapper.maps.SaveFieldMap(as(t, "acme"), &mapperv1.SaveFieldMapRequest{
		FieldMap: &mapperv1.FieldMap{ConnectionId: "c1", Object: "Contact", ExternalIdField: keyField, Pairs: kinds}, Describe: o.describe, Attributes: attributes,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.fields = saved.GetFieldMap()
	types := map[string]salesforce.FieldType{}
	for i := range d.Fields {
		types[d.Fields[i].Name] = d.Fields[i].Type
	}
	for _, p := range o.fields.GetPairs() {
		o.columns = append(o.columns, p.GetSource())
		o.record = append(o.record, salesforce.Column{Name: p.GetTarget(), Type: types[p.GetTarget()]})
	}
	return o
}

// failer is a test or a draw of one.
type failer interface{ Fatalf(string, ...any) }

// ask maps people with the records that they have; record may be nil.
func (o *org) ask(t failer, people, records []*rowv1.Row) []*mapperv1.MappedPerson {
	stream, err := o.mapper.eval.MapPeople(o.t.Context())
	if err != nil {
		t.Fatalf("map: %v", err)
	}
	names := make([]string, len(o.record))
	for i, c := range o.record {
		names[i] = c.Name
	}
	batch := &mapperv1.PeopleAndRecords{}
	for i, p := range people {
		one := &mapperv1.PersonAndRecord{Person: p}
		if records != nil {
			one.Record = records[i]
		}
		batch.Rows = append(batch.Rows, one)
	}
	for _, m := range []*mapperv1.MapPeopleRequest{
		{Message: &mapperv1.MapPeopleRequest_Header{Header: &mapperv1.MapHeader{FieldMap: o.fields, Describe: o.describe, PersonColumns: o.columns, RecordColumns: names}}},
		{Message: &mapperv1.MapPeopleRequest_Batch{Batch: batch}},
	} {
		if err := stream.Send(m); err != nil {
			t.Fatalf("map: %v", err)
		}
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatalf("map: %v", err)
	}
	_ = stream.CloseSend()
	_, _ = stream.Recv()
	return res.GetPeople()
}

// person is somebody whose value for a source is the one given, and who has nothing else that is not needed.
func (o *org) person(id, source, value string) *rowv1.Row {
	r := &rowv1.Row{Id: id}
	for i, column := range o.columns {
		v := ""
		switch column {
		case "id":
			v = id
		case "last_name":
			v = "Lovelace"
		case "email":
			v = id + "@Example.com"
		case source:
			v = value
		default:
			r.Absent = append(r.Absent, uint32(i))
		}
		r.Values = append(r.Values, v)
	}
	return r
}

// roundTrip maps each value to each kind of field, saves what was mapped in the org and reads it back. It returns how
// many values the org holds.
func (o *org) roundTrip(t failer, prefix string, values []string) int {
	var people []*rowv1.Row
	for i, v := range values {
		for j, p := range kinds {
			people = append(people, o.person(fmt.Sprintf("%s-%d-%d", prefix, i, j), p.GetSource(), v))
		}
	}
	var kept []*rowv1.Row
	var rows []salesforce.CollectionRow
	var wanted []*mapperv1.MappedPerson
	for i, m := range o.ask(t, people, nil) {
		if len(m.GetProblems()) > 0 {
			continue
		}
		row := salesforce.CollectionRow{}
		for c, column := range o.record {
			if !slices.Contains(m.GetValues().GetAbsent(), uint32(c)) {
				row.Fields = append(row.Fields, salesforce.FieldValue{Name: column.Name, Type: column.Type, Value: m.GetValues().GetValues()[c], Null: slices.Contains(m.GetValues().GetNull(), uint32(c))})
			}
		}
		kept, rows, wanted = append(kept, people[i]), append(rows, row), append(wanted, m)
	}
	ids := make([]string, 0, len(rows))
	for chunk := range slices.Chunk(rows, salesforce.MaxCollection) {
		results, err := o.client.CollectionsUpsert(o.t.Context(), "Contact", keyField, chunk)
		if err != nil {
			t.Fatalf("save: %v", err)
		}
		for i, r := range results {
			if !r.Success {
				t.Fatalf("the mapper took and Salesforce refused %+v: %s", chunk[i].Fields, r.Message)
			}
			ids = append(ids, r.ID)
		}
	}
	stored := make(map[string]*rowv1.Row, len(ids))
	for chunk := range slices.Chunk(ids, salesforce.MaxCollection) {
		err := o.client.RetrieveByIDs(o.t.Context(), "Contact", chunk, o.record, func(id string, r *salesforce.Record) error {
			row := &rowv1.Row{Id: id, Values: slices.Clone(r.Values)}
			for i, null := range r.Null {
				if null {
					row.Null = append(row.Null, uint32(i))
				}
			}
			stored[id] = row
			return nil
		})
		if err != nil {
			t.Fatalf("read: %v", err)
		}
	}
	records := make([]*rowv1.Row, len(ids))
	for i, id := range ids {
		if records[i] = stored[id]; records[i] == nil {
			t.Fatalf("record %s is not there", id)
		}
		o.equal(t, "what was saved", wanted[i].GetValues(), records[i])
	}
	// The same people, now with their records, want what the records hold.
	for i, m := range o.ask(t, kept, records) {
		if len(m.GetProblems()) > 0 {
			t.Fatalf("a person who could be created cannot be updated: %v", m.GetProblems())
		}
		o.equal(t, "what is wanted again", m.GetValues(), records[i])
	}
	// People who say what the records hold want just that.
	echo := make([]*rowv1.Row, len(records))
	for i, r := range records {
		echo[i] = &rowv1.Row{Id: r.GetId(), Values: r.GetValues(), Null: r.GetNull()}
	}
	for i, m := range o.ask(t, echo, records) {
		if len(m.GetProblems()) > 0 {
			t.Fatalf("what Salesforce holds cannot be written: %v", m.GetProblems())
		}
		o.equal(t, "what the record says", m.GetValues(), records[i])
	}
	return len(records)
}

// equal compares what is wanted with what Salesforce holds. E-mails have no case in Salesforce; everything else is the
// same to the letter.
func (o *org) equal(t failer, what string, wanted, stored *rowv1.Row) {
	for i, c := range o.record {
		want, have := wanted.GetValues()[i], stored.GetValues()[i]
		if slices.Contains(wanted.GetAbsent(), uint32(i)) {
			continue
		}
		if want != have && (c.Name != "Email" || !strings.EqualFold(want, have)) {
			t.Fatalf("%s: %s is %q and Salesforce holds %q", what, c.Name, want, have)
		}
	}
}

// awkwardValues are those of the core's corpus.
func awkwardValues(t *testing.T) (out []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("internal", "values", "testdata", "awkward.golden"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, `"`) {
			v, err := strconv.Unquote(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			// What is no UTF-8 cannot be in a message, and so never gets here.
			out = append(out, strings.ToValidUTF8(v, "\ufffd"))
		}
	}
	return out
}

// Whatever the mapper takes, Salesforce takes too, and stores as just what the mapper said.
func TestWhatIsMappedIsWhatSalesforceHolds(t *testing.T) {
	t.Parallel()
	o := newOrg(t)
	corpus := awkwardValues(t)
	if n := o.roundTrip(t, "awkward", corpus); n < 5*len(corpus) {
		t.Errorf("only %d of %d values in %d kinds of fields were stored", n, len(corpus), len(kinds))
	}
	if testing.Short() {
		return
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		o.roundTrip(rt, fmt.Sprint("any", n), rapid.SliceOfN(rapid.OneOf(
			rapid.String(), rapid.SampledFrom(corpus),
			rapid.Map(rapid.SliceOfN(rapid.SampledFrom(corpus), 2, 3), func(parts []string) string { return strings.Join(parts, "") }),
			rapid.StringMatching(`-?[0-9]{0,4}\.?[0-9]{0,18}(e-?[0-9])?`),
			rapid.StringMatching(`20[0-9]{2}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-][01][0-9]:[03]0)?)?`),
		), 1, 4).Draw(rt, "values"))
	})
}
