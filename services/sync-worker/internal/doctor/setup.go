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
	fields  map[string]bool     // Object.Field, read, by whether they are edited, too
	system  []string            // of PermissionSet
}

// describes are objects of the org by name, as far as they are known.
type describes map[string]*salesforce.ObjectDescribe

// Describe describes the objects of which the field map, or a map for the object, needs fields. What the connected user may
// not see is left out.
func Describe(ctx context.Context, org *salesforce.Client, object string, m *mapperv1.FieldMap) map[string]*salesforce.ObjectDescribe {
	ds := make(describes)
	names := append([]string{object}, sorted(lookups(m))...)
	if looks, _ := contactsToo(object, m); looks {
		names = append(names, "Contact")
	}
	for _, name := range names {
		if ds[name] != nil {
			continue
		}
		if d, _, err := org.Describe(ctx, name, zeroTime); err == nil {
			ds[name] = d
		}
	}
	return ds
}

// contactsToo reports whether a map of Leads looks at Contacts, and whether it updates those that Leads became.
func contactsToo(object string, m *mapperv1.FieldMap) (looks, updates bool) {
	if object != "Lead" || m == nil || imports(m) {
		return false, false
	}
	updates = m.GetIdentity().GetConverted() == mapperv1.Converted_CONVERTED_UPDATE_CONTACT
	return updates || m.GetIdentity().GetContactAndLead() != mapperv1.ContactAndLead_CONTACT_AND_LEAD_BOTH, updates
}

// want computes the rights for an object and a field map: of an import, to read alone. Fields that Salesforce lets nobody
// take away have no permissions of their own, so only fields of objects that are described are named.
func want(object string, m *mapperv1.FieldMap, ds describes) rightsWanted {
	w := rightsWanted{objects: make(map[string][]string), fields: make(map[string]bool), system: []string{"PermissionsApiEnabled", "PermissionsViewSetup"}}
	for _, r := range rights {
		if !imports(m) || r.label == "Read" || r.label == "View All" {
			w.objects[object] = append(w.objects[object], r.field)
		}
	}
	for o, create := range lookups(m) {
		w.right(o, "PermissionsRead")
		if create {
			w.right(o, "PermissionsCreate")
		}
	}
	looks, updates := contactsToo(object, m)
	if looks {
		w.right("Contact", "PermissionsRead")
		w.field(ds, "Contact", "Email", false)
	}
	if updates {
		w.right("Contact", "PermissionsEdit")
	}
	if w.objects["Contact"] != nil { // Contact rights ask for Account's, as Salesforce has it
		w.right("Account", "PermissionsRead")
	}
	if !imports(m) {
		w.fields[object+"."+FieldName] = true
	}
	for _, n := range named(m) {
		w.field(ds, object, n.name, n.write)
		if updates && ds[object] != nil && ds["Contact"] != nil { // what Lead and Contact share is read, and written where it is of one type
			lead, _ := fieldOf(ds[object], n.name)
			contact, _ := fieldOf(ds["Contact"], n.name)
			w.field(ds, "Contact", n.name, n.write && lead.Type == contact.Type)
		}
	}
	for o, fields := range keys(m) {
		for _, f := range fields {
			w.field(ds, o, f.name, f.write)
		}
	}
	return w
}

// right adds a right on an object.
func (w rightsWanted) right(object, name string) {
	if !slices.Contains(w.objects[object], name) {
		w.objects[object] = append(w.objects[object], name)
	}
}

// field adds the right to read a field, or to edit it, where it is there and has such rights.
func (w rightsWanted) field(ds describes, object, name string, edit bool) {
	if ds[object] == nil {
		return
	}
	if f, found := fieldOf(ds[object], name); found && permissionable(f) {
		at := object + "." + f.Name
		w.fields[at] = w.fields[at] || edit && !f.Calculated
	}
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
// permission set. version is the API version, such as 67.0. An import needs no
// field, so its package has none. ds is what [Describe] returns; fields of other objects are left out.
func Package(object, version string, m *mapperv1.FieldMap, ds map[string]*salesforce.ObjectDescribe) (content []byte, files []string, err error) {
	type document struct {
		name string
		body any
	}
	documents := []document{{"package.xml", manifest(object, version, !imports(m))}}
	if !imports(m) {
		documents = append(documents, document{"objects/" + object + ".object", customObject()})
	}
	documents = append(documents, document{"permissionsets/" + SetName + ".permissionset", want(object, m, ds).permissionSet()})
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

func manifest(object, version string, field bool) xmlPackage {
	p := xmlPackage{NS: namespace, Version: version}
	if field {
		p.Types = append(p.Types, xmlType{Members: []string{object + "." + FieldName}, Name: "CustomField"})
	}
	p.Types = append(p.Types, xmlType{Members: []string{SetName}, Name: "PermissionSet"})
	return p
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
	for _, f := range sorted(w.fields) {
		set.Fields = append(set.Fields, xmlFieldRight{Editable: w.fields[f], Field: f, Readable: true})
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

// Apply makes the field, which an import does not need, the permission set with its rights, and assigns it to the connected user. Each step looks
// before it makes anything, so that it may be repeated; the first step that fails ends it.
func Apply(ctx context.Context, org *salesforce.Client, object, userID string, m *mapperv1.FieldMap) []*syncv1.Finding {
	s := &setup{org: org}
	s.run(ctx, object, userID, m)
	return s.steps
}

func (s *setup) run(ctx context.Context, object, userID string, m *mapperv1.FieldMap) {
	if !imports(m) && !s.step("field", fmt.Sprintf("Field %s.%s, an external id and unique", object, FieldName), func() (bool, error) {
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
	if _, _, err := s.org.Describe(ctx, object, zeroTime); err != nil {
		s.failed("describe", "Describe of "+object, err)
		return
	}
	w := want(object, m, Describe(ctx, s.org, object, m))
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
	for _, f := range sorted(w.fields) {
		if !s.step("field_right", "Field-level security of "+f, func() (bool, error) {
			o, _, _ := strings.Cut(f, ".")
			_, made, err := s.findOrCreate(ctx, "FieldPermissions", "WHERE ParentId = "+salesforce.Quote(set)+" AND Field = "+salesforce.Quote(f),
				map[string]any{"ParentId": set, "SobjectType": o, "Field": f, "PermissionsRead": true, "PermissionsEdit": w.fields[f]})
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
