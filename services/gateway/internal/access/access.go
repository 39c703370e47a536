package access

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
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
	// Sessions are those of people who signed in with a browser; nil: nobody can.
	Sessions *Sessions
	// Issuer vouches for the bearers of JSON web tokens; nil: nobody does.
	Issuer Issuer
	// Rate bounds how often each of them may call; nil: it does not.
	Rate *Rate
}

// Issuer checks a JSON web token. Its error is Unauthenticated when the token is not to be believed, Denied when it is and
// says nothing that lets its bearer in, and Unavailable when the issuer cannot be asked for its keys.
type Issuer interface {
	Bearer(ctx context.Context, token string) (rpc.Caller, error)
}

// reflection is what tools ask for the list of services, where it is served. It holds nothing but what the protos say, so
// anybody may.
const reflection = "/grpc.reflection."

// Authenticate returns ctx with the caller whose token came with the call, or why the method may not be called. A call
// that lasts is asked for again while it is open.
func (c *Control) Authenticate(ctx context.Context, fullMethod string) (context.Context, error) {
	if strings.HasPrefix(fullMethod, reflection) {
		return ctx, nil
	}
	need, ok := c.Rules[fullMethod]
	if !ok || !Public(need) {
		return nil, errs.New(errs.Denied, "not_public", "%s is not for callers from outside", fullMethod)
	}
	caller, err := c.admit(ctx, fullMethod, need, true)
	if err != nil {
		return nil, err
	}
	if err := c.Rate.take(caller); err != nil {
		return nil, err
	}
	ctx = rpc.WithRecheck(ctx, func(ctx context.Context) error {
		_, err := c.admit(ctx, fullMethod, need, false)
		return err
	})
	return rpc.WithCaller(ctx, caller), nil
}

// operators are the services that an operator may call beside the methods that are for operators alone.
var operators = []string{gatewayv1.ApiTokenService_ServiceDesc.ServiceName, auditv1.AuditService_ServiceDesc.ServiceName}

// admit finds out who calls, and whether that is enough for a method that needs the role. A call that begins is a sign of
// life; one that goes on is not.
func (c *Control) admit(ctx context.Context, fullMethod string, need optionsv1.Role, begins bool) (rpc.Caller, error) {
	caller, err := c.caller(ctx, begins)
	if err != nil {
		return rpc.Caller{}, err
	}
	if caller.Role == optionsv1.Role_ROLE_OPERATOR {
		if service, _, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/"); need != optionsv1.Role_ROLE_OPERATOR && !slices.Contains(operators, service) {
			return rpc.Caller{}, errs.New(errs.Denied, "operator_makes_tokens_only",
				"the operator's token is for API tokens, keys and their audit log alone: make a token for the tenant (create one with its name) and call with that")
		}
		return caller, nil
	}
	if caller.Role < need {
		return rpc.Caller{}, errs.New(errs.Denied, "role_too_low", "this needs the role %s, and %q has the role %s: ask an owner of tenant %s for a token with that role",
			roleName(need), caller.Subject, roleName(caller.Role), caller.Tenant)
	}
	return caller, nil
}

// SessionScheme is the scheme of the authorization header that names a session. The HTTP server makes the header of a
// cookie, once it knows that the request does not come from a page of somebody else.
const SessionScheme = "Session"

// caller finds out whose token came with the call.
func (c *Control) caller(ctx context.Context, begins bool) (rpc.Caller, error) {
	scheme, secret, err := authorization(ctx)
	if err != nil {
		return rpc.Caller{}, err
	}
	switch {
	case strings.EqualFold(scheme, SessionScheme) && c.Sessions != nil:
		s, err := c.Sessions.Use(ctx, secret, begins)
		return s.caller(), err
	case !strings.EqualFold(scheme, "Bearer"):
		return rpc.Caller{}, malformedHeader()
	case !c.Operator.IsZero() && c.Operator.Equal(config.NewSecret(secret)):
		return rpc.Caller{Subject: "operator", Role: optionsv1.Role_ROLE_OPERATOR}, nil
	case c.Issuer != nil && strings.Count(secret, ".") == 2:
		return c.Issuer.Bearer(ctx, secret)
	case !wellFormed(secret):
		return rpc.Caller{}, errs.New(errs.Unauthenticated, "malformed_token", "this is no API token: one is %s and %d letters and digits. Check that it was copied whole", prefix, digits)
	}
	t, err := c.Tokens.find(ctx, secret)
	if err != nil {
		return rpc.Caller{}, err
	}
	if !t.ExpiresAt.IsZero() && !time.Now().Before(t.ExpiresAt) {
		return rpc.Caller{}, errs.New(errs.Unauthenticated, "expired_token", "the API token %q expired at %s: ask an owner of tenant %s for a new one",
			t.Name, t.ExpiresAt.Format(time.RFC3339), t.Tenant)
	}
	if t.Tenant == "" || !OfTenant(t.Role) {
		return rpc.Caller{}, errs.New(errs.Internal, "unusable_token", "the stored API token %s names no tenant or role", t.ID)
	}
	if begins {
		c.Tokens.used(secret)
	}
	return rpc.Caller{Tenant: t.Tenant, Subject: t.Name, Role: t.Role}, nil
}

// authorization returns scheme and token of the call's authorization metadata.
func authorization(ctx context.Context) (scheme, token string, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) == 0 {
		return "", "", errs.New(errs.Unauthenticated, "no_token", "send an API token with the call: authorization: Bearer %s...", prefix)
	}
	scheme, token, _ = strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); len(values) > 1 || token == "" {
		return "", "", malformedHeader()
	}
	return scheme, token, nil
}

func malformedHeader() error {
	return errs.New(errs.Unauthenticated, "malformed_token", "the authorization header cannot be read: send it once, as: authorization: Bearer %s...", prefix)
}
