package doctor

import (
	"fmt"
	"strings"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// symptom is a refusal that is recognised.
type symptom struct {
	code string
	// errors are OAuth error codes, texts parts of the description or of a status of LoginHistory, in lower case. One is
	// enough; texts come first, because one code stands for many causes.
	errors, texts []string
	why, mend     string
}

// symptoms, the more special ones first. Codes and texts are Salesforce's (OAuth error codes, Login History statuses).
var symptoms = []symptom{
	{
		code: "ip_restricted", texts: []string{"ip restricted", "restricted ip"},
		why:  "Salesforce takes sign-ins from certain addresses alone, and this one is not among them. Tokens are kept; nothing has to be linked again.",
		mend: "Setup > External Client App Manager > the app > Policies > IP Relaxation: Relax IP restrictions; or Setup > Profiles > the user's profile > Login IP Ranges and Setup > Network Access: add the address of this installation.",
	},
	{
		code: "login_hours", texts: []string{"login hours", "outside of login hours"},
		why:  "The user's profile allows sign-in at certain hours alone, and runs at night fall outside.",
		mend: "Setup > Profiles > the user's profile > Login Hours: clear them for the integration user.",
	},
	{
		code: "run_as_user_missing", texts: []string{"no client credentials user enabled"},
		why:  "The client credentials flow acts as a user, and the app names none.",
		mend: "Setup > External Client App Manager > the app > Policies > OAuth Policies: enable Client Credentials Flow and choose the integration user as Run As.",
	},
	{
		code: "user_not_approved", errors: []string{"invalid_app_access"}, texts: []string{"hasn't approved this consumer", "not admin approved", "not approved for access"},
		why:  "The app lets in approved users alone.",
		mend: "Setup > External Client App Manager > the app > Policies: Permitted Users is Admin approved users are pre-authorized; add the user's profile or permission set there.",
	},
	{
		code: "app_blocked", errors: []string{"app_blocked", "fail_close_app_blocked"}, texts: []string{"blocked by admin", "app is blocked"},
		why:  "An admin of the org has blocked the app.",
		mend: "Setup > Connected Apps OAuth Usage > the app > Unblock.",
	},
	{
		code: "app_not_installed", errors: []string{"app_not_found", "ecapp_policy_not_found", "oauth_policy_not_found"}, texts: []string{"must be installed"},
		why:  "Since September 2025 Salesforce refuses apps that are not installed in the org.",
		mend: "Setup > Connected Apps OAuth Usage > the app > Install; for an app of the org itself check its consumer key.",
	},
	{
		code: "mfa_required", texts: []string{"mfa", "multi-factor", "two-factor", "identity verification", "activation secret", "verification code"},
		why:  "Salesforce asks this user for a second factor, which no program can give.",
		mend: "Setup > Permission Sets > the integration user's set > System Permissions: give Waive Multi-Factor Authentication for Exempt Users, or use an API-only integration user with client credentials or JWT bearer.",
	},
	{
		code: "api_only_user", texts: []string{"api only", "api-only"},
		why:  "A user with the permission API Only User cannot give consent in a browser.",
		mend: "Link by client credentials or JWT bearer, or sign in as a user who may use the web pages.",
	},
	{
		code: "refresh_token_expired", texts: []string{"expired access/refresh token", "token validity expired"},
		why:  "The refresh token has ended: revoked by somebody, not used for too long, or by the app's policy.",
		mend: "Setup > External Client App Manager > the app > Policies > OAuth Policies > Refresh Token Policy: valid until revoked; then reconnect.",
	},
	{
		code: "inactive_user", errors: []string{"inactive_user"}, texts: []string{"inactive user", "user is inactive", "user locked out"},
		why:  "The connected user is deactivated, frozen or locked.",
		mend: "Setup > Users > the user: Active, Unfreeze or Unlock; or reconnect as another one.",
	},
	{
		code: "inactive_org", errors: []string{"inactive_org"}, texts: []string{"inactive organization", "organization closed"},
		why: "Salesforce has closed or suspended the org.", mend: "Ask your Salesforce account executive.",
	},
	{
		code: "wrong_domain", errors: []string{"unsupported_grant_type"}, texts: []string{"not supported on this domain"},
		why:  "This flow works at the org's My Domain alone.",
		mend: "Setup > My Domain shows it; reconnect with that host, such as acme.my.salesforce.com.",
	},
	{
		code: "audience", texts: []string{"audience"},
		why:  "The assertion names another login host than the org answers to.",
		mend: "Reconnect with the org's My Domain as host, or test.salesforce.com for a sandbox.",
	},
	{
		code: "certificate", texts: []string{"invalid assertion", "assertion"},
		why:  "The app does not know the key that signed the assertion.",
		mend: "Setup > External Client App Manager > the app > Settings > Use digital signatures: upload the certificate of this connection's signing key.",
	},
	{
		code: "flow_disabled", errors: []string{"oauth_flow_disabled"},
		why: "The app or the org has switched this OAuth flow off.", mend: "Setup > OAuth and OpenID Connect Settings, and the app's own settings: allow the flow.",
	},
	{
		code: "consumer_key", errors: []string{"invalid_client_id"},
		why:  "Salesforce does not know the consumer key. A new app takes up to ten minutes.",
		mend: "Setup > External Client App Manager > the app > Settings > Consumer Key and Secret: compare, wait, or reconnect with the right one.",
	},
	{
		code: "consumer_secret", errors: []string{"invalid_client"},
		why:  "The consumer secret is not the app's, or was changed.",
		mend: "Setup > External Client App Manager > the app > Settings > Consumer Key and Secret: copy it, then reconnect.",
	},
	{
		code: "credentials_refused", errors: []string{"invalid_grant"},
		why: "Salesforce refuses the credentials for good.", mend: "Reconnect.",
	},
}

// classify recognises a refusal by its OAuth code and Salesforce's words.
func classify(code, text string) (symptom, bool) {
	code, text = strings.ToLower(code), strings.ToLower(text)
	for _, s := range symptoms {
		for _, part := range s.texts {
			if strings.Contains(text, part) {
				return s, true
			}
		}
	}
	for _, s := range symptoms {
		for _, c := range s.errors {
			if code == c {
				return s, true
			}
		}
	}
	return symptom{}, false
}

// signIn looks at the sign-in that auth has just tried, and reports whether the API can be asked for the rest.
func (e *examination) signIn() bool {
	t := e.c.GetTest()
	if t.GetOk() {
		e.good("sign_in", "Salesforce gave an access token by the %s flow.", flowName(e.conn.GetFlow()))
		return true
	}
	f := &syncv1.Finding{
		Code: "sign_in_failed", Severity: failure, Salesforce: strings.TrimSpace(t.GetError() + " " + t.GetErrorDescription()),
		What: fmt.Sprintf("Salesforce gave no access token by the %s flow.", flowName(e.conn.GetFlow())),
		Why:  "Nothing can be read or written.", Mend: t.GetAdvice(),
	}
	if s, found := classify(t.GetError(), t.GetErrorDescription()); found {
		f.Code, f.Why, f.Mend = s.code, s.why, s.mend
	}
	if f.GetMend() == "" {
		f.Mend = "Try again in some minutes; if it stays so, reconnect."
	}
	e.add(f)
	e.add(&syncv1.Finding{
		Code: "not_examined", Severity: unknown, What: "User, rights, fields and allocation were not examined.",
		Why: "They can be seen with an access token alone.", Mend: "Mend sign-in first, then examine again.",
	})
	return false
}

func flowName(f authv1.Flow) string {
	switch f {
	case authv1.Flow_FLOW_WEB_SERVER:
		return "web server"
	case authv1.Flow_FLOW_JWT_BEARER:
		return "JWT bearer"
	}
	return "client credentials"
}
