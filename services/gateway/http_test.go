package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/gateway"
)

// answer is an HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem is what an error answer says: "CODE reason".
func (a answer) problem() string {
	var e struct {
		Error struct{ Code, Reason, Message string }
	}
	if json.Unmarshal([]byte(a.body), &e) != nil || e.Error.Message == "" {
		return "no error: " + a.body
	}
	return e.Error.Code + " " + e.Error.Reason
}

func (w *world) http(t testing.TB, method, path, token, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func TestPathsLeadToMethods(t *testing.T) {
	t.Parallel()
	w := start(t)
	token := w.token(t, "acme", admin)
	for _, tc := range []struct {
		request, body string
		method        string
		want          proto.Message
	}{
		{"POST /v1/connections", `{"host":"h","client_credentials":{"client_id":"i","client_secret":"s"}}`, authv1.ConnectionService_LinkConnection_FullMethodName, &authv1.LinkConnectionRequest{Host: "h", Credentials: &authv1.LinkConnectionRequest_ClientCredentials{ClientCredentials: &authv1.ClientCredentials{ClientId: "i", ClientSecret: "s"}}}},
		{"GET /v1/connections", "", authv1.ConnectionService_ListConnections_FullMethodName, &authv1.ListConnectionsRequest{}},
		{"GET /v1/connections/con_acme", "", authv1.ConnectionService_GetConnection_FullMethodName, &authv1.GetConnectionRequest{ConnectionId: "con_acme"}},
		{"POST /v1/connections/con_acme:test", "", authv1.ConnectionService_TestConnection_FullMethodName, &authv1.TestConnectionRequest{ConnectionId: "con_acme"}},
		{"POST /v1/connections:test", "", authv1.ConnectionService_TestConnection_FullMethodName, &authv1.TestConnectionRequest{}},
		{"GET /v1/field-maps", "", mapperv1.FieldMapService_ListFieldMaps_FullMethodName, &mapperv1.ListFieldMapsRequest{ConnectionId: "con_acme"}},
		{"GET /v1/field-maps/3", "", mapperv1.FieldMapService_GetFieldMap_FullMethodName, &mapperv1.GetFieldMapRequest{ConnectionId: "con_acme", Version: 3}},
		{"GET /v1/field-maps:latest?connection_id=con_acme", "", mapperv1.FieldMapService_GetFieldMap_FullMethodName, &mapperv1.GetFieldMapRequest{ConnectionId: "con_acme"}},
		{"POST /v1/field-maps", `{"field_map":{"object":"Lead"}}`, mapperv1.FieldMapService_SaveFieldMap_FullMethodName, &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{ConnectionId: "con_acme", Object: "Lead"}}},
		{"GET /v1/schedule", "", schedulerv1.ScheduleService_GetSchedule_FullMethodName, &schedulerv1.GetScheduleRequest{ConnectionId: "con_acme"}},
		{"PUT /v1/schedule", `{"enabled":true,"time":"03:30","zone":"Europe/Berlin"}`, schedulerv1.ScheduleService_SetSchedule_FullMethodName, &schedulerv1.SetScheduleRequest{ConnectionId: "con_acme", Enabled: true, Time: "03:30", Zone: "Europe/Berlin"}},
		{"POST /v1/runs", `{"plan_only":true,"request_id":"r"}`, syncv1.RunService_StartRun_FullMethodName, &syncv1.StartRunRequest{ConnectionId: "con_acme", PlanOnly: true, RequestId: "r"}},
		{"POST /v1/runs", ``, syncv1.RunService_StartRun_FullMethodName, &syncv1.StartRunRequest{ConnectionId: "con_acme"}},
		{"GET /v1/runs?page_size=7", "", syncv1.RunService_ListRuns_FullMethodName, &syncv1.ListRunsRequest{PageSize: 7}},
		{"GET /v1/runs/run_1", "", syncv1.RunService_GetRun_FullMethodName, &syncv1.GetRunRequest{RunId: "run_1"}},
		{"POST /v1/runs/run_1:cancel", "", syncv1.RunService_CancelRun_FullMethodName, &syncv1.CancelRunRequest{RunId: "run_1"}},
		{"GET /v1/runs/run_1/changes?action=ACTION_UPDATE", "", syncv1.RunService_ListChanges_FullMethodName, &syncv1.ListChangesRequest{RunId: "run_1", Action: syncv1.Action_ACTION_UPDATE}},
		{"GET /v1/runs/run_1/outcomes?kinds=OUTCOME_KIND_FAILED&kinds=OUTCOME_KIND_REJECTED&page_token=p", "", syncv1.RunService_ListOutcomes_FullMethodName, &syncv1.ListOutcomesRequest{RunId: "run_1", PageToken: "p", Kinds: []syncv1.OutcomeKind{syncv1.OutcomeKind_OUTCOME_KIND_FAILED, syncv1.OutcomeKind_OUTCOME_KIND_REJECTED}}},
		{"GET /v1/objects", "", syncv1.ObjectService_ListObjects_FullMethodName, &syncv1.ListObjectsRequest{ConnectionId: "con_acme"}},
		{"GET /v1/objects/Contact", "", syncv1.ObjectService_DescribeObject_FullMethodName, &syncv1.DescribeObjectRequest{ConnectionId: "con_acme", Object: "Contact"}},
		{"GET /v1/people?prefix=ann%40x&include_gone=true", "", directoryv1.DirectoryService_ListPeople_FullMethodName, &directoryv1.ListPeopleRequest{Prefix: "ann@x", IncludeGone: true}},
		{"GET /v1/people/a%2Fb:c%20d", "", directoryv1.DirectoryService_GetPerson_FullMethodName, &directoryv1.GetPersonRequest{Id: "a/b:c d"}},
		{"GET /v1/people:count", "", directoryv1.DirectoryService_CountPeople_FullMethodName, &directoryv1.CountPeopleRequest{}},
		{"GET /v1/person-fields", "", directoryv1.DirectoryService_ListPersonFields_FullMethodName, &directoryv1.ListPersonFieldsRequest{}},
	} {
		verb, path, _ := strings.Cut(tc.request, " ")
		a := w.http(t, verb, path, token, tc.body)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || !json.Valid([]byte(a.body)) {
			t.Errorf("%s: %d %s %s", tc.request, a.status, a.header, a.body)
			continue
		}
		found := false
		for _, c := range w.got(tc.method) {
			found = found || proto.Equal(c.sent[0], tc.want)
		}
		if !found {
			t.Errorf("%s did not become %v", tc.request, tc.want)
		}
	}
}

func TestTokensAndStatusOverHTTP(t *testing.T) {
	t.Parallel()
	w := start(t)
	a := w.http(t, "POST", "/v1/tokens", operatorToken, `{"name":"first","tenant":"acme","role":"ROLE_OWNER","expires_at":"2126-01-02T03:04:05Z"}`)
	var made struct {
		Token  struct{ ID, Tenant, Role string }
		Secret string
	}
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != http.StatusOK || !strings.HasPrefix(made.Secret, "cs_") || made.Token.Tenant != "acme" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a = w.http(t, "GET", "/v1/tokens", made.Secret, ""); a.status != http.StatusOK || !strings.Contains(a.body, made.Token.ID) || strings.Contains(a.body, made.Secret) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = w.http(t, "GET", "/v1/status", made.Secret, ""); a.status != http.StatusOK || !strings.Contains(a.body, `"state":"INTEGRATION_STATE_LINKED"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = w.http(t, "DELETE", "/v1/tokens/"+made.Token.ID, made.Secret, ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = w.http(t, "GET", "/v1/status", made.Secret, ""); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestErrorsOverHTTP(t *testing.T) {
	t.Parallel()
	w := start(t)
	v, a := w.token(t, "acme", viewer), w.token(t, "acme", admin)
	busy := errs.New(errs.Unavailable, "salesforce_busy", "try again")
	busy.RetryAfter = 1500 * time.Millisecond
	for method, err := range map[string]error{
		syncv1.RunService_GetRun_FullMethodName:      errs.New(errs.NotFound, "no_such_run", "there is no run run_1"),
		syncv1.RunService_StartRun_FullMethodName:    errs.New(errs.Precondition, "needs_reconnect", "link again"),
		syncv1.RunService_ListRuns_FullMethodName:    busy,
		syncv1.RunService_CancelRun_FullMethodName:   errors.New("a detail that nobody should see"),
		syncv1.RunService_ListChanges_FullMethodName: errs.New(errs.Exhausted, "store_full", "make room"),
		syncv1.RunService_WatchRun_FullMethodName:    errs.New(errs.Precondition, "not_yet", "wait"),
	} {
		w.answer(method, func(context.Context, proto.Message, func(proto.Message) error) error { return err })
	}
	for _, tc := range []struct {
		request, token, body string
		status               int
		problem              string
	}{
		{"GET /v1/runs", "", "", 401, "UNAUTHENTICATED no_token"},
		{"GET /v1/runs", "cs_x", "", 401, "UNAUTHENTICATED malformed_token"},
		{"POST /v1/runs", v, "{}", 403, "PERMISSION_DENIED role_too_low"},
		{"GET /v1/runs", operatorToken, "", 403, "PERMISSION_DENIED operator_makes_tokens_only"},
		{"GET /v1/runs/run_1", v, "", 404, "NOT_FOUND no_such_run"},
		{"GET /v1/connections/con_umbrella", v, "", 404, "NOT_FOUND no_such_connection"},
		{"POST /v1/runs", a, "{}", 409, "FAILED_PRECONDITION needs_reconnect"},
		{"GET /v1/runs", v, "", 503, "UNAVAILABLE salesforce_busy"},
		{"POST /v1/runs/run_1:cancel", a, "", 500, "INTERNAL internal"},
		{"GET /v1/runs/run_1/changes", v, "", 507, "RESOURCE_EXHAUSTED store_full"},
		{"GET /v1/runs/run_1:watch", v, "", 409, "FAILED_PRECONDITION not_yet"},
		{"POST /v1/runs", a, `{"plan_onli":true}`, 400, "INVALID_ARGUMENT invalid_request"},
		{"POST /v1/runs", a, `{"plan_only":"perhaps"}`, 400, "INVALID_ARGUMENT invalid_request"},
		{"POST /v1/runs", a, `[`, 400, "INVALID_ARGUMENT invalid_request"},
		{"GET /v1/runs?page_size=many", v, "", 400, "INVALID_ARGUMENT invalid_request"},
		{"GET /v1/field-maps/three", v, "", 400, "INVALID_ARGUMENT invalid_request"},
		{"POST /v1/runs", a, `{"request_id":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "INVALID_ARGUMENT body_too_large"},
		{"GET /v1/nothing", v, "", 404, "NOT_FOUND no_such_path"},
		{"GET /", v, "", 404, "NOT_FOUND no_such_path"},
		{"DELETE /v1/runs", v, "", 405, "UNIMPLEMENTED no_such_method"},
		{"POST /v1/people:import?mode=half&encoding=x", a, "", 400, "INVALID_ARGUMENT invalid_query"},
		{"POST /v1/people:import", v, "id\n", 403, "PERMISSION_DENIED role_too_low"},
		{"POST /v1/people:import", "", "id\n", 401, "UNAUTHENTICATED no_token"},
	} {
		verb, path, _ := strings.Cut(tc.request, " ")
		got := w.http(t, verb, path, tc.token, tc.body)
		if got.status != tc.status || got.problem() != tc.problem || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %q (%s), want %d %q", tc.request, got.status, got.problem(), got.header.Get("Content-Type"), tc.status, tc.problem)
		}
		if strings.Contains(got.body, "nobody should see") {
			t.Errorf("%s shows a cause: %s", tc.request, got.body)
		}
		if tc.status == 401 && got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", tc.request)
		}
		if tc.status == 503 && got.header.Get("Retry-After") != "2" {
			t.Errorf("%s: Retry-After %q", tc.request, got.header.Get("Retry-After"))
		}
	}
}

func TestStreamsOverHTTPOutliveTheReadTimeout(t *testing.T) {
	t.Parallel()
	const stall = 2 * time.Second
	w := start(t, func(c *gateway.Config) { c.Stall = stall })
	began := time.Now()
	gone := make(chan struct{})
	next := make(chan struct{})
	w.answer(syncv1.RunService_WatchRun_FullMethodName, func(ctx context.Context, _ proto.Message, send func(proto.Message) error) error {
		for i := range 3 {
			if err := send(&syncv1.WatchRunResponse{Run: &syncv1.Run{Id: "run_1", TasksDone: int32(i)}}); err != nil {
				return err
			}
			select {
			case <-next:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		defer close(gone)
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+"/v1/runs/run_1:watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token(t, "acme", viewer))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if ct := res.Header.Get("Content-Type"); ct != "application/x-ndjson" {
		t.Errorf("content type is %s", ct)
	}
	lines := bufio.NewScanner(res.Body)
	for i := range 3 {
		if !lines.Scan() {
			t.Fatalf("line %d: %v", i, lines.Err())
		}
		if want := fmt.Sprintf(`"tasks_done":%d`, i); !strings.HasPrefix(lines.Text(), `{"result":`) || !strings.Contains(lines.Text(), want) {
			t.Errorf("line is %s", lines.Text())
		}
		testkit.Eventually(t, 10*stall, func() error {
			if time.Since(began) < stall+stall/2 {
				return errors.New("a client that stalls has time yet")
			}
			return nil
		})
		select {
		case next <- struct{}{}:
		case <-time.After(10 * stall):
			t.Fatal("the call has ended")
		}
	}
	cancel() // the client goes, and so does the call
	<-gone
}

func TestAnErrorEndsAStreamAsALine(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.answer(syncv1.RunService_WatchRun_FullMethodName, func(_ context.Context, _ proto.Message, send func(proto.Message) error) error {
		if err := send(&syncv1.WatchRunResponse{}); err != nil {
			return err
		}
		return errs.New(errs.Unavailable, "server_stopping", "connect again")
	})
	a := w.http(t, "GET", "/v1/runs/run_1:watch", w.token(t, "acme", viewer), "")
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if a.status != http.StatusOK || len(lines) != 2 || lines[1] != `{"error":{"code":"UNAVAILABLE","reason":"server_stopping","message":"connect again"}}` {
		t.Errorf("%d %q", a.status, lines)
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	w := start(t)
	if a := w.http(t, "GET", "/v1/runs", strings.Repeat("x", 24<<10), ""); a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", a.status)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	w := start(t)
	for path, want := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"status":"ready"}`} {
		if a := w.http(t, "GET", path, "", ""); a.status != http.StatusOK || strings.TrimSpace(a.body) != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestTheDocumentListsEveryMethod(t *testing.T) {
	t.Parallel()
	w := start(t)
	a := w.http(t, "GET", "/v1/openapi.json", "", "")
	var doc struct {
		Swagger             string
		Info                struct{ Title, Version string }
		SecurityDefinitions map[string]any
		Paths               map[string]map[string]struct {
			OperationID string         `json:"operationId"`
			Responses   map[string]any `json:"responses"`
			Parameters  []struct{ Name string }
			Produces    []string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", a.status, err)
	}
	if doc.Swagger != "2.0" || doc.Info.Title != "catalogsync" || doc.Info.Version == "" || doc.SecurityDefinitions["token"] == nil {
		t.Errorf("document is %+v", doc.Info)
	}
	listed := map[string]bool{}
	for path, verbs := range doc.Paths {
		for verb, op := range verbs {
			listed[op.OperationID] = true
			if op.Responses["default"] == nil {
				t.Errorf("%s %s says nothing about errors", verb, path)
			}
			if op.OperationID == "DirectoryService_ImportPeople" && (len(op.Parameters) != 5 || len(op.Produces) != 1) {
				t.Errorf("the import is described as %+v", op)
			}
		}
	}
	for _, method := range public() {
		m := methods()[method]
		if id := fmt.Sprintf("%s_%s", m.Parent().Name(), m.Name()); !listed[id] {
			t.Errorf("%s is not in the document", method)
		}
	}
	for _, hidden := range []string{`"TokenService"`, `"MapperService"`, gatewayv1.File_catalogsync_gateway_v1_gateway_proto.Path()} {
		if strings.Contains(a.body, hidden) {
			t.Errorf("the document speaks of %s", hidden)
		}
	}
	// Every reference leads somewhere.
	var all struct{ Definitions map[string]any }
	if err := json.Unmarshal([]byte(a.body), &all); err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(a.body, `"#/definitions/`)[1:] {
		if name, _, _ := strings.Cut(part, `"`); all.Definitions[name] == nil {
			t.Errorf("no definition of %s", name)
		}
	}
}
