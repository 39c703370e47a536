package oauth

import "strings"

// advice is what to do about one of Salesforce's OAuth errors.
type advice struct {
	code      string // Salesforce's error code
	contains  string // in its text, folded; empty: any text
	text      string // what to do
	transient bool   // the same request may succeed later
}

// adviceFor finds the first row that fits. The zero code means that nobody knows the error.
func adviceFor(code, description string) advice {
	folded := strings.ToLower(description)
	for _, a := range adviceTable {
		if strings.EqualFold(a.code, code) && strings.Contains(folded, a.contains) {
			return a
		}
	}
	return advice{text: "This error is not known here. Show its code and text to the org's Salesforce admin, mend what it names, then test the connection."}
}

const (
	relink       = "Link the org again with the app's current consumer key and secret."
	retrySoon    = "Nothing needs to be changed: try again in a moment."
	askSupport   = "This is a defect of this program: report the code and text together with the version."
	adminApp     = "Ask the org's Salesforce admin: Setup > External Client App Manager > the app > Policies."
	apiOnly      = "The user may use the API only and cannot consent in a browser. Link by client credentials or with a signed key instead, or consent as a user who may use the web interface."
	appInstalled = "Ask the org's Salesforce admin to install or unblock the app: Setup > Connected Apps OAuth Usage."
)

// adviceTable holds, per code, the rows with a text before the row without.
var adviceTable = []advice{
	{code: "invalid_grant", contains: "no client credentials user", text: "The app has no user to run as. In the org: Setup > External Client App Manager > the app > Policies > Client Credentials Flow: enable it and choose the Run As user."},
	{code: "invalid_grant", contains: "request not supported on this domain", text: "Client credentials work at the org's own host only. Give its My Domain (Setup > My Domain), such as acme.my.salesforce.com, instead of login.salesforce.com or test.salesforce.com."},
	{code: "invalid_grant", contains: "ip restricted", text: "The org does not admit this program's address. Ask the org's Salesforce admin to add it to the trusted IP ranges of the Run As user's profile, or to relax the app's IP restriction, then test the connection."},
	{code: "invalid_grant", contains: "invalid login hours", text: "The Run As user's profile does not allow a login at this hour. Ask the org's Salesforce admin to widen the profile's login hours, or move the schedule into them, then test the connection."},
	{code: "invalid_grant", contains: "inactive user", text: "The connected user is deactivated. Ask the org's Salesforce admin to activate the user or to choose another Run As user in the app's policies."},
	{code: "invalid_grant", contains: "expired access/refresh token", text: "The authorisation has ended: it was revoked, has expired, or its token was used twice. " + relink},
	{code: "invalid_grant", contains: "api only user", text: apiOnly},
	{code: "invalid_grant", contains: "authorization code", text: "The consent was not completed in time, or was used before. Start linking again. With a signed key: check that the clock of this machine is right."},
	{code: "invalid_grant", contains: "code verifier", text: "The consent does not belong to this attempt. Start linking again."},
	{code: "invalid_grant", contains: "user hasn't approved", text: "The user has not approved the app. Ask the org's Salesforce admin to pre-authorise it: the app > Policies > Permitted Users > Admin approved users are pre-authorized, with the user's permission set or profile."},
	{code: "invalid_grant", contains: "audience", text: "The key was made for another host. Link the org again with its My Domain host."},
	{code: "invalid_grant", contains: "invalid assertion", text: "Salesforce does not accept the key. Upload the certificate that belongs to it to the app, then link again."},
	{code: "invalid_grant", contains: "activation secret", text: "Salesforce wants the login confirmed. Sign in to the org once as the connected user, confirm, then test the connection."},
	{code: "invalid_grant", contains: "authentication failure", text: "Salesforce does not accept the user or the password, or the user is locked. Check the connected user in Setup > Users and the Run As user in the app's policies, then test the connection."},
	{code: "invalid_grant", text: "Salesforce no longer accepts these credentials. " + relink},
	{code: "invalid_client_id", text: "Salesforce does not know the consumer key. Copy it again from the app's OAuth settings; a new app takes 2 to 10 minutes to become known, so wait if it was just made. Check also that the host is the org that has the app."},
	{code: "invalid_client", contains: "app must be installed", text: appInstalled},
	{code: "invalid_client", text: "The consumer secret is wrong or was replaced. Copy it again from the app's OAuth settings and link the org again."},
	{code: "invalid_client_credentials", text: "The consumer secret is wrong or was replaced. Copy it again from the app's OAuth settings and link the org again."},
	{code: "invalid_app_access", text: "The user may not use the app. Ask the org's Salesforce admin to assign it: the app > Policies > Permitted Users, with the user's permission set or profile."},
	{code: "app_not_found", text: "The org does not have the app, or the host is another org's. Check the host, then: " + appInstalled},
	{code: "app_blocked", text: "The org has blocked the app. " + appInstalled},
	{code: "fail_close_app_blocked", text: "The org has blocked the app. " + appInstalled},
	{code: "oauth_flow_disabled", text: "The client credentials flow is off. " + adminApp},
	{code: "ecapp_policy_not_found", text: "The app has no policies in this org yet. " + adminApp},
	{code: "oauth_policy_not_found", text: "The app has no OAuth policies in this org yet. " + adminApp},
	{code: "inactive_user", text: "The connected user is deactivated. Ask the org's Salesforce admin to activate the user or to choose another Run As user in the app's policies."},
	{code: "inactive_org", text: "Salesforce has locked, closed or suspended the org. Its owner must settle that with Salesforce."},
	{code: "redirect_uri_mismatch", text: "The app does not list this program's callback URL. Add it in the app's OAuth settings."},
	{code: "redirect_uri_missing", text: "The app lists no callback URL. Add this program's in the app's OAuth settings."},
	{code: "oauth_approval_error_generic", text: "The org does not admit the app. " + appInstalled},
	{code: "api_only_user", text: apiOnly},
	{code: "invalid_request", contains: "code verifier", text: "The consent does not belong to this attempt. Start linking again."},
	{code: "invalid_request", text: "Salesforce could not read the request. " + askSupport},
	{code: "invalid_scope", text: "The app does not offer a scope that is needed. Add \"Manage user data via APIs (api)\", \"Perform requests at any time (refresh_token, offline_access)\" and \"Access the identity URL service (id, profile, email, address, phone)\" in the app's OAuth settings."},
	{code: "unsupported_grant_type", text: "The app does not offer this flow, or it is off. " + adminApp},
	{code: "unsupported_response_type", text: askSupport},
	{code: "unsupported_token_type", text: askSupport},
	{code: "invalid_assertion_type", text: askSupport},
	{code: "invalid_basic_auth_header", text: askSupport},
	{code: "bad_jti_claim", text: askSupport},
	{code: "access_denied", text: "The consent was refused. Start linking again and allow access."},
	{code: "immediate_unsuccessful", text: "Salesforce wants the user to sign in. Start linking again."},
	{code: "invalid_token", text: "Salesforce does not accept its own token any more. " + relink},
	{code: "invalid_session_level", text: "The org asks for a login of higher assurance. Ask its Salesforce admin to lower the session level that the app requires."},
	{code: "login_error", text: "The login failed in the org. Its Login History (Setup > Login History) says why."},
	{code: "use_dpop_nonce", text: "The app demands DPoP, which is not supported here. Switch it off in the app's OAuth settings."},
	{code: "invalid_dpop_proof", text: "The app demands DPoP, which is not supported here. Switch it off in the app's OAuth settings."},
	{code: "retry_request", text: "Several logins of the same user met. " + retrySoon, transient: true},
	{code: "rate_limit_exceeded", text: "The connected user logs in too often; other programs may use the same user. Wait some minutes and try again.", transient: true},
	{code: "authorization_pending", text: retrySoon, transient: true},
	{code: "slow_down", text: retrySoon, transient: true},
	{code: "server_error", text: "Salesforce is at fault. " + retrySoon, transient: true},
	{code: "temporarily_unavailable", text: "Salesforce is at fault. " + retrySoon, transient: true},
	{code: "service_unavailable", text: "Salesforce is at fault or in maintenance: see status.salesforce.com. " + retrySoon, transient: true},
	{code: "system_down", text: "Salesforce is at fault or in maintenance: see status.salesforce.com. " + retrySoon, transient: true},
	{code: "unknown_error", text: "Salesforce is at fault. " + retrySoon, transient: true},
}
