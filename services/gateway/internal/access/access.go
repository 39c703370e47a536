package access

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

// Control decides, for every call from outside, for whom it is made and whether it may be made.
type Control struct {
	Rules    Rules
	Tokens   *Tokens
	Operator config.Secret // zero: there is no operator
}

// reflection is what tools ask for the list of services. It holds nothing but what the protos say, so anybody may.
const reflection = "/grpc.reflection."

// Authenticate returns ctx with the caller whose token came with the call, or why the method may not be called.
func (c *Control) Authenticate(ctx context.Context, fullMethod string) (context.Context, error) {
	if strings.HasPrefix(fullMethod, reflection) {
		return ctx, nil
	}
	need, ok := c.Rules[fullMethod]
	if !ok || !Public(need) {
		return nil, errs.New(errs.Denied, "not_public", "%s is not for callers from outside", fullMethod)
	}
	caller, err := c.caller(ctx)
	if err != nil {
		return nil, err
	}
	if caller.Role == optionsv1.Role_ROLE_OPERATOR {
		if !strings.HasPrefix(fullMethod, "/"+gatewayv1.ApiTokenService_ServiceDesc.ServiceName+"/") {
			return nil, errs.New(errs.Denied, "operator_makes_tokens_only",
				"the operator's token is for making API tokens alone: make one for the tenant (create a token with its name) and call with that")
		}
		return rpc.WithCaller(ctx, caller), nil
	}
	if caller.Role < need {
		return nil, errs.New(errs.Denied, "role_too_low", "this needs the role %s, and the token %q has the role %s: ask an admin of tenant %s for a token with that role",
			roleName(need), caller.Subject, roleName(caller.Role), caller.Tenant)
	}
	return rpc.WithCaller(ctx, caller), nil
}

// caller finds out whose token came with the call.
func (c *Control) caller(ctx context.Context) (rpc.Caller, error) {
	secret, err := bearer(ctx)
	if err != nil {
		return rpc.Caller{}, err
	}
	if !c.Operator.IsZero() && c.Operator.Equal(config.NewSecret(secret)) {
		return rpc.Caller{Subject: "operator", Role: optionsv1.Role_ROLE_OPERATOR}, nil
	}
	if !wellFormed(secret) {
		return rpc.Caller{}, errs.New(errs.Unauthenticated, "malformed_token", "this is no API token: one is %s and %d letters and digits. Check that it was copied whole", prefix, digits)
	}
	t, err := c.Tokens.find(ctx, secret)
	if err != nil {
		return rpc.Caller{}, err
	}
	if !t.ExpiresAt.IsZero() && !time.Now().Before(t.ExpiresAt) {
		return rpc.Caller{}, errs.New(errs.Unauthenticated, "expired_token", "the API token %q expired at %s: ask an admin of tenant %s for a new one",
			t.Name, t.ExpiresAt.Format(time.RFC3339), t.Tenant)
	}
	if t.Tenant == "" || !Public(t.Role) {
		return rpc.Caller{}, errs.New(errs.Internal, "unusable_token", "the stored API token %s names no tenant or role", t.ID)
	}
	return rpc.Caller{Tenant: t.Tenant, Subject: t.Name, Role: t.Role}, nil
}

// bearer returns the token in the call's authorization metadata.
func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) == 0 {
		return "", errs.New(errs.Unauthenticated, "no_token", "send an API token with the call: authorization: Bearer %s...", prefix)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errs.New(errs.Unauthenticated, "malformed_token", "the authorization header cannot be read: send it once, as: authorization: Bearer %s...", prefix)
	}
	return token, nil
}
