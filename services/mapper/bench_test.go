package mapper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// echo answers each batch with the people's own values: what the stream costs without any mapping.
type echo struct {
	mapperv1.UnimplementedMapperServiceServer
}

func (echo) MapPeople(stream grpc.BidiStreamingServer[mapperv1.MapPeopleRequest, mapperv1.MapPeopleResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if req.GetBatch() == nil {
			continue
		}
		res := &mapperv1.MapPeopleResponse{People: make([]*mapperv1.MappedPerson, len(req.GetBatch().GetRows()))}
		for i, one := range req.GetBatch().GetRows() {
			res.People[i] = &mapperv1.MappedPerson{Values: one.GetPerson()}
		}
		if err := stream.Send(res); err != nil {
			return err
		}
	}
}

// serveEcho starts the floor, set up as a mapper is.
func serveEcho(b *testing.B) mapperv1.MapperServiceClient {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(b), Stopping: ctx.Done()})
	mapperv1.RegisterMapperServiceServer(server, echo{})
	network := rpc.NewMemNet()
	lis := network.Listen("echo")
	var running sync.WaitGroup
	running.Go(func() { _ = rpc.Serve(ctx, server, lis, time.Second) })
	conn, err := network.Dial("echo", rpc.DialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		cancel()
		running.Wait()
	})
	return mapperv1.NewMapperServiceClient(conn)
}

// twelve is a header of ten plain pairs, two expressions and three rules.
func twelve() *mapperv1.MapHeader {
	columns := []string{"id", "first_name", "last_name", "email", "title", "phone", "street", "city", "postal_code", "country"}
	targets := []string{"Catalog_Id__c", "FirstName", "LastName", "Email", "Title", "Phone", "MailingStreet", "MailingCity", "MailingPostalCode", "MailingCountry"}
	h := header(columns...)
	h.FieldMap.Pairs, h.Now = nil, timestamppb.New(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	for i := range columns {
		h.FieldMap.Pairs = append(h.FieldMap.Pairs, &mapperv1.Pair{Source: columns[i], Target: targets[i]})
	}
	h.FieldMap.Pairs = append(h.FieldMap.Pairs,
		&mapperv1.Pair{Expression: `person.first_name + " " + person.last_name`, Target: "Greeting__c"},
		&mapperv1.Pair{Expression: `person.country == "Germany" ? "EU" : "World"`, Target: "Region__c"})
	h.Describe.Fields = append(h.Describe.Fields, field("Greeting__c", "string", 255), field("Region__c", "string", 20))
	rule := func(name string, effect mapperv1.Effect, test *mapperv1.Test) *mapperv1.Rule {
		return &mapperv1.Rule{Name: name, Effect: effect, Condition: &mapperv1.Condition{Condition: &mapperv1.Condition_Test{Test: test}}}
	}
	h.FieldMap.Rules = []*mapperv1.Rule{
		rule("no tests", mapperv1.Effect_EFFECT_SKIP, &mapperv1.Test{Field: "email", Operator: mapperv1.Operator_OPERATOR_CONTAINS, Values: []string{"@test.", "noreply"}}),
		rule("not locked", mapperv1.Effect_EFFECT_SKIP, &mapperv1.Test{Side: mapperv1.Side_SIDE_SALESFORCE, Field: "Title", Operator: mapperv1.Operator_OPERATOR_EQUALS, Values: []string{"LOCKED"}}),
		rule("countries", mapperv1.Effect_EFFECT_INCLUDE, &mapperv1.Test{Field: "country", Operator: mapperv1.Operator_OPERATOR_IN, Values: []string{"Germany", "France"}}),
	}
	return h
}

// BenchmarkMapPeople maps batches of 1,000 people by ten pairs, two expressions and three rules, over gRPC in memory: both
// sides' encoding included. Batches take turns with the floor's, a stream that echoes the rows, so that a busy machine
// slows down both: x-floor says how many times as much processor time mapping takes.
func BenchmarkMapPeople(b *testing.B) {
	c, floor := serve(b, testkit.Bus(b)), serveEcho(b)
	batch := &mapperv1.PeopleAndRecords{}
	for i := range 1000 {
		n := fmt.Sprint(i)
		batch.Rows = append(batch.Rows, &mapperv1.PersonAndRecord{Person: &rowv1.Row{Id: "P-" + n, Values: []string{
			"P-" + n, "Zoë", "Person " + n, "person" + n + "@example.com", "Engineer", "+1 555 " + n, "Main Street " + n, "Berlin", "10115", "Germany",
		}}})
	}
	open := func(client mapperv1.MapperServiceClient) func() {
		stream, err := client.MapPeople(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := stream.Send(&mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Header{Header: twelve()}}); err != nil {
			b.Fatal(err)
		}
		req := &mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Batch{Batch: batch}}
		return func() {
			if err := stream.Send(req); err != nil {
				b.Fatal(err)
			}
			resp, err := stream.Recv()
			if err != nil || len(resp.GetPeople()) != len(batch.Rows) || resp.GetPeople()[0].GetSkippedBy() != "" || len(resp.GetPeople()[0].GetProblems()) > 0 {
				b.Fatalf("%d people, %v", len(resp.GetPeople()), err)
			}
		}
	}
	mapping, echoing := open(c.eval), open(floor)
	b.ReportAllocs()
	people, mapped, echoed := 0, time.Duration(0), time.Duration(0)
	for b.Loop() {
		start := cpu(b)
		mapping()
		middle := cpu(b)
		echoing()
		mapped, echoed = mapped+middle-start, echoed+cpu(b)-middle
		people += len(batch.Rows)
	}
	b.ReportMetric(float64(people)/mapped.Seconds(), "people/cpu-s")
	b.ReportMetric(float64(people)/echoed.Seconds(), "floor-people/cpu-s")
	b.ReportMetric(mapped.Seconds()/echoed.Seconds(), "x-floor")
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
