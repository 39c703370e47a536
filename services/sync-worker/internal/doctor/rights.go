package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

var zeroTime time.Time

// listed are the objects whose rights are always shown, used or not.
var listed = []string{"Account", "Contact", "Opportunity", "Lead", "Quote"}

// right is one right on an object, as ObjectPermissions names it and as Setup does.
type right struct{ field, label string }

var rights = []right{
	{"PermissionsRead", "Read"}, {"PermissionsCreate", "Create"}, {"PermissionsEdit", "Edit"}, {"PermissionsDelete", "Delete"}, {"PermissionsViewAllRecords", "View All"},
}

// needed says how bad the lack of each right is, in the order of rights, for an object that the field map writes.
var needed = map[string]syncv1.Severity{
	"Read": failure, "Create": failure, "Edit": failure,
	"Delete":   warning, // undoing a run needs it
	"View All": failure, // records that the user cannot see would be created a second time
}

// object is the object that the connection writes; Contact before a field map is saved.
func (e *examination) object() string { return objectOf(e.c.GetFieldMap()) }

func objectOf(m *mapperv1.FieldMap) string {
	if m.GetObject() != "" {
		return m.GetObject()
	}
	return "Contact"
}

// lookups are the objects that the field map's lookups name, by whether missing records are created.
func lookups(m *mapperv1.FieldMap) map[string]bool {
	out := make(map[string]bool)
	for _, p := range allPairs(m) {
		if l := p.GetLookup(); l != nil {
			out[l.GetObject()] = out[l.GetObject()] || l.GetCreateIfMissing()
		}
	}
	return out
}

func allPairs(m *mapperv1.FieldMap) []*mapperv1.Pair {
	pairs := slices.Clone(m.GetPairs())
	for _, o := range m.GetOverrides() {
		pairs = append(pairs, o.GetPairs()...)
	}
	return pairs
}

// imports reports whether the field map reads Salesforce and writes the Catalog.
func imports(m *mapperv1.FieldMap) bool {
	return m.GetDirection() == mapperv1.Direction_DIRECTION_IMPORT
}

// namedField is a field that the field map names.
type namedField struct {
	name  string
	write bool // rather than only read
}

// named are the fields of its object that the field map names: those that it writes, or, of an import, reads, and those
// that its rules read.
func named(m *mapperv1.FieldMap) (fields []namedField) {
	add := func(f string, write bool) {
		if f == "" || strings.Contains(f, ".") {
			return
		}
		if i := slices.IndexFunc(fields, func(have namedField) bool { return strings.EqualFold(have.name, f) }); i >= 0 {
			fields[i].write = fields[i].write || write
			return
		}
		fields = append(fields, namedField{f, write})
	}
	for _, p := range allPairs(m) {
		if imports(m) {
			add(p.GetSource(), false)
			add(p.GetSecondarySource(), false)
		} else {
			add(p.GetTarget(), true)
		}
	}
	if !imports(m) {
		add(m.GetIdentity().GetLeaversField(), true)
	}
	for _, r := range m.GetRules() {
		tested(r.GetCondition(), func(f string) { add(f, false) })
	}
	for _, o := range m.GetOverrides() {
		tested(o.GetFilter(), func(f string) { add(f, false) })
	}
	return fields
}

// tested names the Salesforce fields that a condition reads.
func tested(c *mapperv1.Condition, name func(string)) {
	for _, one := range slices.Concat(c.GetAll().GetConditions(), c.GetAny().GetConditions()) {
		tested(one, name)
	}
	if c.GetNot() != nil {
		tested(c.GetNot(), name)
	}
	if t := c.GetTest(); t.GetSide() == mapperv1.Side_SIDE_SALESFORCE {
		name(t.GetField())
	}
}

// keys are the fields by which lookups find records, by object, and whether they are written because missing records are
// created.
func keys(m *mapperv1.FieldMap) map[string][]namedField {
	out := make(map[string][]namedField)
	for _, p := range allPairs(m) {
		l := p.GetLookup()
		if l.GetObject() == "" || l.GetField() == "" {
			continue
		}
		have := out[l.GetObject()]
		if i := slices.IndexFunc(have, func(f namedField) bool { return strings.EqualFold(f.name, l.GetField()) }); i >= 0 {
			have[i].write = have[i].write || l.GetCreateIfMissing()
			continue
		}
		out[l.GetObject()] = append(have, namedField{l.GetField(), l.GetCreateIfMissing()})
	}
	return out
}

func (e *examination) objectRights(ctx context.Context) {
	if !e.sets.read {
		return
	}
	refs := lookups(e.c.GetFieldMap())
	objects := slices.Clone(listed)
	for _, o := range append([]string{e.object()}, sorted(refs)...) {
		if !slices.Contains(objects, o) {
			objects = append(objects, o)
		}
	}
	fields := []string{"SobjectType"}
	for _, r := range rights {
		fields = append(fields, r.field)
	}
	rows, err := query(ctx, e.org, "ObjectPermissions", fields, "WHERE "+salesforce.In("ParentId", e.sets.ids)+" AND "+salesforce.In("SobjectType", objects))
	if err != nil {
		e.unreadable("object_rights_unreadable", "The rights on objects", err)
		return
	}
	for _, object := range objects {
		var missing []string
		for _, r := range rights {
			has := e.sets.has["PermissionsModifyAllData"] || e.sets.has["PermissionsViewAllData"] && (r.label == "Read" || r.label == "View All")
			for _, row := range rows {
				has = has || strings.EqualFold(row["SobjectType"], object) && row[r.field] == "true"
			}
			if !has {
				missing = append(missing, r.label)
			}
		}
		e.objectFinding(object, refs, missing)
	}
}

func (e *examination) objectFinding(object string, refs map[string]bool, missing []string) {
	creates, referred := refs[object]
	own, reads := object == e.object(), e.conn.GetPurpose() == authv1.Purpose_PURPOSE_SOURCE || imports(e.c.GetFieldMap())
	writes := own && !reads
	if len(missing) == 0 {
		e.add(&syncv1.Finding{Code: "object_rights", Severity: ok, Object: object, What: object + ": read, create, edit, delete and view all are given."})
		return
	}
	severity, why := warning, "The field map does not use this object today."
	for _, m := range missing {
		switch {
		case writes && needed[m] == failure:
			severity, why = failure, "Runs write this object: rows would be refused, and records that the user cannot see created twice."
		case own && reads && m == "Read":
			severity, why = failure, "The field map reads this object."
		case referred && (m == "Read" || creates && m == "Create"):
			severity, why = failure, "Lookups of the field map find records of this object, or create them."
		case writes && severity == warning:
			why = "Undoing a run deletes what it created."
		case severity == warning && object == "Contact" && e.object() == "Lead" && !reads:
			why = "A Lead that is converted becomes a Contact, which runs keep up to date only if they may read and edit it."
		}
	}
	e.add(&syncv1.Finding{
		Code: "object_right_missing", Severity: severity, Object: object, What: fmt.Sprintf("%s: the connected user lacks %s.", object, strings.Join(missing, ", ")), Why: why,
		Mend: fmt.Sprintf("Setup > Permission Sets > %s > Object Settings > %s > Edit: tick %s.", SetLabel, object, strings.Join(missing, ", ")),
	})
}

// fields looks at every field of its object that the field map names, at the external id field, and at the keys of lookups.
func (e *examination) fields(ctx context.Context) {
	m := e.c.GetFieldMap()
	d, _, err := e.org.Describe(ctx, e.object(), zeroTime)
	if err != nil {
		f := &syncv1.Finding{
			Code: "object_invisible", Severity: failure, Object: e.object(), What: e.object() + " cannot be described: it is not there, or the connected user may not see it.",
			Why:  "Runs write this object.",
			Mend: fmt.Sprintf("Setup > Permission Sets > %s > Object Settings > %s.", SetLabel, e.object()), Salesforce: words(err),
		}
		e.add(f)
		return
	}
	if !imports(m) {
		e.externalID(d, m)
	}
	good := 0
	for _, n := range named(m) {
		f, found := fieldOf(d, n.name)
		if !found {
			e.add(e.hidden(ctx, e.object(), n.name))
			continue
		}
		if !n.write || f.Createable && f.Updateable {
			good++
			continue
		}
		what := "is read only"
		if f.Calculated {
			what = "is a formula"
		}
		e.add(&syncv1.Finding{
			Code: "field_right_missing", Severity: failure, Object: d.Name, Field: f.Name, What: fmt.Sprintf("%s.%s %s for the connected user.", d.Name, f.Name, what),
			Why:  "The field map writes it.",
			Mend: fmt.Sprintf("Setup > Permission Sets > %s > Object Settings > %s > Field Permissions > %s: Edit Access; or take the pair out of the field map.", SetLabel, d.Name, f.Label),
		})
	}
	if good > 0 {
		verb := "written"
		if imports(m) {
			verb = "read"
		}
		e.good("field_rights", "%d fields of the field map may be %s.", good, verb)
	}
	e.lookupKeys(ctx, m)
}

// fieldOf finds a field by its name, without regard to case.
func fieldOf(d *salesforce.ObjectDescribe, name string) (salesforce.FieldDescribe, bool) {
	i := slices.IndexFunc(d.Fields, func(f salesforce.FieldDescribe) bool { return strings.EqualFold(f.Name, name) })
	if i < 0 {
		return salesforce.FieldDescribe{}, false
	}
	return d.Fields[i], true
}

// lookupKeys looks at the fields of other objects by which lookups find records.
func (e *examination) lookupKeys(ctx context.Context, m *mapperv1.FieldMap) {
	all := keys(m)
	for _, object := range sorted(all) {
		d, _, err := e.org.Describe(ctx, object, zeroTime)
		if err != nil {
			e.add(&syncv1.Finding{
				Code: "object_invisible", Severity: failure, Object: object, What: object + " cannot be described: it is not there, or the connected user may not see it.",
				Why: "Lookups of the field map find records of it.", Mend: fmt.Sprintf("Setup > Permission Sets > %s > Object Settings > %s.", SetLabel, object), Salesforce: words(err),
			})
			continue
		}
		for _, key := range all[object] {
			switch f, found := fieldOf(d, key.name); {
			case !found:
				e.add(e.hidden(ctx, object, key.name))
			case key.write && !f.Createable:
				e.add(&syncv1.Finding{
					Code: "field_right_missing", Severity: failure, Object: d.Name, Field: f.Name, What: fmt.Sprintf("%s.%s is read only for the connected user.", d.Name, f.Name),
					Why:  "A lookup of the field map creates records that have it.",
					Mend: fmt.Sprintf("Setup > Permission Sets > %s > Object Settings > %s > Field Permissions > %s: Edit Access; or let the lookup create nothing.", SetLabel, d.Name, f.Label),
				})
			}
		}
	}
}

// hidden tells a field that is gone from one that field-level security hides: permissions that somebody has for it
// prove that it is there.
func (e *examination) hidden(ctx context.Context, object, field string) *syncv1.Finding {
	f := &syncv1.Finding{Object: object, Field: field, Severity: failure, Why: "The field map names it."}
	rows, err := query(ctx, e.org, "FieldPermissions", []string{"Id"}, "WHERE SobjectType = "+salesforce.Quote(object)+" AND Field = "+salesforce.Quote(object+"."+field)+" LIMIT 1")
	if err == nil && len(rows) > 0 {
		f.Code, f.What = "field_hidden", fmt.Sprintf("%s.%s is hidden from the connected user.", object, field)
		f.Mend = fmt.Sprintf("Setup > Permission Sets > %s > Object Settings > %s > Field Permissions: Read and Edit Access.", SetLabel, object)
		return f
	}
	f.Code, f.What, f.Salesforce = "field_missing", fmt.Sprintf("%s.%s is not there, or nobody has a right to it.", object, field), words(err)
	f.Mend = fmt.Sprintf("Setup > Object Manager > %s > Fields & Relationships: make it, or give it field-level security; or take the pair out of the field map.", object)
	return f
}

// externalID looks at the field that identifies people.
func (e *examination) externalID(d *salesforce.ObjectDescribe, m *mapperv1.FieldMap) {
	name := m.GetExternalIdField()
	if m != nil && name == "" {
		e.add(&syncv1.Finding{
			Code: "external_id_not_used", Severity: warning, Object: d.Name, What: "The field map finds people by e-mail.",
			Why:  "A person whose e-mail changes becomes another record; with an external id field they stay one.",
			Mend: "catalogsync doctor setup makes the field " + FieldName + "; then name it as external_id in the field map.",
		})
		return
	}
	if name == "" {
		name = FieldName
	}
	i := slices.IndexFunc(d.Fields, func(f salesforce.FieldDescribe) bool { return strings.EqualFold(f.Name, name) })
	finding := func(code string, severity syncv1.Severity, what string) {
		e.add(&syncv1.Finding{
			Code: code, Severity: severity, Object: d.Name, Field: name, What: what,
			Why:  "People are found by it, and only a unique external id keeps two runs from creating one person twice.",
			Mend: fmt.Sprintf("catalogsync doctor setup makes it; or Setup > Object Manager > %s > Fields & Relationships > %s > Edit: External ID, Unique, and field-level security for the integration user.", d.Name, name),
		})
	}
	if i < 0 {
		severity := failure
		if m == nil {
			severity = warning
		}
		finding("external_id_missing", severity, fmt.Sprintf("%s.%s is not there, or the connected user may not see it.", d.Name, name))
		return
	}
	f := d.Fields[i]
	var lacks []string
	if !f.ExternalID {
		lacks = append(lacks, "External ID")
	}
	if !f.Unique {
		lacks = append(lacks, "Unique")
	}
	if !f.Createable || !f.Updateable {
		lacks = append(lacks, "writable for the connected user")
	}
	if len(lacks) > 0 {
		finding("external_id_unfit", failure, fmt.Sprintf("%s.%s is not %s.", d.Name, f.Name, strings.Join(lacks, " and not ")))
		return
	}
	e.add(&syncv1.Finding{Code: "external_id", Severity: ok, Object: d.Name, Field: f.Name, What: fmt.Sprintf("%s.%s is an external id and unique.", d.Name, f.Name)})
}
