package doctor

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// What the product makes in an org.
const (
	// SetName is the API name of the permission set.
	SetName = "Catalogsync"
	// SetLabel is what Setup shows of it.
	SetLabel = "Catalogsync Integration"
	// FieldName is the external id field.
	FieldName = "CatalogUserId__c"

	fieldLabel       = "Catalog User Id"
	fieldDescription = "Id of the person in the Catalog. Kept by catalogsync, which finds records by it."
	fieldLength      = 255
	setDescription   = "The rights that catalogsync needs to keep this org in step with the Catalog, and no more."
)

// rightsWanted are the rights that the permission set gives.
type rightsWanted struct {
	objects map[string][]string // by object, API names of ObjectPermissions
	fields  []string            // Object.Field, read and edit
	system  []string            // of PermissionSet
}

// want computes the rights for an object and a field map, of which d is the describe: fields that Salesforce lets
// nobody take away have no permissions of their own.
func want(object string, m *mapperv1.FieldMap, d *salesforce.ObjectDescribe) rightsWanted {
	w := rightsWanted{objects: make(map[string][]string), system: []string{"PermissionsApiEnabled", "PermissionsViewSetup"}}
	for _, r := range rights {
		w.objects[object] = append(w.objects[object], r.field)
	}
	for o, create := range lookups(m) {
		w.objects[o] = append(w.objects[o], "PermissionsRead")
		if create {
			w.objects[o] = append(w.objects[o], "PermissionsCreate")
		}
	}
	if object == "Contact" && w.objects["Account"] == nil { // Contact rights ask for Account's, as Salesforce has it
		w.objects["Account"] = []string{"PermissionsRead"}
	}
	w.fields = []string{object + "." + FieldName}
	if d != nil {
		for _, field := range named(m) {
			i := slices.IndexFunc(d.Fields, func(f salesforce.FieldDescribe) bool { return strings.EqualFold(f.Name, field) })
			if i < 0 || !permissionable(d.Fields[i]) {
				continue
			}
			if name := object + "." + d.Fields[i].Name; !slices.Contains(w.fields, name) {
				w.fields = append(w.fields, name)
			}
		}
	}
	slices.Sort(w.fields)
	return w
}

// permissionable reports whether field-level security applies. Required fields, the parts of the name and the owner
// have none.
func permissionable(f salesforce.FieldDescribe) bool {
	switch f.Name {
	case "FirstName", "LastName", "Name", "Salutation", "OwnerId", "Id", "Company", "Status":
		return false
	}
	return f.Nillable && !f.NameField || f.Custom
}

// Package is a metadata package in the layout of the Metadata API: package.xml, the object with the field, the
// permission set. version is the API version, such as 67.0.
func Package(object, version string, m *mapperv1.FieldMap, d *salesforce.ObjectDescribe) (content []byte, files []string, err error) {
	w := want(object, m, d)
	documents := []struct {
		name string
		body any
	}{
		{"package.xml", manifest(object, version)},
		{"objects/" + object + ".object", customObject()},
		{"permissionsets/" + SetName + ".permissionset", w.permissionSet()},
	}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, doc := range documents {
		body, err := xml.MarshalIndent(doc.body, "", "    ")
		if err != nil {
			return nil, nil, fmt.Errorf("write %s: %w", doc.name, err)
		}
		f, err := z.Create(doc.name)
		if err != nil {
			return nil, nil, err
		}
		if _, err := f.Write(append([]byte(xml.Header), append(body, '\n')...)); err != nil {
			return nil, nil, err
		}
		files = append(files, doc.name)
	}
	if err := z.Close(); err != nil {
		return nil, nil, err
	}
	return buf.Bytes(), files, nil
}

const namespace = "http://soap.sforce.com/2006/04/metadata"

type xmlPackage struct {
	XMLName xml.Name  `xml:"Package"`
	NS      string    `xml:"xmlns,attr"`
	Types   []xmlType `xml:"types"`
	Version string    `xml:"version"`
}

type xmlType struct {
	Members []string `xml:"members"`
	Name    string   `xml:"name"`
}

func manifest(object, version string) xmlPackage {
	return xmlPackage{NS: namespace, Version: version, Types: []xmlType{
		{Members: []string{object + "." + FieldName}, Name: "CustomField"},
		{Members: []string{SetName}, Name: "PermissionSet"},
	}}
}

type xmlObject struct {
	XMLName xml.Name `xml:"CustomObject"`
	NS      string   `xml:"xmlns,attr"`
	Fields  xmlField `xml:"fields"`
}

type xmlField struct {
	FullName      string `xml:"fullName"`
	CaseSensitive bool   `xml:"caseSensitive"`
	Description   string `xml:"description"`
	ExternalID    bool   `xml:"externalId"`
	Label         string `xml:"label"`
	Length        int    `xml:"length"`
	Required      bool   `xml:"required"`
	Type          string `xml:"type"`
	Unique        bool   `xml:"unique"`
}

func customObject() xmlObject {
	return xmlObject{NS: namespace, Fields: xmlField{
		FullName: FieldName, Description: fieldDescription, ExternalID: true, Label: fieldLabel, Length: fieldLength, Type: "Text", Unique: true,
	}}
}

type xmlSet struct {
	XMLName     xml.Name        `xml:"PermissionSet"`
	NS          string          `xml:"xmlns,attr"`
	Description string          `xml:"description"`
	Fields      []xmlFieldRight `xml:"fieldPermissions"`
	Activation  bool            `xml:"hasActivationRequired"`
	Label       string          `xml:"label"`
	Objects     []xmlRights     `xml:"objectPermissions"`
	Users       []xmlUserRight  `xml:"userPermissions"`
}

type xmlFieldRight struct {
	Editable bool   `xml:"editable"`
	Field    string `xml:"field"`
	Readable bool   `xml:"readable"`
}

type xmlRights struct {
	Create    bool   `xml:"allowCreate"`
	Delete    bool   `xml:"allowDelete"`
	Edit      bool   `xml:"allowEdit"`
	Read      bool   `xml:"allowRead"`
	ModifyAll bool   `xml:"modifyAllRecords"`
	Object    string `xml:"object"`
	ViewAll   bool   `xml:"viewAllRecords"`
}

type xmlUserRight struct {
	Enabled bool   `xml:"enabled"`
	Name    string `xml:"name"`
}

func (w rightsWanted) permissionSet() xmlSet {
	set := xmlSet{NS: namespace, Description: setDescription, Label: SetLabel}
	for _, f := range w.fields {
		set.Fields = append(set.Fields, xmlFieldRight{Editable: true, Field: f, Readable: true})
	}
	for _, object := range sorted(w.objects) {
		has := func(r string) bool { return slices.Contains(w.objects[object], "Permissions"+r) }
		set.Objects = append(set.Objects, xmlRights{
			Create: has("Create"), Delete: has("Delete"), Edit: has("Edit"), Read: has("Read"), Object: object, ViewAll: has("ViewAllRecords"),
		})
	}
	for _, p := range w.system {
		set.Users = append(set.Users, xmlUserRight{Enabled: true, Name: strings.TrimPrefix(p, "Permissions")})
	}
	return set
}

// setup makes what is missing, step by step.
type setup struct {
	org   *salesforce.Client
	steps []*syncv1.Finding
}

// Apply makes the field, the permission set with its rights, and assigns it to the connected user. Each step looks
// before it makes anything, so that it may be repeated; the first step that fails ends it.
func Apply(ctx context.Context, org *salesforce.Client, object, userID string, m *mapperv1.FieldMap) []*syncv1.Finding {
	s := &setup{org: org}
	s.run(ctx, object, userID, m)
	return s.steps
}

func (s *setup) run(ctx context.Context, object, userID string, m *mapperv1.FieldMap) {
	if !s.step("field", fmt.Sprintf("Field %s.%s, an external id and unique", object, FieldName), func() (bool, error) {
		_, err := s.org.CreateExternalID(ctx, salesforce.CustomField{
			Object: object, Name: FieldName, Label: fieldLabel, Description: fieldDescription, Length: fieldLength,
		})
		if e, is := asRefusal(err); is && e.Code == "DUPLICATE_DEVELOPER_NAME" {
			return false, nil // nobody may be able to see it yet, so there is no other way to look for it
		}
		return true, err
	}) {
		return
	}
	d, _, err := s.org.Describe(ctx, object, zeroTime)
	if err != nil {
		s.failed("describe", "Describe of "+object, err)
		return
	}
	w := want(object, m, d)
	var set string
	if !s.step("permission_set", "Permission set "+SetLabel, func() (made bool, err error) {
		set, made, err = s.findOrCreate(ctx, "PermissionSet", "WHERE Name = "+salesforce.Quote(SetName), w.set())
		return made, err
	}) {
		return
	}
	for _, o := range sorted(w.objects) {
		if !s.step("object_right", "Rights on "+o, func() (bool, error) {
			values := map[string]any{"ParentId": set, "SobjectType": o}
			for _, r := range w.objects[o] {
				values[r] = true
			}
			_, made, err := s.findOrCreate(ctx, "ObjectPermissions", "WHERE ParentId = "+salesforce.Quote(set)+" AND SobjectType = "+salesforce.Quote(o), values)
			return made, err
		}) {
			return
		}
	}
	for _, f := range w.fields {
		if !s.step("field_right", "Field-level security of "+f, func() (bool, error) {
			o, _, _ := strings.Cut(f, ".")
			_, made, err := s.findOrCreate(ctx, "FieldPermissions", "WHERE ParentId = "+salesforce.Quote(set)+" AND Field = "+salesforce.Quote(f),
				map[string]any{"ParentId": set, "SobjectType": o, "Field": f, "PermissionsRead": true, "PermissionsEdit": true})
			return made, err
		}) {
			return
		}
	}
	s.step("assignment", "Assignment of "+SetLabel+" to the connected user", func() (bool, error) {
		_, made, err := s.findOrCreate(ctx, "PermissionSetAssignment", "WHERE PermissionSetId = "+salesforce.Quote(set)+" AND AssigneeId = "+salesforce.Quote(userID),
			map[string]any{"PermissionSetId": set, "AssigneeId": userID})
		return made, err
	})
}

func (w rightsWanted) set() map[string]any {
	values := map[string]any{"Name": SetName, "Label": SetLabel, "Description": setDescription}
	for _, p := range w.system {
		values[p] = true
	}
	return values
}

func (s *setup) findOrCreate(ctx context.Context, object, where string, values map[string]any) (id string, made bool, err error) {
	rows, err := query(ctx, s.org, object, []string{"Id"}, where+" LIMIT 1")
	if err != nil || len(rows) > 0 {
		if err == nil {
			id = rows[0]["Id"]
		}
		return id, false, err
	}
	id, err = s.org.CreateSetup(ctx, object, values)
	return id, true, err
}

// step notes what a step did and reports whether to go on.
func (s *setup) step(code, what string, do func() (made bool, err error)) bool {
	made, err := do()
	switch {
	case err != nil:
		s.failed(code, what, err)
		return false
	case made:
		what += ": made."
	default:
		what += ": already there."
	}
	s.steps = append(s.steps, &syncv1.Finding{Code: code, Severity: ok, What: what})
	return true
}

func (s *setup) failed(code, what string, err error) {
	s.steps = append(s.steps, &syncv1.Finding{
		Code: code, Severity: failure, What: what + ": not made.", Salesforce: words(err),
		Why:  "The steps after it were not tried. What was made stays, and is found when this is done again.",
		Mend: "Making fields and permission sets takes an administrator (Customize Application, Manage Profiles and Permission Sets): deploy the package of catalogsync doctor package as one, or link as one for the time being.",
	})
}
