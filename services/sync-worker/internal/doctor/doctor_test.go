package doctor_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/doctor"
	"github.com/catalogsync/catalogsync/simulator"
)

// world is an org with one user whom the doctor examines.
type world struct {
	t    *testing.T
	org  *simulator.Server
	user string
}

func newWorld(t *testing.T, o simulator.Options) *world {
	t.Helper()
	org, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	w := &world{t: t, org: org}
	w.user = w.find("User", "Username = 'admin@simulator.example'")
	return w
}

// api makes a call as the org's admin.
func (w *world) api(method, path string, body any) []byte {
	w.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.org.URL+"/services/data/v67.0"+path, bytes.NewReader(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.org.AccessToken())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		w.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, out, err)
	}
	return out
}

func (w *world) create(object string, values map[string]any) string {
	w.t.Helper()
	var made struct{ ID string }
	if err := json.Unmarshal(w.api(http.MethodPost, "/sobjects/"+object, values), &made); err != nil {
		w.t.Fatal(err)
	}
	return made.ID
}

func (w *world) find(object, where string) string {
	w.t.Helper()
	var res struct{ Records []struct{ ID string } }
	q := url.Values{"q": {"SELECT Id FROM " + object + " WHERE " + where}}
	if err := json.Unmarshal(w.api(http.MethodGet, "/query?"+q.Encode(), nil), &res); err != nil || len(res.Records) == 0 {
		w.t.Fatalf("no %s where %s: %v", object, where, err)
	}
	return res.Records[0].ID
}

// limited makes a user of the profile Standard User the one whom the connection acts as.
func (w *world) limited() {
	w.t.Helper()
	w.user = w.create("User", map[string]any{
		"LastName": "Integration", "Username": "sync@x.example", "Email": "it@x.example", "Alias": "sync", "ProfileId": w.find("Profile", "Name = 'Standard User'"),
		"TimeZoneSidKey": "Europe/Berlin", "LocaleSidKey": "en_US", "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8", "IsActive": true, "CommunityNickname": "sync",
	})
	if err := w.org.SetRunAs(w.user); err != nil {
		w.t.Fatal(err)
	}
}

// set gives the user a permission set.
func (w *world) set(values map[string]any, objects ...string) string {
	w.t.Helper()
	set := w.create("PermissionSet", values)
	for _, o := range objects {
		w.create("ObjectPermissions", map[string]any{"ParentId": set, "SobjectType": o, "PermissionsRead": true, "PermissionsCreate": true, "PermissionsEdit": true})
	}
	w.create("PermissionSetAssignment", map[string]any{"PermissionSetId": set, "AssigneeId": w.user})
	return set
}

type token struct{ t salesforce.Token }

func (s token) Token(context.Context) (salesforce.Token, error) { return s.t, nil }
func (s token) Reject(context.Context, salesforce.Token) (salesforce.Token, error) {
	return salesforce.Token{}, errors.New("there is no other token")
}

// client is a client with the token that the connection's user gets.
func (w *world) client() *salesforce.Client {
	w.t.Helper()
	res, err := http.PostForm(w.org.URL+"/services/oauth2/token", url.Values{ //nolint:noctx // the simulator answers at once
		"grant_type": {"client_credentials"}, "client_id": {w.org.ClientID()}, "client_secret": {w.org.ClientSecret()},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&grant); err != nil || grant.AccessToken == "" {
		w.t.Fatalf("no token: %v", err)
	}
	policy := salesforce.HostPolicy{AllowDev: []string{w.org.URL}}
	c, err := salesforce.New(salesforce.Options{
		HTTP: salesforce.NewHTTPClient(policy), Policy: policy, APIVersion: "67.0", Log: testkit.Logger(w.t),
		Tokens: token{salesforce.Token{AccessToken: salesforce.NewAccessToken(grant.AccessToken), InstanceURL: w.org.URL}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) orgID() string { return w.find("Organization", "Name != null") }

func (w *world) patient(m *mapperv1.FieldMap) *syncv1.DoctorCase {
	return &syncv1.DoctorCase{
		Connection: &authv1.Connection{
			Id: "con_1", Tenant: "acme", OrgId: w.orgID(), UserId: w.user, Flow: authv1.Flow_FLOW_CLIENT_CREDENTIALS, Scopes: []string{"api"},
		},
		Test: &authv1.TestConnectionResponse{Ok: true}, FieldMap: m,
	}
}

func contacts(fields ...string) *mapperv1.FieldMap {
	m := &mapperv1.FieldMap{Object: "Contact", ExternalIdField: doctor.FieldName}
	for _, f := range fields {
		m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: "id", Target: f})
	}
	return m
}

// severities returns the findings by code; several of one code keep the worst.
func severities(res *syncv1.DiagnoseResponse) map[string]syncv1.Severity {
	out := make(map[string]syncv1.Severity)
	for _, f := range slices.Backward(res.GetFindings()) { // worst first, so that it wins
		out[f.GetCode()] = f.GetSeverity()
	}
	return out
}

func finding(t *testing.T, findings []*syncv1.Finding, code string) *syncv1.Finding {
	t.Helper()
	for _, f := range findings {
		if f.GetCode() == code {
			return f
		}
	}
	t.Fatalf("no finding %s in %v", code, findings)
	return nil
}

const (
	bad  = syncv1.Severity_SEVERITY_ERROR
	warn = syncv1.Severity_SEVERITY_WARNING
	fine = syncv1.Severity_SEVERITY_OK
)

func TestAnAdminOfAPreparedOrgIsWellButTooMighty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{ExternalIDFields: []string{"Contact." + doctor.FieldName}})
	org := w.client()
	res := doctor.Examine(t.Context(), org, w.patient(contacts("LastName", "Email", doctor.FieldName)))
	got := severities(res)
	for code, want := range map[string]syncv1.Severity{
		"sign_in": fine, "scopes": fine, "org": fine, "user": fine, "licenses": fine, "api_access": fine, "object_rights": fine, "field_rights": fine,
		"external_id": fine, "reporting": fine, "allocation": fine, "logins": fine,
		"not_a_dedicated_user": warn, "rights_too_wide": warn, "permission_set_not_assigned": warn,
	} {
		if got[code] != want {
			t.Errorf("%s: %v, want %v", code, got[code], want)
		}
	}
	for _, f := range res.GetFindings() {
		if f.GetSeverity() == bad || f.GetSeverity() == syncv1.Severity_SEVERITY_UNKNOWN {
			t.Errorf("finding: %v", f)
		}
		if f.GetSeverity() != fine && (f.GetWhy() == "" || f.GetMend() == "") {
			t.Errorf("%s says not why or what to do: %v", f.GetCode(), f)
		}
	}
	if u := res.GetUser(); u.GetUsername() != "admin@simulator.example" || u.GetEmail() == "" || u.GetLicense() == "" || u.GetProfile() != "System Administrator" {
		t.Errorf("user: %v", u)
	}
	if o := res.GetOrg(); o.GetEdition() == "" || o.GetName() == "" || o.GetId() != w.orgID() {
		t.Errorf("org: %v", o)
	}
	if len(res.GetLogins()) == 0 || res.GetLogins()[0].GetStatus() != "Success" || res.GetLogins()[0].GetAt() == nil {
		t.Errorf("logins: %v", res.GetLogins())
	}
	if res.GetAllocationMax() == 0 || res.GetAllocationUsed() >= res.GetAllocationMax() {
		t.Errorf("allocation: %d of %d", res.GetAllocationUsed(), res.GetAllocationMax())
	}
}

// An import names Salesforce's fields as sources; its targets are the Catalog's, which no org has. A leavers' flag is written
// though no pair names it.
func TestTheFieldsOfTheOrgAreLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{ExternalIDFields: []string{"Contact." + doctor.FieldName}})
	org := w.client()
	m := &mapperv1.FieldMap{Object: "Contact", Direction: mapperv1.Direction_DIRECTION_IMPORT, Pairs: []*mapperv1.Pair{
		{Source: "LastName", Target: "last_name"}, {Source: "Email", SecondarySource: "Shoe_Size__c", Target: "email"}, {Source: "Account.Name", Target: "organization"},
	}}
	named := func(res *syncv1.DiagnoseResponse) (fields []string) {
		for _, f := range res.GetFindings() {
			if f.GetSeverity() == bad {
				fields = append(fields, f.GetField())
			}
		}
		return fields
	}
	res := doctor.Examine(t.Context(), org, w.patient(m))
	if got := named(res); !slices.Equal(got, []string{"Shoe_Size__c"}) || severities(res)["external_id_not_used"] != 0 {
		t.Errorf("an import: %q is wrong in %v", got, res.GetFindings())
	}
	m = contacts("LastName", doctor.FieldName)
	m.Identity = &mapperv1.Identity{Leavers: mapperv1.Leavers_LEAVERS_FLAG, LeaversField: "Left__c", LeaversValue: "yes"}
	if got := named(doctor.Examine(t.Context(), org, w.patient(m))); !slices.Equal(got, []string{"Left__c"}) {
		t.Errorf("a leavers' flag: %q is wrong", got)
	}
}

func TestWhatALimitedUserLacksIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.limited()
	set := w.set(map[string]any{"Name": "Half", "Label": "Half", "PermissionsApiEnabled": true, "PermissionsViewSetup": true, "PermissionsRunReports": true}, "Contact")
	for _, f := range []string{"Contact.Email", "Contact.Title"} {
		w.create("FieldPermissions", map[string]any{"ParentId": set, "SobjectType": "Contact", "Field": f, "PermissionsRead": true, "PermissionsEdit": f == "Contact.Title"})
	}
	m := contacts("LastName", "Title", "Email", "Department", "Shoe_Size__c", doctor.FieldName)
	m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: "organization", Target: "AccountId", Lookup: &mapperv1.Lookup{Object: "Account", Field: "Name", CreateIfMissing: true}})
	org := w.client()
	res := doctor.Examine(t.Context(), org, w.patient(m))
	if f := res.GetFindings()[0]; f.GetSeverity() != bad {
		t.Errorf("the first finding is not the worst: %v", f)
	}
	wants := map[string][]string{
		"Contact: the connected user lacks Delete, View All":    {"object_right_missing"},
		"Account: the connected user lacks Read, Create":        {"object_right_missing"},
		"Contact.Email is read only":                            {"field_right_missing", "Field Permissions"},
		"Contact.Department is hidden":                          {"field_hidden"},
		"Contact.Shoe_Size__c is not there":                     {"field_missing"},
		"Contact.CatalogUserId__c is not there":                 {"external_id_missing", "External ID"},
		"View Dashboards in Public Folders":                     {"reporting_permission_missing"},
		"Manage All Private Reports and Dashboards, View Roles": {"reporting_permission_missing"},
	}
	for what, want := range wants {
		i := slices.IndexFunc(res.GetFindings(), func(f *syncv1.Finding) bool { return strings.Contains(f.GetWhat(), what) })
		if i < 0 {
			t.Errorf("nothing says %q:\n%v", what, res.GetFindings())
			continue
		}
		f := res.GetFindings()[i]
		if f.GetCode() != want[0] || len(want) > 1 && !strings.Contains(f.GetMend(), want[1]) {
			t.Errorf("%q: %v", what, f)
		}
	}
	got := severities(res)
	if got["reporting_permission_missing"] != warn || got["object_right_missing"] != bad {
		t.Errorf("severities: %v", got)
	}
	source := w.patient(m)
	source.Connection.Purpose = authv1.Purpose_PURPOSE_SOURCE
	if got := severities(doctor.Examine(t.Context(), org, source)); got["reporting_permission_missing"] != bad {
		t.Errorf("a source without reporting permissions: %v", got["reporting_permission_missing"])
	}
}

func TestAPermissionSetOfAnotherLicenceIsTheCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.limited()
	licence := w.find("PermissionSetLicense", "DeveloperName = 'SalesConsoleUser'")
	w.set(map[string]any{"Name": "Plain", "Label": "Plain", "PermissionsApiEnabled": true, "PermissionsViewSetup": true}, "Contact")
	w.set(map[string]any{"Name": "Console", "Label": "Console", "LicenseId": licence}, "Contact")
	org := w.client()
	f := finding(t, doctor.Examine(t.Context(), org, w.patient(nil)).GetFindings(), "permission_set_license_mismatch")
	if f.GetSeverity() != bad || !strings.Contains(f.GetWhat(), "Sales Console User") || !strings.Contains(f.GetMend(), "Permission Set License Assignments") {
		t.Errorf("finding: %v", f)
	}
	w.create("PermissionSetLicenseAssign", map[string]any{"PermissionSetLicenseId": licence, "AssigneeId": w.user})
	if got := severities(doctor.Examine(t.Context(), org, w.patient(nil))); got["permission_set_license_mismatch"] != 0 || got["licenses"] != fine {
		t.Errorf("after the licence was assigned: %v", got)
	}
}

func TestRefusedSignInsAreExplained(t *testing.T) {
	t.Parallel()
	for code, words := range map[string][2]string{
		"ip_restricted":         {"invalid_grant", "ip restricted"},
		"login_hours":           {"invalid_grant", "invalid login hours"},
		"run_as_user_missing":   {"invalid_grant", "no client credentials user enabled"},
		"user_not_approved":     {"invalid_grant", "user hasn't approved this consumer"},
		"app_blocked":           {"app_blocked", "this app is blocked by admin"},
		"app_not_installed":     {"invalid_client", "app must be installed into org"},
		"mfa_required":          {"invalid_grant", "Multi-Factor Authentication is required"},
		"refresh_token_expired": {"invalid_grant", "expired access/refresh token"},
		"inactive_user":         {"invalid_grant", "inactive user"},
		"inactive_org":          {"inactive_org", ""},
		"wrong_domain":          {"invalid_grant", "request not supported on this domain"},
		"audience":              {"invalid_grant", "audience is invalid"},
		"certificate":           {"invalid_grant", "invalid assertion"},
		"flow_disabled":         {"oauth_flow_disabled", ""},
		"consumer_key":          {"invalid_client_id", "client identifier invalid"},
		"consumer_secret":       {"invalid_client", "invalid client credentials"},
		"credentials_refused":   {"invalid_grant", "authentication failure"},
		"sign_in_failed":        {"server_error", ""},
	} {
		c := &syncv1.DoctorCase{Connection: &authv1.Connection{Id: "con_1"}, Test: &authv1.TestConnectionResponse{Error: words[0], ErrorDescription: words[1]}}
		res := doctor.Examine(t.Context(), nil, c)
		f := res.GetFindings()[0]
		if f.GetCode() != code || f.GetSeverity() != bad || f.GetWhy() == "" || f.GetMend() == "" || !strings.Contains(f.GetSalesforce(), words[1]) {
			t.Errorf("%v: %v", words, f)
		}
		if severities(res)["not_examined"] != syncv1.Severity_SEVERITY_UNKNOWN {
			t.Errorf("%v: it does not say what was left out", words)
		}
	}
}

func TestMissingAndTooWideScopesAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	org := w.client()
	for scopes, want := range map[string]string{"id": "scope_missing", "api": "scope_missing", "api refresh_token id": "scopes", "full refresh_token": "scope_too_wide"} {
		c := w.patient(nil)
		c.Connection.Flow, c.Connection.Scopes = authv1.Flow_FLOW_WEB_SERVER, strings.Fields(scopes)
		finding(t, doctor.Examine(t.Context(), org, c).GetFindings(), want)
	}
}

func TestFailedSignInsOfTheLoginHistoryAreRecognised(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.org.SetLoginPolicy(simulator.LoginPolicy{RestrictIP: true})
	res, err := http.PostForm(w.org.URL+"/services/oauth2/token", url.Values{ //nolint:noctx // the simulator answers at once
		"grant_type": {"client_credentials"}, "client_id": {w.org.ClientID()}, "client_secret": {w.org.ClientSecret()},
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	w.org.SetLoginPolicy(simulator.LoginPolicy{})
	org := w.client()
	f := finding(t, doctor.Examine(t.Context(), org, w.patient(nil)).GetFindings(), "ip_restricted")
	if f.GetSeverity() != warn || f.GetSalesforce() != "Restricted IP" || !strings.Contains(f.GetMend(), "IP Relaxation") {
		t.Errorf("finding: %v", f)
	}
}

func TestSetupMakesWhatIsMissingAndNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	org := w.client()
	m := contacts("LastName", "Email", "Title", doctor.FieldName)
	m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: "organization", Target: "AccountId", Lookup: &mapperv1.Lookup{Object: "Account", Field: "Name"}})
	first := doctor.Apply(t.Context(), org, "Contact", w.user, m)
	for _, s := range first {
		if s.GetSeverity() != fine || !strings.HasSuffix(s.GetWhat(), ": made.") {
			t.Errorf("step: %v", s)
		}
	}
	if n := len(first); n < 8 {
		t.Errorf("%d steps: %v", n, first)
	}
	for _, s := range doctor.Apply(t.Context(), org, "Contact", w.user, m) {
		if s.GetSeverity() != fine || !strings.HasSuffix(s.GetWhat(), ": already there.") {
			t.Errorf("second time: %v", s)
		}
	}
	got := severities(doctor.Examine(t.Context(), org, w.patient(m)))
	if got["external_id"] != fine || got["permission_set"] != fine || got["field_rights"] != fine {
		t.Errorf("after setup: %v", got)
	}
}

func TestSetupByAUserWhoMayNotSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.org.Faults().MustAdd(refuseTooling)
	steps := doctor.Apply(t.Context(), w.client(), "Contact", w.user, contacts("LastName"))
	if len(steps) != 1 || steps[0].GetSeverity() != bad || !strings.Contains(steps[0].GetSalesforce(), "INSUFFICIENT_ACCESS") || steps[0].GetMend() == "" {
		t.Errorf("steps: %v", steps)
	}
}

func TestThePackageIsOneThatSalesforceTakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	org := w.client()
	m := contacts("LastName", "FirstName", "Email", "Title")
	content, files, err := doctor.Package("Contact", "67.0", m, doctor.Describe(t.Context(), org, "Contact", m))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"package.xml", "objects/Contact.object", "permissionsets/Catalogsync.permissionset"}; !slices.Equal(files, want) {
		t.Errorf("files %v", files)
	}
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(raw, new(struct{ XMLName xml.Name })); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		texts[f.Name] = string(raw)
	}
	for file, wants := range map[string][]string{
		"package.xml": {
			`<Package xmlns="http://soap.sforce.com/2006/04/metadata">`, "<members>Contact.CatalogUserId__c</members>", "<name>PermissionSet</name>", "<version>67.0</version>",
		},
		"objects/Contact.object": {"<externalId>true</externalId>", "<unique>true</unique>", "<type>Text</type>", "<length>255</length>"},
		"permissionsets/Catalogsync.permissionset": {
			"<field>Contact.CatalogUserId__c</field>", "<field>Contact.Email</field>", "<object>Account</object>", "<viewAllRecords>true</viewAllRecords>", "<name>ApiEnabled</name>",
		},
	} {
		for _, want := range wants {
			if !strings.Contains(texts[file], want) {
				t.Errorf("%s lacks %s:\n%s", file, want, texts[file])
			}
		}
	}
	if strings.Contains(texts["permissionsets/Catalogsync.permissionset"], "Contact.LastName") {
		t.Error("a required field has no field-level security, and Salesforce refuses a package that names it")
	}
}
