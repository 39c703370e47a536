// Package seed owns what a new org holds before anyone used it: the organization, its users, profiles and licences, and
// generated sample records.
package seed

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// Result names what others need to know of the seeded org.
type Result struct {
	OrgID, AdminID string
}

// put inserts a record with values by field name.
func put(db *store.DB, object string, now time.Time, user uint32, values map[string]string) string {
	t := db.MustTable(object)
	row := t.Values(&store.Row{}, nil)
	for _, f := range t.Object.Defaults {
		if f.Default != "false" {
			row[f.Slot] = f.Default
		}
	}
	for name, v := range values {
		f := t.Object.Field(name)
		if f == nil {
			panic(fmt.Sprintf("seed: %s has no field %s", object, name))
		}
		if f.Type == "boolean" && v == "false" {
			v = ""
		}
		row[f.Slot] = v
	}
	return t.ID(t.Insert(row, now, user))
}

// Org fills an empty database; every field that lookups need is indexed.
func Org(db *store.DB, username, edition string) Result {
	db.Lock()
	defer db.Unlock()
	for _, name := range db.Schema.Names() {
		Index(db.MustTable(name))
	}
	now := db.Now().Add(-24 * time.Hour)
	org := put(db, "Organization", now, 1, map[string]string{
		"Name": "Simulated Org", "Country": "US", "OrganizationType": edition, "InstanceName": "SIM1", "IsSandbox": "false",
		"LanguageLocaleKey": "en_US", "DefaultLocaleSidKey": "en_US", "TimeZoneSidKey": "America/Los_Angeles", "FiscalYearStartMonth": "1", "DefaultAccountAccess": "Edit",
		"DefaultContactAccess": "ControlledByParent", "DefaultOpportunityAccess": "Edit", "DefaultLeadAccess": "ReadEditTransfer", "DefaultCaseAccess": "ReadEditTransfer",
		"DefaultCalendarAccess": "HideDetailsInsert", "DefaultPricebookAccess": "ReadSelect", "DefaultCampaignAccess": "All", "UiSkin": "Theme3", "SignupCountryIsoCode": "US",
		"NumKnowledgeService": "2", "MonthlyPageViewsUsed": "0", "MonthlyPageViewsEntitlement": "0", "PrimaryContact": "Admin User", "ReceivesInfoEmails": "true",
		"ReceivesAdminInfoEmails": "true", "WebToCaseDefaultOrigin": "Web",
	})
	licence := func(key, name, status string, total, used int) string {
		return put(db, "UserLicense", now, 1, map[string]string{
			"LicenseDefinitionKey": key, "Name": name, "MasterLabel": name, "Status": status, "TotalLicenses": fmt.Sprint(total), "UsedLicenses": fmt.Sprint(used),
			"UsedLicensesLastUpdated": now.Format("2006-01-02T15:04:05.000Z"),
		})
	}
	full := licence("SFDC", "Salesforce", "Active", 20, 3)
	platform := licence("AUL", "Salesforce Platform", "Active", 30, 0)
	free := licence("PID_CHATTER", "Chatter Free", "Active", 5000, 1)
	guest := licence("PID_Guest_User", "Guest", "Active", 1, 0)
	licence("FDC_SUB", "Force.com - App Subscription", "Disabled", 0, 0)
	profile := func(name, licence, userType, rights string) string {
		return put(db, "Profile", now, 1, map[string]string{
			"Name": name, "UserLicenseId": licence, "UserType": userType, "PermissionsApiEnabled": rights, "PermissionsViewSetup": rights,
			"PermissionsModifyAllData": rights, "PermissionsViewAllData": rights, "PermissionsBulkApiHardDelete": rights, "PermissionsManageUsers": rights,
		})
	}
	adminProfile := profile("System Administrator", full, "Standard", "true")
	profile("Standard User", full, "Standard", "false")
	profile("Standard Platform User", platform, "Standard", "false")
	chatter := profile("Chatter Free User", free, "CsnOnly", "false")
	guestProfile := profile("Guest Profile", guest, "Guest", "false")
	role := put(db, "UserRole", now, 1, map[string]string{"Name": "CEO", "DeveloperName": "CEO", "OpportunityAccessForAccountOwner": "Edit", "PortalType": "None"})
	suffix := strings.ToLower(org)
	user := func(first, last, name, profile, userType, active string) string {
		return put(db, "User", now, 1, map[string]string{
			"FirstName": first, "LastName": last, "Username": name, "Email": name, "Alias": alias(last), "CommunityNickname": alias(last) + fmt.Sprint(db.MustTable("User").Count()),
			"IsActive": active, "ProfileId": profile, "UserType": userType, "TimeZoneSidKey": "America/Los_Angeles", "LocaleSidKey": "en_US", "LanguageLocaleKey": "en_US",
			"EmailEncodingKey": "UTF-8", "ReceivesInfoEmails": "true", "DigestFrequency": "D", "DefaultGroupNotificationFrequency": "N",
		})
	}
	admin := user("Admin", "User", username, adminProfile, "Standard", "true")
	user("Automated", "Process", "autoproc@"+suffix, guestProfile, "AutomatedProcess", "true")
	user("", "Platform Integration User", "cloud@"+suffix, guestProfile, "CloudIntegrationUser", "true")
	user("Integration", "User", "integration@"+suffix, chatter, "Standard", "true")
	user("Ina", "Active", "inactive@"+suffix, adminProfile, "Standard", "false")
	t := db.MustTable("User")
	values := t.Values(t.Row(1), nil)
	old := append([]string(nil), values...)
	values[t.Object.Field("UserRoleId").Slot] = role
	t.Update(1, values, old, now, 1)
	put(db, "Group", now, 1, map[string]string{"Name": "All Internal Users", "DeveloperName": "AllInternalUsers", "Type": "Organization"})
	put(db, "Group", now, 1, map[string]string{"Name": "Lead Queue", "DeveloperName": "Lead_Queue", "Type": "Queue", "OwnerId": admin})
	setup(db, now, org, admin, adminProfile, full)
	return Result{OrgID: org, AdminID: admin}
}

func alias(last string) string {
	last = strings.ToLower(strings.ReplaceAll(last, " ", ""))
	return last[:min(len(last), 8)]
}

// Index makes the fields of a table searchable that saves and lookups search: keys, unique fields, and references to
// records that may have many children, owners and auditors excepted.
func Index(t *store.Table) {
	for _, f := range t.Object.Fields {
		if f.Virtual != schema.Stored {
			continue
		}
		if f.IDLookup || f.ExternalID || f.Unique || f.Type == "reference" && f.Name != "OwnerId" {
			t.Index(f)
		}
	}
}

var (
	firstNames = strings.Fields("Ada Alan Amina Anna Bo Carla Chen David Ebba Elif Emma Fatima Felix Grace Hugo Ines Ivan Jana José Kai Lena Liam Lucía Maja Mei Mohammed Nia Noah Olga Omar Petra Priya Quinn Rosa Sven Tariq Uma Vera Wei Yara Zoë")
	lastNames  = strings.Fields("Almeida Andersson Becker Brown Castillo Dubois Evans Ferrari García Haddad Hansen Ito Jansen Johnson Kim Kowalski Larsen Lopez Martin Meyer Müller Nakamura Nguyen Novák O'Brien Okafor Olsen Patel Petrov Quispe Rossi Santos Schmidt Silva Singh Smith Suzuki Tanaka Taylor Vega Wagner Weber Yilmaz Zhang")
	companies  = strings.Fields("Acme Borealis Cascade Delta Evergreen Fabrikam Granite Horizon Ironwood Juniper Keystone Lighthouse Meridian Northwind Orchard Pinnacle Quarry Riverside Summit Tidewater")
	titles     = []string{"Engineer", "Sales Manager", "Director", "VP Operations", "Analyst", "Consultant", "Teacher", "Head of People"}
	cities     = []string{"Berlin", "Lyon", "Madrid", "Oslo", "Austin", "Toronto", "Osaka", "Kraków"}
)

// Records adds n generated records of Contact, Lead or Account through the save pipeline.
func Records(db *store.DB, p *save.Pipeline, caller save.Caller, object string, n int, seed uint64) error {
	t := db.Table(object)
	if t == nil {
		return fmt.Errorf("seed records: no object %q", object)
	}
	rng := rand.New(rand.NewPCG(seed, uint64(len(object))))
	pick := func(list []string) string { return list[rng.IntN(len(list))] }
	for made := 0; made < n; {
		rows := make([]save.Row, 0, 200)
		for ; len(rows) < cap(rows) && made < n; made++ {
			first, last := pick(firstNames), pick(lastNames)
			email := strings.ToLower(fmt.Sprintf("seed%d@%s.example", made+1, pick(companies)))
			values := map[string]string{"FirstName": first, "LastName": last, "Email": email, "Title": pick(titles), "Phone": fmt.Sprintf("+1 555 %07d", rng.IntN(1e7)), "LeadSource": "Web"}
			switch t.Object.Name {
			case "Contact":
				values["MailingCity"], values["Department"] = pick(cities), "Sales"
			case "Lead":
				values["Company"], values["City"] = pick(companies)+" Ltd", pick(cities)
			case "Account":
				values = map[string]string{"Name": fmt.Sprintf("%s %d", pick(companies), made+1), "BillingCity": pick(cities), "Phone": values["Phone"]}
			default:
				return fmt.Errorf("seed records: %s cannot be generated, only Contact, Lead and Account", object)
			}
			rows = append(rows, Row(t.Object, values))
		}
		for _, r := range p.Batch(caller, t, save.Insert, nil, rows, false) {
			if !r.OK() {
				return fmt.Errorf("seed records: %s: %s", object, r.Errors[0].Message)
			}
		}
	}
	return nil
}

// Row makes a row of values by field name; "" is null.
func Row(o *schema.Object, values map[string]string) save.Row {
	var row save.Row
	for _, f := range o.Fields {
		v, ok := values[f.Name]
		if !ok {
			continue
		}
		kind := save.Text
		if v == "" {
			kind = save.Null
		}
		row.Columns = append(row.Columns, save.Column{Name: f.Name, Field: f})
		row.Values = append(row.Values, save.Value{Kind: kind, Text: v})
	}
	for name := range values {
		if o.Field(name) == nil {
			row.Columns = append(row.Columns, save.Column{Name: name})
			row.Values = append(row.Values, save.Value{Kind: save.Text, Text: values[name]})
		}
	}
	return row
}
