// Package schema owns what objects and fields the org has: one text table per object in objects/, read once, plus the
// custom fields that an org adds. Describe results, the save pipeline and SOQL are all driven by it.
//
// A table's first line is `# Name|Label|plural label|key prefix|flags`, every other line a field:
// `Name|Label|type|size|flags|key=value...`. Size is the text length, `precision,scale` or the digits of an int.
package schema

import (
	"embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

//go:embed objects/*.txt
var tables embed.FS

// Virtual says where the value of a field comes from when it is not stored.
type Virtual uint8

// The sources of fields that are not stored.
const (
	Stored Virtual = iota
	ID
	IsDeleted
	PersonName // Salutation, FirstName, LastName
	CreatedDate
	CreatedByID
	ModifiedDate
	ModifiedByID
	Modstamp
	Address  // compound of the fields whose Compound is this field's name
	PhotoURL // /services/images/photo/<id>
)

// Value is one entry of a picklist.
type Value struct {
	Value, Label string
	Default      bool
}

// Field is one field of an object. A Field never changes once its Schema is in use.
type Field struct {
	Name, Label              string
	Type                     string // describe's type: "string", "picklist", ...
	Length                   int    // characters
	Precision, Scale, Digits int
	Createable, Updateable   bool
	Nillable, Defaulted      bool
	IDLookup, ExternalID     bool
	Unique, CaseSensitive    bool
	Restricted               bool // picklist takes its values only
	AutoNumber, NameField    bool
	SingleByte               bool // byteLength is the length and not three times it
	Permissionable           bool
	Prefilterable            bool
	Filterable, Groupable    bool
	Sortable, Custom         bool
	ReferenceTo              []string
	Relationship             string // "Account" for AccountId; empty if it has none
	Compound                 string // the compound field that this is a part of
	Extra                    string // describe's extraTypeInfo
	Default                  string // value on create when none is given
	Hidden                   bool   // describe does not tell the Default
	Values                   []Value
	Virtual                  Virtual
	Slot                     int     // number of the field in its object, and of its value in a stored record
	Parts                    []Field // of an Address: its parts, by value for reading only
	After                    string  // the field that a standard field which an admin switched on follows in lists
}

// Child is a relationship seen from the parent.
type Child struct {
	Object, Field string
	Relationship  string // name in child subqueries; empty: none
	Cascade       bool   // children are deleted with the parent
	Restricted    bool   // children keep the parent from being deleted
}

// Object is one sObject.
type Object struct {
	Name, Label, Plural, Prefix string
	Flags                       string // letters of the table's first line
	Fields                      []*Field
	Children                    []Child
	byName                      map[string]*Field // lower case
	byRelationship              map[string]*Field // lower case
	Required                    []*Field          // createable, not nillable, not defaulted
	Defaults                    []*Field          // stored fields with a Default
	NameField                   *Field
	removed                     int // fields that were taken away
}

// Has reports whether the object's table has a flag letter.
func (o *Object) Has(flag byte) bool { return strings.IndexByte(o.Flags, flag) >= 0 }

// Field finds a field by name in any case, or nil.
func (o *Object) Field(name string) *Field {
	if f := o.byName[name]; f != nil {
		return f
	}
	return o.byName[strings.ToLower(name)]
}

// Parent finds the reference field whose relationship has this name in any case, or nil.
func (o *Object) Parent(relationship string) *Field {
	return o.byRelationship[strings.ToLower(relationship)]
}

// Child finds the child relationship of this name in any case.
func (o *Object) Child(relationship string) (Child, bool) {
	for _, c := range o.Children {
		if c.Relationship != "" && strings.EqualFold(c.Relationship, relationship) {
			return c, true
		}
	}
	return Child{}, false
}

// Schema is all objects of one org.
type Schema struct {
	objects map[string]*Object // lower case
	prefix  map[string]*Object
	names   []string
}

// New reads the tables.
func New() (*Schema, error) {
	s := &Schema{objects: map[string]*Object{}, prefix: map[string]*Object{}}
	files, err := tables.ReadDir("objects")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		text, err := tables.ReadFile(path.Join("objects", f.Name()))
		if err != nil {
			return nil, err
		}
		o, err := parseObject(string(text))
		if err != nil {
			return nil, fmt.Errorf("schema table %s: %w", f.Name(), err)
		}
		s.objects[strings.ToLower(o.Name)] = o
		if o.Prefix != "" {
			s.prefix[o.Prefix] = o
		}
		s.names = append(s.names, o.Name)
	}
	sort.Strings(s.names)
	s.relate()
	return s, nil
}

// Object finds an object by name in any case, or nil.
func (s *Schema) Object(name string) *Object { return s.objects[strings.ToLower(name)] }

// ByPrefix finds the object of a key prefix ("003"), or nil.
func (s *Schema) ByPrefix(prefix string) *Object { return s.prefix[prefix] }

// Count is the number of fields of all objects.
func (s *Schema) Count() int {
	n := 0
	for _, o := range s.objects {
		n += len(o.Fields)
	}
	return n
}

// Names lists all objects in alphabetical order.
func (s *Schema) Names() []string { return s.names }

func parseObject(text string) (*Object, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	head := strings.Split(strings.TrimPrefix(lines[0], "# "), "|")
	if len(head) < 5 {
		return nil, fmt.Errorf("first line has %d columns, want 5", len(head))
	}
	o := &Object{Name: head[0], Label: head[1], Plural: head[2], Prefix: head[3], Flags: head[4], byName: map[string]*Field{}, byRelationship: map[string]*Field{}}
	for i, line := range lines[1:] {
		f, err := parseField(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		o.add(f)
	}
	return o, nil
}

func (o *Object) add(f *Field) {
	f.Slot = o.Slots()
	o.enter(f)
}

// Slots is how many values a record has: one per field, also of those that were taken away.
func (o *Object) Slots() int { return len(o.Fields) + o.removed }

// enter makes a field part of the object without giving it a slot.
func (o *Object) enter(f *Field) {
	o.Fields = append(o.Fields, f)
	o.byName[strings.ToLower(f.Name)] = f
	o.byName[f.Name] = f
	if f.Relationship != "" && f.Type == "reference" {
		o.byRelationship[strings.ToLower(f.Relationship)] = f
	}
	if f.Createable && !f.Nillable && !f.Defaulted && f.Type != "boolean" {
		o.Required = append(o.Required, f)
	}
	if f.Default != "" {
		o.Defaults = append(o.Defaults, f)
	}
	if f.NameField {
		o.NameField = f
	}
}

var virtuals = map[string]Virtual{
	"Id": ID, "IsDeleted": IsDeleted, "CreatedDate": CreatedDate, "CreatedById": CreatedByID, "LastModifiedDate": ModifiedDate,
	"LastModifiedById": ModifiedByID, "SystemModstamp": Modstamp, "PhotoUrl": PhotoURL,
}

func parseField(line string) (*Field, error) {
	c := strings.Split(line, "|")
	if len(c) < 5 {
		return nil, fmt.Errorf("%d columns, want at least 5", len(c))
	}
	f := &Field{Name: c[0], Label: c[1], Type: c[2], Virtual: virtuals[c[0]]}
	if err := f.size(c[3]); err != nil {
		return nil, err
	}
	has := func(flag string) bool { return strings.Contains(c[4], flag) }
	f.Createable, f.Updateable, f.Nillable, f.Defaulted = has("C"), has("U"), has("N"), has("D")
	f.IDLookup, f.ExternalID, f.Unique, f.CaseSensitive = has("L"), has("E"), has("Q"), has("S")
	f.Restricted, f.AutoNumber, f.NameField = has("R"), has("A"), has("F")
	f.Permissionable, f.Prefilterable, f.SingleByte = has("P"), has("H"), has("B")
	for _, kv := range c[5:] {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "ref":
			f.ReferenceTo = strings.Split(v, ",")
		case "rel":
			f.Relationship = v
		case "in":
			f.Compound = v
		case "extra":
			f.Extra = v
		case "init":
			f.Default, f.Hidden = v, true
		case "values":
			f.picklist(v)
		default:
			return nil, fmt.Errorf("field %s: unknown key %q", f.Name, k)
		}
	}
	long := f.Type == "textarea" && f.Length > 255 && !has("Y")
	f.Filterable = !long && !has("X")
	f.Sortable = !long && f.Type != "address" && !has("X") && !has("O")
	switch f.Type {
	case "double", "currency", "percent", "datetime", "address", "multipicklist":
	default:
		f.Groupable = !long && !has("G")
	}
	if f.Type == "address" {
		f.Virtual = Address
	}
	if f.Name == "Name" && f.Extra == "personname" {
		f.Virtual = PersonName
	}
	if f.Type == "boolean" && f.Default == "" && f.Virtual == Stored {
		f.Default = "false"
	}
	return f, nil
}

func (f *Field) size(text string) error {
	if f.Type == "id" || f.Type == "reference" {
		f.Length = 18
		return nil
	}
	if text == "" {
		return nil
	}
	a, b, two := strings.Cut(text, ",")
	n, err := strconv.Atoi(a)
	if err != nil {
		return fmt.Errorf("field %s: size %q: %w", f.Name, text, err)
	}
	switch {
	case two:
		f.Precision = n
		if f.Scale, err = strconv.Atoi(b); err != nil {
			return fmt.Errorf("field %s: scale %q: %w", f.Name, b, err)
		}
	case f.Type == "int":
		f.Digits = n
	default:
		f.Length = n
	}
	return nil
}

func (f *Field) picklist(text string) {
	for _, v := range strings.Split(text, ";") {
		v, isDefault := strings.CutPrefix(v, "*")
		value, label, ok := strings.Cut(v, "=")
		if !ok {
			label = value
		}
		f.Values = append(f.Values, Value{Value: value, Label: label, Default: isDefault})
		if isDefault {
			f.Default = value
		}
	}
}

// childNames are the relationship names that cannot be guessed from the child's plural label.
var childNames = map[string]string{
	"Account.ParentId": "ChildAccounts", "Contact.AccountId": "Contacts", "Opportunity.AccountId": "Opportunities",
	"Opportunity.ContactId": "Opportunities", "User.AccountId": "Users", "User.ContactId": "Users", "User.ProfileId": "Users",
	"User.UserRoleId": "Users", "User.ManagerId": "ManagedUsers", "CampaignMember.CampaignId": "CampaignMembers",
	"CampaignMember.ContactId": "CampaignMembers", "CampaignMember.LeadId": "CampaignMembers", "Opportunity.CampaignId": "Opportunities",
	"GroupMember.GroupId": "GroupMembers", "PermissionSetAssignment.PermissionSetId": "Assignments",
	"PermissionSetAssignment.AssigneeId": "PermissionSetAssignments", "ObjectPermissions.ParentId": "ObjectPerms",
	"FieldPermissions.ParentId": "FieldPerms", "Campaign.ParentId": "ChildCampaigns", "DashboardComponent.DashboardId": "DashboardComponents",
	"PermissionSetLicenseAssign.AssigneeId": "PermissionSetLicenseAssignments", "PermissionSet.ProfileId": "PermissionSets",
}

// cascades are the children that go with their parent.
var cascades = map[string]bool{"Contact.AccountId": true, "Opportunity.AccountId": true, "CampaignMember.CampaignId": true, "CampaignMember.ContactId": true, "CampaignMember.LeadId": true}

func (s *Schema) relate() {
	for _, name := range s.names {
		child := s.Object(name)
		for _, f := range child.Fields {
			if f.Type == "address" {
				for _, p := range child.Fields {
					if p.Compound == f.Name {
						f.Parts = append(f.Parts, *p)
					}
				}
			}
			for _, to := range f.ReferenceTo {
				parent := s.Object(to)
				if parent == nil || f.Name == "MasterRecordId" {
					continue
				}
				key := child.Name + "." + f.Name
				parent.Children = append(parent.Children, Child{Object: child.Name, Field: f.Name, Relationship: childNames[key], Cascade: cascades[key], Restricted: key == "User.ContactId"})
			}
		}
	}
	for _, name := range s.names {
		o := s.Object(name)
		sort.SliceStable(o.Children, func(i, j int) bool {
			a, b := o.Children[i], o.Children[j]
			return a.Object < b.Object || a.Object == b.Object && a.Field < b.Field
		})
	}
}

// CustomName reports whether a text can be the name of a custom field.
func CustomName(s string) bool { return customName.MatchString(s) }

var customName = regexp.MustCompile(`^[A-Za-z](?:_?[A-Za-z0-9])*__c$`)

// AddExternalID adds a custom Text(255) field, External ID and unique (ignoring case), given as "Contact.CatalogUserId__c".
func (s *Schema) AddExternalID(spec string) (*Object, *Field, error) {
	object, name, ok := strings.Cut(spec, ".")
	o := s.Object(object)
	switch {
	case !ok || o == nil:
		return nil, nil, fmt.Errorf("external id field %q: want Object.Field__c with one of %s", spec, strings.Join(s.names, ", "))
	case !customName.MatchString(name):
		return nil, nil, fmt.Errorf("external id field %q: a custom field's name is letters, digits and single underscores, and ends in __c", spec)
	}
	label := strings.ReplaceAll(strings.TrimSuffix(name, "__c"), "_", " ")
	f := &Field{
		Name: name, Label: label, Type: "string", Length: 255, Createable: true, Updateable: true, Nillable: true, IDLookup: true,
		ExternalID: true, Unique: true, Permissionable: true, Filterable: true, Groupable: true, Sortable: true, Custom: true,
	}
	return o, f, s.AddField(o, f)
}

// AddField adds a field to an object: a custom one, or a standard one with After. The caller keeps readers out meanwhile.
func (s *Schema) AddField(o *Object, f *Field) error {
	if o.Field(f.Name) != nil {
		return fmt.Errorf("field %s.%s exists", o.Name, f.Name)
	}
	o.add(f)
	if f.After != "" {
		o.place(f)
	}
	if address := o.byName[f.Compound]; address != nil {
		address.Parts = append(address.Parts, *f)
	}
	for _, to := range f.ReferenceTo {
		if parent := s.Object(to); parent != nil && f.Custom {
			parent.Children = append(parent.Children, Child{Object: o.Name, Field: f.Name, Relationship: f.Relationship + "s__r"})
		}
	}
	return nil
}

// place moves the object's last field to where it belongs.
func (o *Object) place(f *Field) {
	at := slices.IndexFunc(o.Fields, func(g *Field) bool { return g.Name == f.After })
	if at >= 0 {
		last := len(o.Fields) - 1
		o.Fields = slices.Insert(o.Fields[:last:last], at+1, f)
	}
}

// External lists the object's external id fields, custom ones first declared first.
func (o *Object) External() []*Field {
	var out []*Field
	for _, f := range o.Fields {
		if f.ExternalID {
			out = append(out, f)
		}
	}
	return out
}

// Allows reports whether a restricted picklist takes a value, and gives the value in the list's own spelling.
func (f *Field) Allows(value string) (string, bool) {
	i := slices.IndexFunc(f.Values, func(v Value) bool { return strings.EqualFold(v.Value, value) })
	if i < 0 {
		return value, false
	}
	return f.Values[i].Value, true
}

// RemoveField takes a field that need not have a value away from an object. Its values stay where they are and nobody
// sees them. The caller keeps readers out meanwhile.
func (s *Schema) RemoveField(o *Object, name string) error {
	f := o.Field(name)
	switch {
	case f == nil:
		return fmt.Errorf("field %s.%s does not exist", o.Name, name)
	case !f.Nillable || f.NameField || f.Virtual != 0:
		return fmt.Errorf("field %s.%s cannot be taken away: records need it", o.Name, name)
	}
	isIt := func(g *Field) bool { return g == f }
	o.Fields = slices.DeleteFunc(slices.Clone(o.Fields), isIt)
	o.Defaults = slices.DeleteFunc(slices.Clone(o.Defaults), isIt)
	o.removed++
	delete(o.byName, strings.ToLower(f.Name))
	delete(o.byName, f.Name)
	if f.Relationship != "" {
		delete(o.byRelationship, strings.ToLower(f.Relationship))
	}
	return nil
}
