package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// operation is a method as it is called by HTTP.
type operation struct {
	name         string // Service_Method
	method, path string
}

// operations are all that the OpenAPI document tells of, with something in place of the parameters of paths.
func (w *world) operations(t *testing.T) (all []operation) {
	t.Helper()
	a := w.http(t, "GET", "/v1/openapi.json", "", "")
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			// A method with several paths has a number behind its name.
			all = append(all, operation{strings.TrimRight(op.OperationID, "0123456789"), strings.ToUpper(method), regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "1")})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.name, b.name) })
	return all
}

// short is a method's name as the OpenAPI document has it.
func short(fullMethod string) string {
	service, method, _ := strings.Cut(fullMethod[1:], "/")
	return service[strings.LastIndexByte(service, '.')+1:] + "_" + method
}

// tokens that do not let anybody in, and why.
func (w *world) badTokens(t *testing.T) map[string]string {
	t.Helper()
	operator := with(t.Context(), operatorToken)
	made, err := w.tokens.CreateApiToken(operator, &gatewayv1.CreateApiTokenRequest{Name: "gone", Tenant: "acme", Role: owner})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.tokens.RevokeApiToken(operator, &gatewayv1.RevokeApiTokenRequest{Id: made.GetToken().GetId()}); err != nil {
		t.Fatal(err)
	}
	short, err := w.tokens.CreateApiToken(operator, &gatewayv1.CreateApiTokenRequest{
		Name: "short", Tenant: "acme", Role: owner, ExpiresAt: timestamppb.New(time.Now().Add(100 * time.Millisecond)),
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		if _, err := w.do(with(t.Context(), short.GetSecret()), gatewayv1.ApiTokenService_ListApiTokens_FullMethodName); errs.ReasonOf(err) != "expired_token" {
			return fmt.Errorf("the token has not expired: %w", err)
		}
		return nil
	})
	return map[string]string{
		"": "no_token", "cs_short": "malformed_token", "cs_" + strings.Repeat("x", 43): "unknown_token",
		made.GetSecret(): "unknown_token", short.GetSecret(): "expired_token", operatorToken + "x": "malformed_token",
	}
}

func TestEveryMethodOverHTTP(t *testing.T) {
	t.Parallel()
	w := start(t)
	bad := w.badTokens(t)
	roles := map[optionsv1.Role]string{viewer: w.token(t, "acme", viewer), admin: w.token(t, "acme", admin), owner: w.token(t, "acme", owner)}
	served := map[string]bool{}
	ops := w.operations(t)
	for _, op := range ops {
		served[op.name] = true
		for token, reason := range bad {
			a := w.http(t, op.method, op.path, token, "{}")
			if a.status != http.StatusUnauthorized || a.problem() != "UNAUTHENTICATED "+reason || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with a token that is %s: %d %s", op.method, op.path, reason, a.status, a.body)
			}
		}
	}
	if calls := w.all(); len(calls) > 0 {
		t.Errorf("refused calls got through: %v", calls)
	}
	for _, op := range ops {
		for role, token := range roles {
			a := w.http(t, op.method, op.path, token, "{}")
			need := optionsv1.Role_ROLE_UNSPECIFIED
			for _, m := range public() {
				if short(m) == op.name {
					need = roleOf(methods()[m])
				}
			}
			if need == optionsv1.Role_ROLE_UNSPECIFIED {
				t.Errorf("%s is no public method", op.name)
			}
			if refused := a.status == http.StatusForbidden && a.problem() == "PERMISSION_DENIED role_too_low"; refused != (role < need) {
				t.Errorf("%s %s as %v: %d %s", op.method, op.path, role, a.status, a.body)
			}
		}
	}
	for _, m := range public() {
		if need := roleOf(methods()[m]); !served[short(m)] && need != optionsv1.Role_ROLE_OPERATOR {
			t.Errorf("%s is not served by HTTP", m)
		}
	}
	for m, d := range methods() {
		if roleOf(d) == optionsv1.Role_ROLE_INTERNAL && served[short(m)] {
			t.Errorf("%s is internal, and in the OpenAPI document", m)
		}
	}
}

// Whatever a request names, it is made for the tenant of the token.
func TestEveryMethodIsForTheTokensTenant(t *testing.T) {
	t.Parallel()
	w := start(t)
	token := w.token(t, "umbrella", owner)
	ctx := with(t.Context(), token)
	for _, method := range public() {
		if _, err := w.do(ctx, method); errs.KindOf(err) == errs.Unauthenticated {
			t.Errorf("%s: %v", method, err)
		}
	}
	for _, op := range w.operations(t) {
		path := strings.ReplaceAll(op.path, "/1", "/con_acme")
		if a := w.http(t, op.method, path+"?tenant=acme&connection_id=con_acme", token, "{}"); strings.Contains(a.body, `"tenant":"acme"`) {
			t.Errorf("%s %s: %s", op.method, path, a.body)
		}
	}
	if len(w.all()) == 0 {
		t.Error("nothing got through")
	}
	for _, c := range w.all() {
		if c.caller.Tenant != "umbrella" {
			t.Errorf("%s was called for %+v", c.method, c.caller)
		}
	}
}

// A token's last use is shown to the minute, and is written once a minute however often it is used.
func TestLastUse(t *testing.T) {
	t.Parallel()
	w := start(t)
	secret := w.token(t, "acme", viewer)
	before := time.Now().Truncate(time.Minute)
	for range 50 {
		if _, err := w.do(with(t.Context(), secret), gatewayv1.StatusService_GetStatus_FullMethodName); errs.KindOf(err) == errs.Unauthenticated {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		list, err := w.tokens.ListApiTokens(with(t.Context(), operatorToken), &gatewayv1.ListApiTokensRequest{Tenant: "acme"})
		if err != nil || len(list.GetTokens()) != 1 {
			return fmt.Errorf("tokens are %v, %w", list, err)
		}
		tok := list.GetTokens()[0]
		at := tok.GetLastUsedAt()
		if at == nil {
			return fmt.Errorf("the token was never used: %v", tok)
		}
		if used := at.AsTime(); used.Before(before) || used.After(time.Now()) || used.Second() != 0 || used.Nanosecond() != 0 {
			t.Errorf("last used at %v", used)
		}
		return nil
	})
	// Made, and used in one minute or, when the clock was at its end, in two.
	seq, err := w.bus.LastSeq(t.Context(), "KV_API_TOKENS")
	if err != nil || seq > 3 {
		t.Errorf("tokens were written %d times, %v", seq, err)
	}
}

// What an admin may not do all the time, nobody may: the bucket of one caller does not empty that of another.
func TestCallersHaveARate(t *testing.T) {
	t.Parallel()
	w := start(t, slow)
	busy, quiet := w.token(t, "acme", viewer), w.token(t, "umbrella", viewer)
	var limited error
	for range 8 {
		if _, err := w.do(with(t.Context(), busy), gatewayv1.StatusService_GetStatus_FullMethodName); errs.KindOf(err) == errs.RateLimited {
			limited = err
		}
	}
	wantError(t, "too many calls", limited, errs.RateLimited, "too_many_calls", "at once")
	if errs.RetryAfter(limited) <= 0 {
		t.Error("it does not say when to try again")
	}
	if a := w.http(t, "GET", "/v1/status", busy, ""); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("by HTTP: %d %s", a.status, a.body)
	}
	if _, err := w.do(with(t.Context(), quiet), gatewayv1.StatusService_GetStatus_FullMethodName); errs.KindOf(err) == errs.RateLimited {
		t.Error(err)
	}
}

// A stream ends soon after its token was revoked.
func TestStreamsOfARevokedTokenAreCut(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.answer(watchRun, func(ctx context.Context, _ message, send func(message) error) error {
		if err := send(watchAnswer()); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	secret := w.token(t, "acme", viewer)
	stream, err := w.runs().WatchRun(with(t.Context(), secret), watchRequest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	list, err := w.tokens.ListApiTokens(with(t.Context(), operatorToken), &gatewayv1.ListApiTokensRequest{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.tokens.RevokeApiToken(with(t.Context(), operatorToken), &gatewayv1.RevokeApiTokenRequest{Id: list.GetTokens()[0].GetId()}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantError(t, "the stream", err, errs.Unauthenticated, "unknown_token")
}
