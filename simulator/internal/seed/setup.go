package seed

import (
	"fmt"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// setup adds what an admin sees: permission sets with their rights, licences, folders, reports and dashboards.
func setup(db *store.DB, now time.Time, org, admin, adminProfile, full string) {
	add := func(object string, values map[string]string) string { return put(db, object, now, 1, values) }
	for _, name := range db.Schema.Names() {
		o := db.Schema.Object(name)
		flag := func(b byte) string { return fmt.Sprint(o.Has(b)) }
		add("EntityDefinition", map[string]string{
			"DurableId": o.Name, "QualifiedApiName": o.Name, "DeveloperName": o.Name, "MasterLabel": o.Label, "Label": o.Label, "PluralLabel": o.Plural, "KeyPrefix": o.Prefix,
			"IsCustomizable": flag('l'), "IsQueryable": flag('q'), "IsRetrieveable": flag('r'), "IsSearchable": flag('S'), "IsWorkflowEnabled": flag('T'),
		})
	}
	crm := add("PermissionSetLicense", map[string]string{
		"DeveloperName": "SalesConsoleUser", "MasterLabel": "Sales Console User", "PermissionSetLicenseKey": "SalesConsoleUserPsl", "TotalLicenses": "20",
		"UsedLicenses": "1", "Status": "Active", "Language": "en_US",
	})
	add("PermissionSetLicense", map[string]string{
		"DeveloperName": "IdentityConnect", "MasterLabel": "Identity Connect", "PermissionSetLicenseKey": "IdentityConnect", "TotalLicenses": "0", "UsedLicenses": "0",
		"Status": "Disabled", "Language": "en_US",
	})
	add("PermissionSetLicenseAssign", map[string]string{"PermissionSetLicenseId": crm, "AssigneeId": admin})
	hidden := add("PermissionSet", map[string]string{
		"Name": "X" + adminProfile[:15], "Label": "00e" + adminProfile[3:15], "ProfileId": adminProfile, "LicenseId": full, "IsOwnedByProfile": "true", "Type": "Profile",
		"PermissionsApiEnabled": "true", "PermissionsViewSetup": "true", "PermissionsModifyAllData": "true", "PermissionsViewAllData": "true", "PermissionsBulkApiHardDelete": "true", "PermissionsManageUsers": "true",
		"PermissionsRunReports": "true", "PermissionsViewPublicDashboards": "true", "PermissionsViewPublicReports": "true", "PermissionsManagePvtRptsAndDashbds": "true", "PermissionsViewRoles": "true",
	})
	integration := add("PermissionSet", map[string]string{"Name": "Catalog_Integration", "Label": "Catalog Integration", "IsCustom": "true", "Type": "Regular", "LicenseId": full, "PermissionsApiEnabled": "true"})
	add("PermissionSetAssignment", map[string]string{"PermissionSetId": hidden, "AssigneeId": admin, "IsActive": "true"})
	add("PermissionSetAssignment", map[string]string{"PermissionSetId": integration, "AssigneeId": admin, "IsActive": "true"})
	for _, object := range []string{"Account", "Contact", "Lead", "Opportunity", "Campaign"} {
		for _, parent := range []string{hidden, integration} {
			add("ObjectPermissions", map[string]string{
				"ParentId": parent, "SobjectType": object, "PermissionsCreate": "true", "PermissionsRead": "true", "PermissionsEdit": "true",
				"PermissionsDelete": fmt.Sprint(parent == hidden), "PermissionsViewAllRecords": fmt.Sprint(parent == hidden), "PermissionsModifyAllRecords": fmt.Sprint(parent == hidden),
			})
			for _, f := range db.Schema.Object(object).Fields {
				if f.Permissionable {
					add("FieldPermissions", map[string]string{"ParentId": parent, "SobjectType": object, "Field": object + "." + f.Name, "PermissionsRead": "true", "PermissionsEdit": fmt.Sprint(f.Createable || f.Updateable)})
				}
			}
		}
	}
	add("GroupMember", map[string]string{"GroupId": db.MustTable("Group").ID(2), "UserOrGroupId": admin})
	reports := add("Folder", map[string]string{"Name": "Sales Reports", "DeveloperName": "SalesReports", "Type": "Report", "AccessType": "Public"})
	dashboards := add("Folder", map[string]string{"Name": "Sales Dashboards", "DeveloperName": "SalesDashboards", "Type": "Dashboard", "AccessType": "Shared"})
	seen := now.Format("2006-01-02T15:04:05.000Z")
	report := func(name, owner, folder, format, viewed string) string {
		return add("Report", map[string]string{"Name": name, "DeveloperName": strings.ReplaceAll(name, " ", "_"), "OwnerId": owner, "FolderName": folder, "Format": format, "LastViewedDate": viewed, "LastReferencedDate": viewed})
	}
	contacts := report("All Contacts", reports, "Sales Reports", "Tabular", seen)
	report("Leads by Source", reports, "Sales Reports", "Summary", "")
	report("My Private Report", admin, "Private Reports", "Matrix", seen)
	report("Joined Pipeline", org, "Public Reports", "MultiBlock", "")
	dash := add("Dashboard", map[string]string{
		"Title": "Sales Overview", "DeveloperName": "Sales_Overview", "FolderId": dashboards, "FolderName": "Sales Dashboards", "Type": "SpecifiedUser", "RunningUserId": admin,
		"LeftSize": "Medium", "MiddleSize": "Medium", "RightSize": "Medium", "BackgroundDirection": "Diagonal", "TitleColor": "0", "TitleSize": "12", "TextColor": "0", "BackgroundStart": "16777215", "BackgroundEnd": "16777215", "LastViewedDate": seen,
	})
	add("DashboardComponent", map[string]string{"Name": "Contacts", "DashboardId": dash, "CustomReportId": contacts})
}
