package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/gateway"
)

func wantError(t testing.TB, what string, err error, kind errs.Kind, reason string, words ...string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Errorf("%s: error is %v %s (%v), want %v %s", what, errs.KindOf(err), errs.ReasonOf(err), err, kind, reason)
		return
	}
	for _, w := range words {
		if !strings.Contains(errs.Message(err), w) {
			t.Errorf("%s: error says %q, want it to say %q", what, errs.Message(err), w)
		}
	}
}

// ofOperators reports whether an operator, who belongs to no tenant, may call a method that is for tenants, too.
func ofOperators(method string) bool {
	return strings.HasPrefix(method, "/"+gatewayv1.ApiTokenService_ServiceDesc.ServiceName+"/") ||
		strings.HasPrefix(method, "/"+auditv1.AuditService_ServiceDesc.ServiceName+"/")
}

func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	asViewer, asAdmin := with(ctx, w.token(t, "acme", viewer)), with(ctx, w.token(t, "acme", admin))
	revoked := with(ctx, w.token(t, "gone", admin))
	list, err := w.tokens.ListApiTokens(with(ctx, operatorToken), &gatewayv1.ListApiTokensRequest{Tenant: "gone"})
	if err != nil || len(list.GetTokens()) != 1 {
		t.Fatalf("tokens are %v, %v", list, err)
	}
	if _, err := w.tokens.RevokeApiToken(with(ctx, operatorToken), &gatewayv1.RevokeApiTokenRequest{Id: list.GetTokens()[0].GetId()}); err != nil {
		t.Fatal(err)
	}
	short, err := w.tokens.CreateApiToken(with(ctx, operatorToken), &gatewayv1.CreateApiTokenRequest{
		Name: "short", Tenant: "acme", Role: admin, ExpiresAt: timestamppb.New(time.Now().Add(200 * time.Millisecond)),
	})
	if err != nil {
		t.Fatal(err)
	}
	expired := with(ctx, short.GetSecret())
	testkit.Eventually(t, 30*time.Second, func() error {
		if _, err := w.do(expired, gatewayv1.ApiTokenService_ListApiTokens_FullMethodName); errs.ReasonOf(err) != "expired_token" {
			return fmt.Errorf("the token has not expired: %w", err)
		}
		return nil
	})
	header := func(values ...string) context.Context {
		md := metadata.MD{}
		md.Append("authorization", values...)
		return metadata.NewOutgoingContext(ctx, md)
	}
	good := "cs_" + strings.Repeat("a", 43)
	refused := map[string]struct {
		ctx    context.Context
		reason string
		words  string
	}{
		"no token":              {ctx, "no_token", "Bearer cs_"},
		"empty header":          {header(""), "malformed_token", "Bearer cs_"},
		"no scheme":             {header(good), "malformed_token", "Bearer cs_"},
		"another scheme":        {header("Basic " + good), "malformed_token", "Bearer cs_"},
		"scheme alone":          {header("Bearer "), "malformed_token", "Bearer cs_"},
		"two headers":           {header("Bearer "+good, "Bearer "+good), "malformed_token", "once"},
		"too short":             {header("Bearer cs_short"), "malformed_token", "copied whole"},
		"odd characters":        {header("Bearer cs_" + strings.Repeat("*", 43)), "malformed_token", "copied whole"},
		"almost the operator's": {header("Bearer " + operatorToken[:30] + "X"), "malformed_token", "copied whole"},
		"never made":            {header("Bearer " + good), "unknown_token", "revoked or never made"},
		"revoked":               {revoked, "unknown_token", "revoked or never made"},
		"expired":               {expired, "expired_token", "expired at"},
		"claims of a service":   {header(), "no_token", ""},
	}
	spoofed := metadata.AppendToOutgoingContext(ctx, "catalogsync-tenant-bin", "acme", "catalogsync-role", "ROLE_INTERNAL", "catalogsync-subject-bin", "scheduler")
	refused["claims of a service"] = struct {
		ctx    context.Context
		reason string
		words  string
	}{spoofed, "no_token", ""}

	for _, method := range public() {
		for name, tc := range refused {
			_, err := w.do(tc.ctx, method)
			wantError(t, method+" with "+name, err, errs.Unauthenticated, tc.reason, tc.words)
		}
	}
	for _, c := range w.all() {
		t.Errorf("a refused call of %s got through", c.method)
	}

	asOwner := with(ctx, w.token(t, "acme", owner))
	denied := func(err error) bool {
		return errs.KindOf(err) == errs.Denied || errs.KindOf(err) == errs.Unauthenticated
	}
	for _, method := range public() {
		need := roleOf(methods()[method])
		_, err := w.do(with(ctx, operatorToken), method)
		if (ofOperators(method) || need == optionsv1.Role_ROLE_OPERATOR) == (errs.ReasonOf(err) == "operator_makes_tokens_only") {
			t.Errorf("%s by the operator: %v", method, err)
		}
		for role, ctx := range map[optionsv1.Role]context.Context{viewer: asViewer, admin: asAdmin, owner: asOwner} {
			name := strings.ToLower(strings.TrimPrefix(role.String(), "ROLE_"))
			_, err = w.do(ctx, method)
			if role < need {
				wantError(t, method+" by a "+name, err, errs.Denied, "role_too_low", "role "+strings.ToLower(strings.TrimPrefix(need.String(), "ROLE_")), "role "+name)
			} else if denied(err) {
				t.Errorf("%s by a %s: %v", method, name, err)
			}
		}
	}
	for _, c := range w.all() {
		if need := roleOf(methods()[c.method]); c.caller.Role < need {
			t.Errorf("%s was called for %+v", c.method, c.caller)
		}
		if c.caller.Role != optionsv1.Role_ROLE_OPERATOR && (c.caller.Tenant != "acme" || !strings.HasPrefix(c.caller.Subject, "test ROLE_")) {
			t.Errorf("%s was called for %+v", c.method, c.caller)
		}
	}
}

func TestInternalMethodsAreNotServed(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := with(t.Context(), w.token(t, "acme", admin))
	n := 0
	for method, m := range methods() {
		if roleOf(m) != optionsv1.Role_ROLE_INTERNAL {
			continue
		}
		n++
		if _, err := w.do(ctx, method); errs.KindOf(err) == errs.OK {
			t.Errorf("%s can be called from outside", method)
		}
	}
	if n == 0 || len(w.all()) > 0 {
		t.Errorf("%d internal methods, calls %v", n, w.all())
	}
}

func TestACallerCannotClaimMoreThanItsToken(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := metadata.AppendToOutgoingContext(with(t.Context(), w.token(t, "acme", viewer)),
		"catalogsync-tenant-bin", "umbrella", "catalogsync-role", "ROLE_ADMIN")
	if _, err := w.do(ctx, syncv1.RunService_ListRuns_FullMethodName); err != nil {
		t.Fatal(err)
	}
	if c := w.got(syncv1.RunService_ListRuns_FullMethodName)[0].caller; c.Tenant != "acme" || c.Role != viewer {
		t.Errorf("called for %+v", c)
	}
}

// unused is the token as it was before its first use.
func unused(tok *gatewayv1.ApiToken) *gatewayv1.ApiToken {
	tok.LastUsedAt = nil
	return tok
}

func TestTokensOfTenants(t *testing.T) {
	t.Parallel()
	w := start(t)
	operator, acme, umbrella := with(t.Context(), operatorToken), with(t.Context(), w.token(t, "acme", owner)), with(t.Context(), w.token(t, "umbrella", owner))
	made, err := w.tokens.CreateApiToken(acme, &gatewayv1.CreateApiTokenRequest{Name: " ci ", Role: viewer})
	if err != nil {
		t.Fatal(err)
	}
	tok := made.GetToken()
	if tok.GetTenant() != "acme" || tok.GetName() != "ci" || tok.GetRole() != viewer || tok.GetCreatedAt() == nil || tok.GetExpiresAt() != nil ||
		tok.GetAuthor() != "test ROLE_OWNER" || tok.GetLastUsedAt() != nil {
		t.Errorf("token is %v", tok)
	}
	if _, err := w.do(with(t.Context(), made.GetSecret()), syncv1.RunService_ListRuns_FullMethodName); err != nil {
		t.Error(err)
	}

	_, err = w.tokens.CreateApiToken(acme, &gatewayv1.CreateApiTokenRequest{Name: "x", Role: viewer, Tenant: "umbrella"})
	wantError(t, "a token for another tenant", err, errs.Denied, "other_tenant")
	_, err = w.tokens.ListApiTokens(acme, &gatewayv1.ListApiTokensRequest{Tenant: "umbrella"})
	wantError(t, "the tokens of another tenant", err, errs.Denied, "other_tenant")
	_, err = w.tokens.RevokeApiToken(umbrella, &gatewayv1.RevokeApiTokenRequest{Id: tok.GetId()})
	wantError(t, "another tenant's token", err, errs.NotFound, "no_such_token", tok.GetId())
	_, err = w.tokens.CreateApiToken(operator, &gatewayv1.CreateApiTokenRequest{Name: "x", Role: viewer})
	wantError(t, "the operator's request without a tenant", err, errs.Invalid, "missing_tenant")
	_, err = w.tokens.CreateApiToken(operator, &gatewayv1.CreateApiTokenRequest{
		Name: strings.Repeat("x", 101), Tenant: "a/b", Role: optionsv1.Role_ROLE_INTERNAL, ExpiresAt: timestamppb.New(time.Now().Add(-time.Minute)),
	})
	wantError(t, "a bad request", err, errs.Invalid, "invalid_token_request", "101 characters", "tenant must", "viewer, admin or owner", "has passed")

	for who, ctx := range map[string]context.Context{"the admin": acme, "the operator": operator} {
		req := &gatewayv1.ListApiTokensRequest{}
		if who == "the operator" {
			req.Tenant = "acme"
		}
		list, err := w.tokens.ListApiTokens(ctx, req)
		if err != nil || len(list.GetTokens()) != 2 || !proto.Equal(unused(list.GetTokens()[1]), tok) {
			t.Errorf("%s sees %v, %v", who, list, err)
		}
		if strings.Contains(fmt.Sprint(list), made.GetSecret()) {
			t.Error("the list holds a secret")
		}
	}
	if _, err := w.tokens.RevokeApiToken(acme, &gatewayv1.RevokeApiTokenRequest{Id: tok.GetId()}); err != nil {
		t.Fatal(err)
	}
	_, err = w.do(with(t.Context(), made.GetSecret()), syncv1.RunService_ListRuns_FullMethodName)
	wantError(t, "a revoked token", err, errs.Unauthenticated, "unknown_token")
}

func TestReflectionNeedsNoToken(t *testing.T) {
	t.Parallel()
	w := start(t)
	stream, err := grpc_reflection_v1.NewServerReflectionClient(w.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, s := range res.GetListServicesResponse().GetService() {
		listed[s.GetName()] = true
	}
	for _, method := range public() {
		if service, _, _ := strings.Cut(method[1:], "/"); !listed[service] {
			t.Errorf("%s is not listed", service)
		}
	}
	if listed["catalogsync.auth.v1.TokenService"] || listed["catalogsync.mapper.v1.MapperService"] {
		t.Errorf("internal services are listed: %v", listed)
	}
}

func TestUnknownMethods(t *testing.T) {
	t.Parallel()
	w := start(t)
	err := w.conn.Invoke(t.Context(), "/catalogsync.sync.v1.RunService/Nothing", &gatewayv1.GetStatusRequest{}, &gatewayv1.GetStatusResponse{})
	if status.Code(err) != codes.Internal && errs.KindOf(err) != errs.Internal {
		t.Errorf("error is %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	err := gateway.Config{HTTPListen: "nonsense"}.Validate()
	for _, want := range []string{"-http-listen", "-max-body-bytes", "-max-file-bytes", "-max-connections", "-http-stall"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %s", err, want)
		}
	}
	cfg := gateway.DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

// What docs/operations.md says of acts that are for good.
func TestWhoMayDoWhatIsForGood(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]optionsv1.Role{
		authv1.ConnectionService_UnlinkConnection_FullMethodName: admin,
		authv1.ConnectionService_LinkConnection_FullMethodName:   admin, // with replace_org
		authv1.ConnectionService_BeginLink_FullMethodName:        admin,
		authv1.KeyService_DestroyDataKey_FullMethodName:          owner,
		gatewayv1.ApiTokenService_CreateApiToken_FullMethodName:  owner,
		gatewayv1.ApiTokenService_RevokeApiToken_FullMethodName:  owner,
	} {
		if got := roleOf(methods()[method]); got != want {
			t.Errorf("%s takes %v, want %v: docs/operations.md and services/gateway/README.md say so, too", method, got, want)
		}
	}
}
