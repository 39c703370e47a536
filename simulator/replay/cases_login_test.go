package replay_test

import (
	"net/url"
	"strings"

	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

const (
	tokenPath = "/services/oauth2/token"
	user      = "admin@simulator.example"
	password  = "simulator-password"
)

// grant asks for a token by password.
func (o *org) grant(pairs ...string) reply {
	o.t.Helper()
	all := append([]string{"grant_type", "password", "username", user, "password", password, "client_id", o.ClientID(), "client_secret", o.ClientSecret()}, pairs...)
	return o.form(tokenPath, all...)
}

// loginCases are tokens, identity and what is refused before a resource is reached.
func loginCases() []replay {
	answers := func(rule fault.Rule, path string) func(*org, *node) reply {
		return func(o *org, _ *node) reply {
			o.Faults().MustAdd(rule)
			return o.get(path)
		}
	}
	return []replay{
		{file: "oauth/error-invalid-client-id.json", status: 400, ask: func(o *org, _ *node) reply { return o.grant("client_id", "nobody") }},
		{file: "oauth/error-invalid-grant-authentication-failure.json", status: 400, ask: func(o *org, _ *node) reply { return o.grant("password", "wrong") }},
		{
			file: "oauth/error-invalid-grant-invalid-password.json", status: 400, ask: func(o *org, _ *node) reply { return o.grant("password", "wrong") },
			meant: []meant{{`$.error_description: is "authentication failure", captured "authentication failure - Invalid Password"`, "the older wording of the same refusal"}},
		},
		{file: "oauth/error-invalid-grant-expired-token.json", status: 400, ask: func(o *org, _ *node) reply {
			return o.form(tokenPath, "grant_type", "refresh_token", "refresh_token", "5Aep861.gone", "client_id", o.ClientID(), "client_secret", o.ClientSecret())
		}},
		{file: "oauth/error-unsupported-grant-type.json", status: 400, ask: func(o *org, _ *node) reply { return o.grant("grant_type", "barter") }},
		{file: "oauth/token-success-username-password.json", ask: func(o *org, _ *node) reply { return o.grant() }, shape: true, meant: []meant{
			{`header X-Robots-Tag: is "none", captured ""`, "the capture is of 2022; replies of 2026 from the same endpoints have it"},
		}},
		{
			file: "oauth/token-success-authorization-code.docs.json", shape: true, ask: authorizationCode,
			meant: []meant{{"$: has access_token where the capture has id", "the guide's sample; replies of real orgs come in the order of the simulator's, as clients' logs have it"}},
		},
		{file: "identity/id-endpoint.json", shape: true, ask: func(o *org, _ *node) reply { return o.get("/id/" + o.OrgID() + "/" + o.UserID()) }},
		{file: "identity/userinfo.json", shape: true, ask: func(o *org, _ *node) reply { return o.get("/services/oauth2/userinfo") }},
		{file: "identity/organization-record.json", shape: true, ask: func(o *org, _ *node) reply { return o.get("sobjects/Organization/" + o.OrgID()) }},
		{file: "identity/versions-2026-05.json", options: simulator.Options{APIVersion: "66.0"}, ask: func(o *org, _ *node) reply { return o.get("/services/data") }},
		{file: "identity/versions-2023.json", options: simulator.Options{APIVersion: "58.0"}, ask: func(o *org, _ *node) reply { return o.get("/services/data") }},
		{file: "errors/401-invalid-auth-header-expired-jwt.json", status: 401, ask: func(o *org, _ *node) reply {
			o.token = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"
			return o.get("limits")
		}},
		{file: "errors/401-invalid-auth-header.json", status: 401, ask: func(o *org, _ *node) reply {
			o.token = ""
			return o.get("limits")
		}},
		{file: "errors/401-invalid-session-id.json", status: 401, ask: func(o *org, _ *node) reply {
			o.token = o.OrgID()[:15] + "!gone"
			return o.get("limits")
		}},
		{file: "errors/401-session-not-valid-for-rest.json", status: 401, ask: sessionWithoutAPI},
		{file: "errors/403-request-limit-exceeded.json", status: 403, ask: func(o *org, _ *node) reply {
			o.SetAPIUsed(15_000)
			return o.get("limits")
		}},
		{
			file: "errors/403-api-disabled-for-org.json", status: 403,
			ask: answers(fault.Rule{Kind: fault.Error, Status: 403, Code: "API_DISABLED_FOR_ORG", Message: "The REST API is not enabled for this Organization."}, "limits"),
		},
		{
			file: "errors/unknown-exception.json", status: 500,
			ask: answers(fault.Rule{Kind: fault.Error, Status: 500, Code: "UNKNOWN_EXCEPTION", Message: "An unexpected error occurred. Please include this ErrorId if you contact support: 1452464078-314667 (-1173371248)"}, "limits"),
		},
		{
			file: "errors/query-400-query-timeout.json", status: 400,
			ask: answers(fault.Rule{Kind: fault.Error, Status: 400, Code: "QUERY_TIMEOUT", Message: "Your query request was running for too long."}, "query?q=SELECT+Id+FROM+Account"),
		},
	}
}

// sessionWithoutAPI logs in under a policy that keeps the api scope back.
func sessionWithoutAPI(o *org, _ *node) reply {
	o.SetLoginPolicy(simulator.LoginPolicy{NoAPI: true})
	o.token = o.AccessToken()
	return o.get("limits")
}

// authorizationCode walks through the login and the consent page.
func authorizationCode(o *org, _ *node) reply {
	redirect := "http://localhost/cb"
	form := func(pairs ...string) reply { return o.form("/services/oauth2/authorize", pairs...) }
	page := o.get("/services/oauth2/authorize?response_type=code&scope=id+api+refresh_token&redirect_uri=" + url.QueryEscape(redirect) + "&client_id=" + o.ClientID())
	_, rest, _ := strings.Cut(page.body, `name="flow" value="`)
	flow, _, _ := strings.Cut(rest, `"`)
	form("flow", flow, "do", "login", "username", user, "pw", password)
	to, err := url.Parse(form("flow", flow, "do", "allow").header.Get("Location"))
	if err != nil {
		o.t.Fatal(err)
	}
	return o.form(tokenPath, "grant_type", "authorization_code", "code", to.Query().Get("code"), "redirect_uri", redirect, "client_id", o.ClientID(), "client_secret", o.ClientSecret())
}
