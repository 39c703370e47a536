package simulator_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

func (o *org) one(q string) string {
	o.t.Helper()
	_, rest, ok := strings.Cut(o.query(q).body, `"Id":"`)
	if !ok {
		o.t.Fatalf("no record: %s", q)
	}
	return rest[:18]
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	existing := o.create("Contact", map[string]string{"LastName": "c", "Department": "d"})
	user := o.create("User", map[string]string{
		"LastName": "Limited", "Username": "limited@x.example", "Email": "l@x.example", "Alias": "lim", "ProfileId": o.one("SELECT Id FROM Profile WHERE Name = 'Standard User'"),
		"TimeZoneSidKey": "Europe/Berlin", "LocaleSidKey": "en_US", "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8", "IsActive": "true", "CommunityNickname": "lim",
	})
	set := o.create("PermissionSet", map[string]string{"Name": "Reader", "Label": "Reader"})
	o.create("ObjectPermissions", map[string]string{"ParentId": set, "SobjectType": "Contact", "PermissionsRead": "true", "PermissionsEdit": "true"})
	o.create("FieldPermissions", map[string]string{"ParentId": set, "SobjectType": "Contact", "Field": "Contact.Title", "PermissionsRead": "true", "PermissionsEdit": "true"})
	o.create("FieldPermissions", map[string]string{"ParentId": set, "SobjectType": "Contact", "Field": "Contact.Email", "PermissionsRead": "true"})
	assign := `{"AssigneeId":"` + user + `","PermissionSetId":"` + set + `"}`
	o.want(o.do("POST", "/sobjects/PermissionSetAssignment", assign), 201, `*`)
	o.want(o.do("POST", "/sobjects/PermissionSetAssignment", assign), 400, `[{"message":"Duplicate PermissionSetAssignment.  Assignee: `+user[:15]+`; Permission Set: `+set[:15]+`","errorCode":"DUPLICATE_VALUE","fields":["AssigneeId","PermissionSetId"]}]`)
	if err := o.SetRunAs(user); err != nil {
		t.Fatal(err)
	}
	_, body := o.tokenCall(url.Values{"grant_type": {"client_credentials"}})
	limited := *o
	limited.token = field(t, body, "access_token")
	d := limited.do("GET", "/sobjects/Contact/describe", "")
	if strings.Contains(d.body, `"name":"Department"`) || !strings.Contains(d.body, `"name":"Title"`) || !strings.Contains(d.body, `"name":"LastName"`) {
		t.Error("describe shows the wrong fields")
	}
	limited.want(limited.do("GET", "/sobjects/Lead/describe", ""), 404, `*`)
	limited.want(limited.query("SELECT Department FROM Contact"), 400, `*No such column 'Department' on entity 'Contact'.*`)
	limited.want(limited.query("SELECT Id FROM Lead"), 400, `*sObject type 'Lead' is not supported.*`)
	limited.want(limited.query("SELECT Title, Email FROM Contact WHERE Email = null"), 200, `{"totalSize":1,*`)
	limited.want(limited.do("PATCH", "/sobjects/Contact/"+existing, `{"Department":"x"}`), 400, `[{"message":"No such column 'Department' on sobject of type Contact","errorCode":"INVALID_FIELD"}]`)
	limited.want(limited.do("PATCH", "/sobjects/Contact/"+existing, `{"Email":"x@example.com"}`), 400, `[{"message":"Unable to create/update fields: Email.*`)
	limited.want(limited.do("PATCH", "/sobjects/Contact/"+existing, `{"Title":"x"}`), 204, ``)
	limited.want(limited.do("POST", "/sobjects/Contact", `{"LastName":"x"}`), 400, `[{*"errorCode":"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",*`)
	limited.want(limited.do("DELETE", "/composite/sobjects?ids="+existing, ""), 200, `[{"success":false,"errors":[{"statusCode":"INSUFFICIENT_ACCESS_OR_READONLY",*`)
	id, info := limited.ingest(`{"object":"Contact","operation":"update"}`, "Id,Department\n"+existing+",x\n")
	if field(t, info, "state") != "Failed" || field(t, info, "errorMessage") != "InvalidBatch : Field name not found : Department" {
		t.Errorf("job %s: %s", id, info)
	}
	if rec, _ := o.Record(existing); rec.Fields["Department"] != "d" || rec.Fields["Title"] != "x" || rec.Fields["LastModifiedById"] != user {
		t.Errorf("record %v", rec.Fields)
	}
}
