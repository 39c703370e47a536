package gateway_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestUnaryCallsAreForwarded(t *testing.T) {
	t.Parallel()
	w := start(t)
	want := &syncv1.GetRunResponse{Run: &syncv1.Run{Id: "run_1", Tenant: "acme", BulkJobIds: []string{"750A"}}}
	w.reply(syncv1.RunService_GetRun_FullMethodName, want)
	ctx, cancel := context.WithTimeout(with(t.Context(), w.token(t, "acme", viewer)), time.Minute)
	defer cancel()
	runs := syncv1.NewRunServiceClient(w.conn)
	got, err := runs.GetRun(ctx, &syncv1.GetRunRequest{RunId: "run_1"})
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Error(err, diff)
	}
	c := w.got(syncv1.RunService_GetRun_FullMethodName)
	if len(c) != 1 || !proto.Equal(c[0].sent[0], &syncv1.GetRunRequest{RunId: "run_1"}) || c[0].caller.Tenant != "acme" {
		t.Errorf("calls are %v", c)
	}

	busy := errs.New(errs.RateLimited, "slow_down", "not so fast")
	busy.RetryAfter = 7 * time.Second
	w.answer(syncv1.RunService_GetRun_FullMethodName, func(context.Context, proto.Message, func(proto.Message) error) error { return busy })
	_, err = runs.GetRun(ctx, &syncv1.GetRunRequest{})
	wantError(t, "a refusal", err, errs.RateLimited, "slow_down", "not so fast")
	if errs.RetryAfter(err) != 7*time.Second {
		t.Errorf("retry after %v", errs.RetryAfter(err))
	}
}

func TestStreamsFromServicesAreForwarded(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.answer(syncv1.RunService_WatchRun_FullMethodName, func(_ context.Context, req proto.Message, send func(proto.Message) error) error {
		for _, stage := range []string{"plan", "apply", "verify"} {
			if err := send(&syncv1.WatchRunResponse{Run: &syncv1.Run{Id: req.(*syncv1.WatchRunRequest).GetRunId(), Stage: stage}}); err != nil {
				return err
			}
		}
		return errs.New(errs.NotFound, "no_such_run", "the run is gone")
	})
	stream, err := syncv1.NewRunServiceClient(w.conn).WatchRun(with(t.Context(), w.token(t, "acme", viewer)), &syncv1.WatchRunRequest{RunId: "run_1"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		res, rerr := stream.Recv()
		if rerr != nil {
			err = rerr
			break
		}
		got = append(got, res.GetRun().GetId()+" "+res.GetRun().GetStage())
	}
	if strings.Join(got, ", ") != "run_1 plan, run_1 apply, run_1 verify" {
		t.Errorf("got %v", got)
	}
	wantError(t, "the end", err, errs.NotFound, "no_such_run", "gone")
}

func TestStreamsFromCallersAreForwarded(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.answer(directoryv1.DirectoryService_ImportPeople_FullMethodName, func(_ context.Context, _ proto.Message, send func(proto.Message) error) error {
		return send(&directoryv1.ImportPeopleResponse{Message: &directoryv1.ImportPeopleResponse_Summary{Summary: &directoryv1.ImportSummary{Lines: 3}}})
	})
	ctx := with(t.Context(), w.token(t, "acme", admin))
	people := directoryv1.NewDirectoryServiceClient(w.conn)
	stream, err := people.ImportPeople(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"id\n", "1\n", "2\n"} {
		if err := stream.Send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Chunk{Chunk: []byte(part)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil || res.GetSummary().GetLines() != 3 {
		t.Errorf("answer is %v, %v", res, err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
	if c := w.got(directoryv1.DirectoryService_ImportPeople_FullMethodName); len(c) != 1 || len(c[0].sent) != 3 || c[0].err != nil {
		t.Errorf("calls are %v", c)
	}
}

func TestACallerWhoBreaksOffDoesNotLookFinished(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, cancel := context.WithCancel(with(t.Context(), w.token(t, "acme", admin)))
	stream, err := directoryv1.NewDirectoryServiceClient(w.conn).ImportPeople(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Chunk{Chunk: []byte("id\n1\n")}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if w.requests.Load() == 0 {
			return errors.New("nothing has come")
		}
		return nil
	})
	cancel()
	testkit.Eventually(t, 10*time.Second, func() error {
		c := w.got(directoryv1.DirectoryService_ImportPeople_FullMethodName)
		if len(c) == 0 {
			return errors.New("the service does not know yet")
		}
		if c[0].err == nil {
			t.Error("the service took it for the end")
		}
		return nil
	})
}

// filled are requests with the connection, which the gateway fills in where it is empty.
func filled(id string) map[string]proto.Message {
	return map[string]proto.Message{
		mapperv1.FieldMapService_GetFieldMap_FullMethodName:    &mapperv1.GetFieldMapRequest{ConnectionId: id},
		mapperv1.FieldMapService_ListFieldMaps_FullMethodName:  &mapperv1.ListFieldMapsRequest{ConnectionId: id},
		schedulerv1.ScheduleService_GetSchedule_FullMethodName: &schedulerv1.GetScheduleRequest{ConnectionId: id},
		schedulerv1.ScheduleService_SetSchedule_FullMethodName: &schedulerv1.SetScheduleRequest{ConnectionId: id},
		syncv1.RunService_StartRun_FullMethodName:              &syncv1.StartRunRequest{ConnectionId: id},
		syncv1.ObjectService_DescribeObject_FullMethodName:     &syncv1.DescribeObjectRequest{ConnectionId: id},
		syncv1.ObjectService_ListObjects_FullMethodName:        &syncv1.ListObjectsRequest{ConnectionId: id},
		mapperv1.FieldMapService_SaveFieldMap_FullMethodName:   &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{ConnectionId: id, Object: "Contact"}},
	}
}

func TestTheTenantsConnectionIsFilledIn(t *testing.T) {
	t.Parallel()
	w := start(t)
	acme, umbrella := with(t.Context(), w.token(t, "acme", admin)), with(t.Context(), w.token(t, "umbrella", admin))
	named := filled("con_acme")
	for method, req := range filled("") {
		res := newMessage(methods()[method].Output())
		for _, r := range []proto.Message{req, named[method]} {
			if err := w.conn.Invoke(acme, method, r, res); err != nil {
				t.Errorf("%s: %v", method, err)
			}
		}
		calls := w.got(method)
		if len(calls) < 2 {
			t.Fatalf("%s: %d calls", method, len(calls))
		}
		for _, c := range calls {
			id := c.sent[0].ProtoReflect()
			if m, ok := c.sent[0].(*mapperv1.SaveFieldMapRequest); ok {
				id = m.GetFieldMap().ProtoReflect()
			}
			if got := id.Get(id.Descriptor().Fields().ByName("connection_id")).String(); got != "con_acme" {
				t.Errorf("%s: connection is %q", method, got)
			}
		}
		before := len(w.got(method))
		for _, r := range []proto.Message{req, named[method]} {
			err := w.conn.Invoke(umbrella, method, r, res)
			wantError(t, method+" by another tenant", err, errs.NotFound, "no_such_connection")
		}
		if len(w.got(method)) != before {
			t.Errorf("%s of another tenant's connection got through", method)
		}
	}
	runs := syncv1.NewRunServiceClient(w.conn)
	if _, err := runs.ListRuns(umbrella, &syncv1.ListRunsRequest{}); err != nil {
		t.Errorf("all runs: %v", err)
	}
	_, err := runs.ListRuns(umbrella, &syncv1.ListRunsRequest{ConnectionId: "con_acme"})
	wantError(t, "runs of another tenant's connection", err, errs.NotFound, "no_such_connection")
}

func TestASchedulesTriggerIsTheSchedulers(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := with(t.Context(), w.token(t, "acme", admin))
	_, err := syncv1.NewRunServiceClient(w.conn).StartRun(ctx, &syncv1.StartRunRequest{Trigger: syncv1.RunTrigger_RUN_TRIGGER_SCHEDULE, RequestId: "2026-11-21"})
	wantError(t, "a scheduled run", err, errs.Invalid, "invalid_trigger")
}

func TestSavingAFieldMapBringsTheDescribe(t *testing.T) {
	t.Parallel()
	w := start(t)
	describe := &salesforcev1.ObjectDescribe{Name: "Contact"}
	w.reply(syncv1.ObjectService_DescribeObject_FullMethodName, &syncv1.DescribeObjectResponse{Describe: describe})
	w.reply(directoryv1.DirectoryService_ListPersonFields_FullMethodName, &directoryv1.ListPersonFieldsResponse{Fields: []string{"email", "attributes.cost_center", "attributes.level"}})
	ctx := with(t.Context(), w.token(t, "acme", admin))
	maps := mapperv1.NewFieldMapServiceClient(w.conn)
	req := &mapperv1.SaveFieldMapRequest{
		FieldMap:   &mapperv1.FieldMap{Object: "Contact", Pairs: []*mapperv1.Pair{{Source: "title", Target: "Title"}}},
		Describe:   &salesforcev1.ObjectDescribe{Name: "Forged"},
		Attributes: []string{"attributes.forged"}, ValidateOnly: true,
	}
	if _, err := maps.SaveFieldMap(ctx, req); err != nil {
		t.Fatal(err)
	}
	want := &mapperv1.SaveFieldMapRequest{
		FieldMap: &mapperv1.FieldMap{ConnectionId: "con_acme", Object: "Contact", Pairs: req.GetFieldMap().GetPairs()},
		Describe: describe, Attributes: []string{"attributes.cost_center", "attributes.level"}, ValidateOnly: true,
	}
	if diff := cmp.Diff(proto.Message(want), w.got(mapperv1.FieldMapService_SaveFieldMap_FullMethodName)[0].sent[0], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if c := w.got(syncv1.ObjectService_DescribeObject_FullMethodName)[0]; c.caller.Tenant != "acme" || c.sent[0].(*syncv1.DescribeObjectRequest).GetObject() != "Contact" {
		t.Errorf("described %v", c)
	}
	_, err := maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{})
	wantError(t, "no object", err, errs.Invalid, "missing_object", "Contact or Lead")
	w.answer(syncv1.ObjectService_DescribeObject_FullMethodName, func(context.Context, proto.Message, func(proto.Message) error) error {
		return errs.New(errs.NotFound, "no_such_object", "the org has no object Contakt")
	})
	_, err = maps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{Object: "Contakt"}})
	wantError(t, "an object that is not there", err, errs.NotFound, "no_such_object", "Contakt")
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := start(t)
	people := &directoryv1.CountPeopleResponse{People: 5}
	w.reply(directoryv1.DirectoryService_CountPeople_FullMethodName, people)
	missing := func(context.Context, proto.Message, func(proto.Message) error) error {
		return errs.New(errs.NotFound, "no_field_map", "none was saved")
	}
	w.answer(mapperv1.FieldMapService_GetFieldMap_FullMethodName, missing)
	client := gatewayv1.NewStatusServiceClient(w.conn)
	status := func(tenant string) *gatewayv1.GetStatusResponse {
		t.Helper()
		ctx := metadata.NewOutgoingContext(t.Context(), nil)
		res, err := client.GetStatus(with(ctx, w.token(t, tenant, viewer)), &gatewayv1.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	want := &gatewayv1.GetStatusResponse{State: gatewayv1.IntegrationState_INTEGRATION_STATE_NOT_LINKED, People: people}
	if diff := cmp.Diff(want, status("umbrella"), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	schedule, run := &schedulerv1.Schedule{Time: "00:00"}, &syncv1.Run{Id: "run_1", State: syncv1.RunState_RUN_STATE_SUCCEEDED}
	w.reply(schedulerv1.ScheduleService_GetSchedule_FullMethodName, &schedulerv1.GetScheduleResponse{Schedule: schedule})
	w.reply(syncv1.RunService_ListRuns_FullMethodName, &syncv1.ListRunsResponse{Runs: []*syncv1.Run{run}})
	want = &gatewayv1.GetStatusResponse{
		State: gatewayv1.IntegrationState_INTEGRATION_STATE_LINKED, People: people, Schedule: schedule, LatestRun: run,
		Connection: &authv1.Connection{Id: "con_acme", Tenant: "acme", State: authv1.ConnectionState_CONNECTION_STATE_LINKED},
	}
	if diff := cmp.Diff(want, status("acme"), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	w.reply(syncv1.RunService_ListRuns_FullMethodName, &syncv1.ListRunsResponse{Runs: []*syncv1.Run{{State: syncv1.RunState_RUN_STATE_HELD}}})
	if got := status("acme").GetState(); got != gatewayv1.IntegrationState_INTEGRATION_STATE_RUNNING {
		t.Errorf("state is %v", got)
	}
	w.reply(authv1.ConnectionService_GetConnection_FullMethodName, &authv1.GetConnectionResponse{Connection: &authv1.Connection{State: authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT}})
	if got := status("acme").GetState(); got != gatewayv1.IntegrationState_INTEGRATION_STATE_NEEDS_RECONNECT {
		t.Errorf("state is %v", got)
	}
}
