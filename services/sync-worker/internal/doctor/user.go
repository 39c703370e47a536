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

// user is the connected user.
type user struct {
	id, licenseID string
}

func (e *examination) examineUser(ctx context.Context) {
	rows, err := query(ctx, e.org, "User", []string{
		"Id", "Username", "Email", "Name", "IsActive", "UserType", "Profile.Name", "Profile.UserLicenseId", "Profile.UserLicense.Name",
	}, "WHERE Id = "+salesforce.Quote(e.conn.GetUserId()))
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("the org shows no user %s", e.conn.GetUserId())
	}
	if err != nil {
		e.unreadable("user_unreadable", "The connected user", err)
		return
	}
	u := rows[0]
	e.user = user{id: u["Id"], licenseID: u["Profile.UserLicenseId"]}
	e.res.User = &syncv1.UserFacts{
		Id: u["Id"], Username: u["Username"], Email: u["Email"], Name: u["Name"], Profile: u["Profile.Name"], License: u["Profile.UserLicense.Name"],
	}
	if u["IsActive"] == "false" {
		e.add(&syncv1.Finding{
			Code: "inactive_user", Severity: failure, What: fmt.Sprintf("User %s is not active.", u["Username"]),
			Why: "Salesforce ends the sessions of inactive users.", Mend: "Setup > Users > the user > Edit > Active.",
		})
	} else {
		e.good("user", "Connected as %s (e-mail %s), profile %s, licence %s.", u["Username"], u["Email"], u["Profile.Name"], u["Profile.UserLicense.Name"])
	}
	if u["Profile.Name"] == "System Administrator" {
		e.add(&syncv1.Finding{
			Code: "not_a_dedicated_user", Severity: warning, What: fmt.Sprintf("The connected user %s is a System Administrator.", u["Username"]),
			Why:  "What the product writes carries this person's name, ends when this person leaves, and its token may do everything in the org.",
			Mend: "Setup > Users > New User: make a user of the licence Salesforce Integration with the permission set of this product, then reconnect as that user.",
		})
	}
}

// permissionSets is what the connected user was given: the permission sets, the profile's hidden one among them.
type permissionSets struct {
	read bool
	ids  []string // of all sets
	has  map[string]bool
}

// systemPermissions are looked at where the org has them. Names are those of the PermissionSet object.
var systemPermissions = []string{
	"PermissionsApiEnabled", "PermissionsApiUserOnly", "PermissionsViewSetup", "PermissionsViewAllData", "PermissionsModifyAllData",
	"PermissionsRunReports", "PermissionsViewPublicDashboards", "PermissionsViewPublicReports", "PermissionsManagePvtRptsAndDashbds", "PermissionsViewRoles",
}

// examineSets reads the user's permission sets and looks for licences that they need and the user has not.
func (e *examination) examineSets(ctx context.Context) {
	if e.user.id == "" {
		return
	}
	d, _, err := e.org.Describe(ctx, "PermissionSet", zeroTime)
	if err != nil {
		e.unreadable("permission_sets_unreadable", "The permission sets", err)
		return
	}
	var known []string
	for _, p := range systemPermissions {
		if slices.ContainsFunc(d.Fields, func(f salesforce.FieldDescribe) bool { return f.Name == p }) {
			known = append(known, p)
		}
	}
	assigned, err := query(ctx, e.org, "PermissionSetAssignment", []string{"PermissionSetId"}, "WHERE AssigneeId = "+salesforce.Quote(e.user.id))
	if err != nil {
		e.unreadable("permission_sets_unreadable", "The permission sets of the connected user", err)
		return
	}
	for _, a := range assigned {
		if id := a["PermissionSetId"]; id != "" { // a group has an aggregate set of its own beside it
			e.sets.ids = append(e.sets.ids, id)
		}
	}
	if len(e.sets.ids) == 0 {
		e.unreadable("permission_sets_unreadable", "The permission sets of the connected user", nil)
		return
	}
	sets, err := query(ctx, e.org, "PermissionSet", append([]string{"Id", "Name", "Label", "LicenseId", "IsOwnedByProfile"}, known...), "WHERE "+salesforce.In("Id", e.sets.ids))
	if err != nil {
		e.unreadable("permission_sets_unreadable", "The permission sets of the connected user", err)
		return
	}
	e.sets.read, e.sets.has = true, make(map[string]bool)
	for _, p := range systemPermissions {
		if !slices.Contains(known, p) {
			e.sets.has[p] = true // an org without the permission asks for none
		}
	}
	e.sets.has["PermissionsApiUserOnly"] = false
	supplied := false
	for _, s := range sets {
		for _, p := range known {
			e.sets.has[p] = e.sets.has[p] || s[p] == "true"
		}
		if s["IsOwnedByProfile"] != "true" {
			e.res.User.PermissionSets = append(e.res.User.PermissionSets, s["Label"])
			supplied = supplied || s["Name"] == SetName
		}
	}
	e.res.User.ApiOnly = e.sets.has["PermissionsApiUserOnly"]
	e.licences(ctx, sets)
	if !supplied {
		e.add(&syncv1.Finding{
			Code: "permission_set_not_assigned", Severity: warning, What: fmt.Sprintf("The permission set %s is not assigned to the connected user.", SetLabel),
			Why:  "It holds exactly the rights that the product needs; without it they come from the profile and from other sets, which others change.",
			Mend: "catalogsync doctor setup makes and assigns it; or Setup > Permission Sets > " + SetLabel + " > Manage Assignments.",
		})
	} else {
		e.good("permission_set", "The permission set %s is assigned.", SetLabel)
	}
	e.apiAccess()
}

func (e *examination) apiAccess() {
	if !e.sets.has["PermissionsApiEnabled"] {
		e.add(&syncv1.Finding{
			Code: "api_disabled", Severity: failure, What: "The connected user lacks the permission API Enabled.",
			Why: "Salesforce refuses every call.", Mend: "Setup > Permission Sets > the user's set > System Permissions > API Enabled.",
		})
	} else {
		e.good("api_access", "The connected user may call the API.")
	}
	if e.res.GetUser().GetApiOnly() && e.conn.GetFlow() == authv1.Flow_FLOW_WEB_SERVER {
		e.add(&syncv1.Finding{
			Code: "api_only_user", Severity: failure, What: "The connected user may only use the API, and the connection is by the web server flow.",
			Why:  "The user can never give consent in a browser again.",
			Mend: "Reconnect by client credentials or JWT bearer, or as a user without API Only User.",
		})
	}
	if e.sets.has["PermissionsModifyAllData"] {
		e.add(&syncv1.Finding{
			Code: "rights_too_wide", Severity: warning, What: "The connected user may modify all data.",
			Why:  "A stolen token could read and change everything in the org.",
			Mend: "Setup > Permission Sets and the profile of the user > System Permissions: take Modify All Data away; " + SetLabel + " is enough.",
		})
	}
}

// licences finds permission sets whose licence the user has not. Salesforce then refuses rights that the set seems to
// give: the connection fails although all boxes are ticked. Prefixes 100 (user licence) and 0PL (permission set licence)
// are Salesforce's.
func (e *examination) licences(ctx context.Context, sets []map[string]string) {
	held := map[string]bool{e.user.licenseID: true}
	rows, err := query(ctx, e.org, "PermissionSetLicenseAssign", []string{"PermissionSetLicenseId"}, "WHERE AssigneeId = "+salesforce.Quote(e.user.id))
	if err != nil {
		e.unreadable("licenses_unreadable", "The permission set licences of the connected user", err)
		return
	}
	for _, r := range rows {
		held[r["PermissionSetLicenseId"]] = true
	}
	good := true
	for _, s := range sets {
		id := s["LicenseId"]
		if id == "" || held[id] || s["IsOwnedByProfile"] == "true" {
			continue
		}
		good = false
		kind, object := "permission set licence", "PermissionSetLicense"
		mend := "Setup > Users > the user > Permission Set License Assignments > Edit Assignments: assign it; or use a set without it."
		if strings.HasPrefix(id, "100") {
			kind, object = "user licence", "UserLicense"
			mend = "Setup > Permission Sets > Clone the set with License None, assign the clone; or give the user a profile of that licence."
		}
		name := id
		if found, err := query(ctx, e.org, object, []string{"MasterLabel"}, "WHERE Id = "+salesforce.Quote(id)); err == nil && len(found) == 1 {
			name = found[0]["MasterLabel"]
		}
		e.add(&syncv1.Finding{
			Code: "permission_set_license_mismatch", Severity: failure,
			What: fmt.Sprintf("Permission set %s belongs to the %s %s, which the connected user (%s) has not.", s["Label"], kind, name, e.res.GetUser().GetLicense()),
			Why:  "Rights of a set count only with its licence. This is a usual cause of a connection that fails although the set looks right.",
			Mend: mend,
		})
	}
	if good {
		e.good("licenses", "The licences of all permission sets fit the user.")
	}
}

// reportingPermissions are what extracting reports and dashboards needs, by their names in Setup.
var reportingPermissions = []struct{ field, label string }{
	{"PermissionsRunReports", "Run Reports"},
	{"PermissionsViewPublicDashboards", "View Dashboards in Public Folders"},
	{"PermissionsViewPublicReports", "View Reports in Public Folders"},
	{"PermissionsManagePvtRptsAndDashbds", "Manage All Private Reports and Dashboards"},
	{"PermissionsViewRoles", "View Roles and Role Hierarchy"},
	{"PermissionsViewSetup", "View Setup and Configuration"},
}

// reporting checks the six permissions for reports and dashboards.
func (e *examination) reporting() {
	if !e.sets.read {
		return
	}
	var missing []string
	for _, p := range reportingPermissions {
		if !e.sets.has[p.field] {
			missing = append(missing, p.label)
		}
	}
	if len(missing) == 0 {
		e.good("reporting", "All six permissions for reports and dashboards are there.")
		return
	}
	severity := warning
	if e.conn.GetPurpose() == authv1.Purpose_PURPOSE_SOURCE {
		severity = failure
	}
	e.add(&syncv1.Finding{
		Code: "reporting_permission_missing", Severity: severity, What: "The connected user lacks: " + strings.Join(missing, ", ") + ".",
		Why:  "Reports and dashboards that the user cannot see are missing from an extract. Syncing people does not need them.",
		Mend: "Setup > Permission Sets > the user's set > System Permissions: tick them.",
	})
}
