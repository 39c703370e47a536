package gateway_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
)

func (w *world) entries(t *testing.T, tenant string) (all []*auditv1.Entry) {
	t.Helper()
	log, err := audit.Open(t.Context(), w.bus, "test")
	if err != nil {
		t.Fatal(err)
	}
	q := audit.Query{Tenant: tenant, PageSize: 1000}
	for {
		page, next, err := log.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); next == "" {
			return all
		}
		q.PageToken = next
	}
}

// isWrite says for every method whether it is to be written down. It is written by hand where the name does not tell, so
// that a new method makes somebody think.
func isWrite(method string) bool {
	if roleOf(methods()[method]) < admin {
		return false
	}
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, read := range []string{"Get", "List", "Diff", "Suggest", "Try", "Diagnose"} {
		if strings.HasPrefix(name, read) {
			return false
		}
	}
	return true
}

func TestAdminCallsAreWrittenDown(t *testing.T) {
	t.Parallel()
	w := start(t)
	caller := with(t.Context(), w.token(t, "acme", owner))
	for _, method := range public() {
		if roleOf(methods()[method]) == optionsv1.Role_ROLE_OPERATOR {
			continue
		}
		before := len(w.entries(t, "acme"))
		_, err := w.do(caller, method)
		entries := w.entries(t, "acme")
		// A request that is refused before it is sent on was not made.
		done := err == nil || len(w.got(method)) > 0
		switch n := len(entries) - before; {
		case !isWrite(method) && n != 0:
			t.Errorf("%s is a read, and was written down", method)
		case isWrite(method) && done && n != 1:
			t.Errorf("%s: %d entries, error %v", method, n, err)
		case n == 1:
			if e := entries[0]; e.GetAction() != method[1:] || e.GetActor() != "test ROLE_OWNER" || e.GetRole() != owner || e.GetService() != "gateway" {
				t.Errorf("%s: the entry is %v", method, e)
			}
		}
	}
}

func TestEntriesSayWhatItIsAbout(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := with(t.Context(), w.token(t, "acme", owner))
	if _, err := w.runs().CancelRun(ctx, &syncv1.CancelRunRequest{RunId: "run_7"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.runs().StartRun(ctx, &syncv1.StartRunRequest{}); err != nil {
		t.Fatal(err)
	}
	made, err := w.tokens.CreateApiToken(ctx, &gatewayv1.CreateApiTokenRequest{Name: "ci", Role: viewer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.tokens.RevokeApiToken(ctx, &gatewayv1.RevokeApiTokenRequest{Id: made.GetToken().GetId()}); err != nil {
		t.Fatal(err)
	}
	a := w.http(t, "POST", "/v1/runs/run_8:cancel", w.token(t, "acme", admin), "{}")
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var got []string
	for _, e := range w.entries(t, "acme") {
		got = append(got, e.GetAction()[strings.LastIndexByte(e.GetAction(), '/')+1:]+" "+e.GetSubject()+" by "+e.GetActor())
		if strings.Contains(e.String(), made.GetSecret()) {
			t.Error("an entry holds a secret")
		}
	}
	want := []string{
		"CancelRun run_8 by test ROLE_ADMIN", "CreateApiToken test ROLE_ADMIN by operator", "RevokeApiToken " + made.GetToken().GetId() + " by test ROLE_OWNER",
		"CreateApiToken ci by test ROLE_OWNER", "StartRun con_acme by test ROLE_OWNER", "CancelRun run_7 by test ROLE_OWNER", "CreateApiToken test ROLE_OWNER by operator",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("entries are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	res, err := auditv1.NewAuditServiceClient(w.conn).ListAuditEntries(ctx, &auditv1.ListAuditEntriesRequest{PageSize: 2})
	if err != nil || len(res.GetEntries()) != 2 || res.GetNextPageToken() == "" || res.GetEntries()[0].GetSubject() != "run_8" {
		t.Errorf("the log as it is shown: %v, %v", res, err)
	}
	other, err := auditv1.NewAuditServiceClient(w.conn).ListAuditEntries(with(t.Context(), w.token(t, "umbrella", admin)), &auditv1.ListAuditEntriesRequest{})
	if err != nil || len(other.GetEntries()) != 1 || other.GetEntries()[0].GetTenant() != "umbrella" {
		t.Errorf("the log of another tenant: %v, %v", other, err)
	}
}

func TestEntriesTellWhatWasAsked(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, operator := with(t.Context(), w.token(t, "acme", owner)), with(t.Context(), operatorToken)
	if _, err := w.runs().ApproveRun(ctx, &syncv1.ApproveRunRequest{RunId: "run_7", PlanHash: "abc123", Note: "Jane Doe asked for it"}); err != nil {
		t.Fatal(err)
	}
	if _, err := schedulerv1.NewScheduleServiceClient(w.conn).SetSchedule(ctx, &schedulerv1.SetScheduleRequest{Enabled: true, Time: "04:30", Zone: "Europe/Berlin"}); err != nil {
		t.Fatal(err)
	}
	if _, err := authv1.NewConnectionServiceClient(w.conn).LinkConnection(ctx, &authv1.LinkConnectionRequest{
		Host: "acme.my.salesforce.com", Credentials: &authv1.LinkConnectionRequest_ClientCredentials{ClientCredentials: &authv1.ClientCredentials{ClientId: "3MVG9", ClientSecret: "hush"}},
	}); err != nil {
		t.Fatal(err)
	}
	made, err := w.tokens.CreateApiToken(operator, &gatewayv1.CreateApiTokenRequest{Name: "ci", Role: admin, Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.tokens.RevokeApiToken(operator, &gatewayv1.RevokeApiTokenRequest{Id: made.GetToken().GetId()}); err != nil {
		t.Fatal(err)
	}
	_, err = w.tokens.RevokeApiToken(operator, &gatewayv1.RevokeApiTokenRequest{Id: "tok_none"})
	wantError(t, "a token that there is not", err, errs.NotFound, "no_such_token")
	_, err = w.tokens.CreateApiToken(operator, &gatewayv1.CreateApiTokenRequest{Name: "x", Role: admin, Tenant: "no tenant"})
	wantError(t, "a tenant that cannot be", err, errs.Invalid, "invalid_token_request")

	tell := func(tenant string) (got []string) {
		for _, e := range w.entries(t, tenant) {
			got = append(got, e.GetAction()[strings.LastIndexByte(e.GetAction(), '/')+1:]+" "+e.GetSubject()+" by "+e.GetActor()+": "+e.GetDetail())
		}
		return got
	}
	want := []string{
		"RevokeApiToken " + made.GetToken().GetId() + " by operator: name=ci role=admin created_at=" + made.GetToken().GetCreatedAt().AsTime().Format(time.RFC3339),
		"CreateApiToken ci by operator: role=admin",
		"LinkConnection acme.my.salesforce.com by test ROLE_OWNER: credentials=client_credentials client_id=3MVG9",
		"SetSchedule con_acme by test ROLE_OWNER: enabled=true time=04:30 zone=Europe/Berlin",
		"ApproveRun run_7 by test ROLE_OWNER: plan_hash=abc123",
		"CreateApiToken test ROLE_OWNER by operator: role=owner",
	}
	if diff := cmp.Diff(want, tell("acme")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"CreateApiToken x by operator: role=admin", "RevokeApiToken tok_none by operator: "}, tell("")); diff != "" {
		t.Error(diff)
	}
}

// What cannot be written down is not done.
func TestNothingIsDoneWithoutAnEntry(t *testing.T) {
	t.Parallel()
	w := start(t)
	asOwner := w.token(t, "acme", owner)
	ctx := with(t.Context(), asOwner)
	broken := event.AuditStream()
	broken.MaxMsgSize = 16 // less than any entry
	if err := w.bus.EnsureStreams(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	for _, method := range public() {
		if !isWrite(method) || roleOf(methods()[method]) == optionsv1.Role_ROLE_OPERATOR {
			continue
		}
		_, err := w.do(ctx, method)
		if kind := errs.KindOf(err); kind == errs.OK || kind == errs.Unavailable && errs.ReasonOf(err) != "audit_unavailable" {
			t.Errorf("%s: %v", method, err)
		}
		if n := len(w.got(method)); n > 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
	_, err := w.tokens.CreateApiToken(ctx, &gatewayv1.CreateApiTokenRequest{Name: "x", Role: viewer})
	wantError(t, "a token", err, errs.Unavailable, "audit_unavailable", "was not done")
	list, err := w.tokens.ListApiTokens(ctx, &gatewayv1.ListApiTokensRequest{})
	if err != nil || len(list.GetTokens()) != 1 {
		t.Errorf("tokens are %v, %v", list, err)
	}
	stream, err := directoryv1.NewDirectoryServiceClient(w.conn).ImportPeople(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantError(t, "an import", err, errs.Unavailable, "audit_unavailable")
	if a := w.http(t, "POST", "/v1/people:import", asOwner, "id,email\n1,a@b.example\n"); a.status != 503 || !strings.Contains(a.body, "audit_unavailable") {
		t.Errorf("an import by HTTP: %d %s", a.status, a.body)
	}
	if a := w.http(t, "POST", "/v1/runs/run_8:cancel", asOwner, "{}"); a.status != 503 || !strings.Contains(a.body, "audit_unavailable") {
		t.Errorf("a call by HTTP: %d %s", a.status, a.body)
	}
	if _, err := w.do(ctx, gatewayv1.StatusService_GetStatus_FullMethodName); err != nil {
		t.Errorf("a read: %v", err)
	}
	for _, c := range w.all() {
		if isWrite(c.method) && c.method != authv1.ConnectionService_TestConnection_FullMethodName { // which the doctor asks
			t.Errorf("%s was called", c.method)
		}
	}
}

// The entry is there before the call is made.
func TestTheEntryComesFirst(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := with(t.Context(), w.token(t, "acme", admin))
	seen := 0
	w.answer(syncv1.RunService_CancelRun_FullMethodName, func(_ context.Context, _ proto.Message, send func(proto.Message) error) error {
		seen = len(w.entries(t, "acme"))
		return send(&syncv1.CancelRunResponse{})
	})
	if _, err := w.runs().CancelRun(ctx, &syncv1.CancelRunRequest{RunId: "run_7"}); err != nil {
		t.Fatal(err)
	}
	if seen != 2 { // that of the token, and that of the call
		t.Errorf("the call found %d entries", seen)
	}
}
