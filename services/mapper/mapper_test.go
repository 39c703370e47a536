package mapper_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
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
	if p := got.GetProblems()[0]; p.GetCode() != "field_shorter" || p.GetField() != "Title" || p.GetScope() != mapperv1.Scope_SCOPE_PERSON {
		t.Errorf("problem %v", p)
	}
	if p := got.GetProblems()[1]; p.GetCode() != "not_writable" || p.GetField() != "Phone" || p.GetScope() == mapperv1.Scope_SCOPE_PERSON {
		t.Errorf("problem %v", p)
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
