// Package doctor owns the examination of a connection: what is wrong with sign-in, org, user, rights and fields, why it
// matters, and the click path in Salesforce Setup that mends it. It also owns what the product needs in an org: a
// permission set and an external id field, as a metadata package and as calls that make them.
//
// An examination changes nothing in the org. What the connected user may not read becomes a finding of its own and
// never ends the examination.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// The severities, for short.
const (
	ok      = syncv1.Severity_SEVERITY_OK
	warning = syncv1.Severity_SEVERITY_WARNING
	failure = syncv1.Severity_SEVERITY_ERROR
	unknown = syncv1.Severity_SEVERITY_UNKNOWN
)

// examination is one run of the doctor.
type examination struct {
	org  *salesforce.Client
	conn *authv1.Connection
	c    *syncv1.DoctorCase
	res  *syncv1.DiagnoseResponse

	user user
	sets permissionSets
}

// Examine examines a connection. org is its client; it is not called when the case says that sign-in fails. Findings
// come worst first.
func Examine(ctx context.Context, org *salesforce.Client, c *syncv1.DoctorCase) *syncv1.DiagnoseResponse {
	e := &examination{org: org, conn: c.GetConnection(), c: c, res: &syncv1.DiagnoseResponse{}}
	if e.signIn() {
		e.scopes()
		e.examineOrg(ctx)
		e.examineUser(ctx)
		e.examineSets(ctx)
		e.objectRights(ctx)
		e.fields(ctx)
		e.reporting()
		e.allocation(ctx)
		e.logins(ctx)
	}
	slices.SortStableFunc(e.res.Findings, func(a, b *syncv1.Finding) int { return rank(a) - rank(b) })
	return e.res
}

func rank(f *syncv1.Finding) int {
	return slices.Index([]syncv1.Severity{failure, unknown, warning, ok}, f.GetSeverity())
}

func (e *examination) add(f *syncv1.Finding) { e.res.Findings = append(e.res.Findings, f) }

func (e *examination) good(code, what string, args ...any) {
	e.add(&syncv1.Finding{Code: code, Severity: ok, What: fmt.Sprintf(what, args...)})
}

// unreadable notes that something could not be found out.
func (e *examination) unreadable(code, what string, err error) {
	f := &syncv1.Finding{
		Code: code, Severity: unknown, What: what + " could not be read.",
		Why:  "Without it this part of the examination says nothing.",
		Mend: "Setup > Users > Permission Sets > the integration user's set > System Permissions: give View Setup and Configuration, then examine again.",
	}
	f.Salesforce = words(err)
	e.add(f)
}

// words is what Salesforce said, or what happened on the way to it.
func words(err error) string {
	if err == nil {
		return ""
	}
	if r, is := asRefusal(err); is {
		return strings.TrimSpace(r.Code + " " + r.Message)
	}
	return err.Error()
}

// scopes looks for scopes that the app lacks. Salesforce names what it granted in the token response; some flows name
// nothing, and then the calls that follow are the proof.
func (e *examination) scopes() {
	granted := e.conn.GetScopes()
	if len(granted) == 0 {
		e.good("scopes", "Salesforce did not list the scopes of this flow; the API answered, so api is among them.")
		return
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(granted, n) })
	}
	var missing []string
	if !has("api", "full") {
		missing = append(missing, "api")
	}
	if e.conn.GetFlow() == authv1.Flow_FLOW_WEB_SERVER && !has("refresh_token", "offline_access") {
		missing = append(missing, "refresh_token")
	}
	if len(missing) == 0 {
		e.good("scopes", "The scopes are granted: %s.", strings.Join(granted, " "))
	} else {
		e.add(&syncv1.Finding{
			Code: "scope_missing", Severity: failure, What: fmt.Sprintf("The app was not granted %s.", strings.Join(missing, " and ")),
			Why:  "api is needed for every call, refresh_token to stay linked when the session ends.",
			Mend: "Setup > External Client App Manager > the app > Settings > OAuth Settings > OAuth Scopes: add them, save, then reconnect.",
		})
	}
	if has("full", "web") {
		e.add(&syncv1.Finding{
			Code: "scope_too_wide", Severity: warning, What: "The app was granted full or web access.",
			Why:  "A stolen token could do more than this product needs: api and refresh_token are enough.",
			Mend: "Setup > External Client App Manager > the app > Settings > OAuth Settings > OAuth Scopes: leave api, refresh_token and id.",
		})
	}
}

func (e *examination) examineOrg(ctx context.Context) {
	o, err := e.org.Organization(ctx)
	if err != nil {
		e.unreadable("org_unreadable", "The org's own record", err)
		return
	}
	e.res.Org = &syncv1.OrgFacts{Id: o.ID, Name: o.Name, Edition: o.Type, Sandbox: o.IsSandbox, Instance: o.Instance}
	kind := "production org"
	if o.IsSandbox {
		kind = "sandbox"
	}
	switch {
	case o.ID != e.conn.GetOrgId():
		e.add(&syncv1.Finding{
			Code: "other_org", Severity: failure, What: fmt.Sprintf("The API answers for org %s, and the connection is to org %s.", o.ID, e.conn.GetOrgId()),
			Why: "A refreshed sandbox gets a new org id; its records are others.", Mend: "Link the org anew.",
		})
	case o.Type == "Professional Edition" || o.Type == "Group Edition" || o.Type == "Contact Manager Edition":
		e.add(&syncv1.Finding{
			Code: "edition_without_api", Severity: warning, What: fmt.Sprintf("%s is a %s.", o.Name, o.Type),
			Why:  "This edition has the API only as an extra, which can end.",
			Mend: "Setup > Company Settings > Company Information shows the edition; ask your Salesforce account executive for Web Services API.",
		})
	default:
		e.good("org", "%s is a %s, %s, on %s.", o.Name, kind, o.Type, o.Instance)
	}
}

// allocation warns before the org's daily calls are used up.
func (e *examination) allocation(ctx context.Context) {
	limits, err := e.org.Limits(ctx)
	l, found := limits["DailyApiRequests"]
	if err != nil || !found {
		e.unreadable("allocation_unreadable", "The org's allocation of API calls", err)
		return
	}
	e.res.AllocationMax, e.res.AllocationUsed = l.Max, l.Max-l.Remaining
	used := 100 * float64(l.Max-l.Remaining) / float64(max(l.Max, 1))
	what := fmt.Sprintf("%d of %d API calls are left for the next hours (%.0f%% used in 24 hours, by everybody).", l.Remaining, l.Max, used)
	if used < 80 {
		e.good("allocation", "%s", what)
		return
	}
	e.add(&syncv1.Finding{
		Code: "allocation_low", Severity: warning, What: what,
		Why:  "When the allocation is used up every integration of the org stops. Runs wait from the share on that the field map's guards name.",
		Mend: "Setup > Company Settings > Company Information > API Requests, Last 24 Hours; Setup > API Usage Notifications shows who uses them.",
	})
}

// logins shows the latest sign-ins of the connected user.
func (e *examination) logins(ctx context.Context) {
	if e.user.id == "" {
		return
	}
	rows, err := query(ctx, e.org, "LoginHistory", []string{"LoginTime", "Status", "Application", "LoginType", "SourceIp"},
		"WHERE UserId = "+salesforce.Quote(e.user.id)+" ORDER BY LoginTime DESC LIMIT 10")
	if err != nil {
		e.unreadable("login_history_unreadable", "The login history", err)
		return
	}
	failed := make(map[string]int)
	for _, r := range rows {
		e.res.Logins = append(e.res.Logins, &syncv1.Login{
			At: stamp(r["LoginTime"]), Status: r["Status"], Application: r["Application"], Type: r["LoginType"], SourceIp: r["SourceIp"],
		})
		if r["Status"] != "Success" {
			failed[r["Status"]]++
		}
	}
	if len(failed) == 0 {
		e.good("logins", "The last %d sign-ins succeeded.", len(rows))
		return
	}
	for _, status := range sorted(failed) {
		f := &syncv1.Finding{
			Code: "login_failed", Severity: warning, Salesforce: status,
			What: fmt.Sprintf("%d of the last %d sign-ins ended with %q.", failed[status], len(rows), status),
			Why:  "Sign-ins of the connected user are refused now and then, or were until lately.",
			Mend: "Setup > Identity > Login History shows them all, with their addresses.",
		}
		if s, found := classify("", status); found {
			f.Code, f.Why, f.Mend = s.code, s.why, s.mend
		}
		e.add(f)
	}
}
