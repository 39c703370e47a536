package rest

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/query"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// noticeSchema gives describes a new ETag and Last-Modified if fields or record types came since the last call.
func (a *API) noticeSchema() {
	a.DB.RLock()
	state := uint64(a.DB.Schema.Count())<<32 + a.DB.MustTable("RecordType").Changes()
	a.DB.RUnlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.etag != "" && a.state == state {
		return
	}
	a.state, a.changed = state, a.DB.Now().Truncate(time.Second)
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, a.OrgID, a.changed.UnixNano(), state)
	a.etag = fmt.Sprintf(`"%08x"`, h.Sum32())
}

// fresh sets ETag and Last-Modified and answers 304 if the client has this version.
func (a *API) fresh(c *Call) bool {
	a.noticeSchema()
	a.mu.Lock()
	etag, changed := a.etag, a.changed
	a.mu.Unlock()
	h := c.W.Header()
	h.Set("ETag", etag)
	h.Set("Last-Modified", changed.UTC().Format(http.TimeFormat))
	if match := c.R.Header.Get("If-None-Match"); match != "" {
		if strings.Contains(match, strings.Trim(etag, `"`)) || match == "*" {
			c.W.WriteHeader(http.StatusNotModified)
			return true
		}
		return false
	}
	since, err := http.ParseTime(c.R.Header.Get("If-Modified-Since"))
	if err == nil && !changed.After(since) {
		c.W.WriteHeader(http.StatusNotModified)
		return true
	}
	return false
}

// urlMap is a JSON object of addresses in the order given.
type urlMap []struct{ key, url string }

func (m *urlMap) add(key, url string) { *m = append(*m, struct{ key, url string }{key, url}) }

// MarshalJSON keeps the order.
func (m urlMap) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, e := range m {
		if i > 0 {
			b = append(b, ',')
		}
		b = query.AppendString(b, e.key)
		b = append(b, ':')
		b = query.AppendString(b, e.url)
	}
	return append(b, '}'), nil
}

// globalEntry is an object in the global describe, keys in Salesforce's order.
type globalEntry struct {
	Activateable        bool    `json:"activateable"`
	AssociateEntityType *string `json:"associateEntityType"`
	AssociateParent     *string `json:"associateParentEntity"`
	Createable          bool    `json:"createable"`
	Custom              bool    `json:"custom"`
	CustomSetting       bool    `json:"customSetting"`
	DeepCloneable       bool    `json:"deepCloneable"`
	Deletable           bool    `json:"deletable"`
	DeprecatedAndHidden bool    `json:"deprecatedAndHidden"`
	FeedEnabled         bool    `json:"feedEnabled"`
	HasSubtypes         bool    `json:"hasSubtypes"`
	IsInterface         bool    `json:"isInterface"`
	IsSubtype           bool    `json:"isSubtype"`
	KeyPrefix           *string `json:"keyPrefix"`
	Label               string  `json:"label"`
	LabelPlural         string  `json:"labelPlural"`
	Layoutable          bool    `json:"layoutable"`
	Mergeable           bool    `json:"mergeable"`
	MruEnabled          bool    `json:"mruEnabled"`
	Name                string  `json:"name"`
	Queryable           bool    `json:"queryable"`
	Replicateable       bool    `json:"replicateable"`
	Retrieveable        bool    `json:"retrieveable"`
	Searchable          bool    `json:"searchable"`
	Triggerable         bool    `json:"triggerable"`
	Undeletable         bool    `json:"undeletable"`
	Updateable          bool    `json:"updateable"`
	URLs                urlMap  `json:"urls"`
}

func (c *Call) globalEntry(o *schema.Object) globalEntry {
	return globalEntry{
		Createable: o.Has('c'), DeepCloneable: o.Has('k'), Deletable: o.Has('d'), FeedEnabled: o.Has('f'), KeyPrefix: ptr(o.Prefix), Label: o.Label, LabelPlural: o.Plural,
		Layoutable: o.Has('l'), Mergeable: o.Has('m'), MruEnabled: o.Has('M'), Name: o.Name, Queryable: o.Has('q'), Replicateable: o.Has('R'), Retrieveable: o.Has('r'),
		Searchable: o.Has('S'), Triggerable: o.Has('T'), Undeletable: o.Has('n'), Updateable: o.Has('u'), URLs: c.objectURLs(o, false),
	}
}

func ptr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (c *Call) objectURLs(o *schema.Object, full bool) urlMap {
	root := c.Base + "/sobjects/" + o.Name
	var m urlMap
	layouts := o.Has('l')
	if layouts {
		m.add("compactLayouts", root+"/describe/compactLayouts")
	}
	m.add("rowTemplate", root+"/{ID}")
	if o.Has('P') {
		m.add("approvalLayouts", root+"/describe/approvalLayouts")
	}
	if full && layouts {
		m.add("uiDetailTemplate", c.Origin+"/{ID}")
		m.add("uiEditTemplate", c.Origin+"/{ID}/e")
	}
	if o.Name == "User" {
		m.add("namedLayouts", root+"/describe/namedLayouts/{LayoutName}")
		m.add("passwordUtilities", root+"/{ID}/password")
	}
	if o.Has('V') {
		m.add("listviews", root+"/listviews")
	}
	m.add("describe", root+"/describe")
	if full && layouts {
		m.add("uiNewRecord", c.Origin+"/"+o.Prefix+"/e")
	}
	if o.Has('Q') {
		m.add("quickActions", root+"/quickActions")
	}
	if layouts {
		m.add("layouts", root+"/describe/layouts")
	}
	m.add("sobject", root)
	return m
}

func (a *API) describeGlobal(c *Call) {
	if a.fresh(c) {
		return
	}
	a.DB.RLock()
	defer a.DB.RUnlock()
	entries := []globalEntry{}
	for _, name := range c.Schema.Names() {
		entries = append(entries, c.globalEntry(c.Schema.Object(name)))
	}
	reply.JSON(c.W, http.StatusOK, struct {
		Encoding string        `json:"encoding"`
		MaxBatch int           `json:"maxBatchSize"`
		SObjects []globalEntry `json:"sobjects"`
	}{"UTF-8", 200, entries})
}

func (a *API) basicInfo(c *Call, o *schema.Object) {
	reply.JSON(c.W, http.StatusOK, struct {
		Describe globalEntry `json:"objectDescribe"`
		Recent   []string    `json:"recentItems"`
	}{c.globalEntry(o), []string{}})
}

// describeField describes a field as an API version shows it.
func describeField(f *schema.Field, version int) fieldDescribe {
	d := fieldDescribe{
		AutoNumber: f.AutoNumber, ByteLength: f.Length * 3, CaseSensitive: f.CaseSensitive, CompoundFieldName: ptr(f.Compound), Createable: f.Createable, Custom: f.Custom,
		DefaultedOnCreate: f.Defaulted, Digits: f.Digits, ExternalID: f.ExternalID, ExtraTypeInfo: ptr(f.Extra), Filterable: f.Filterable, Groupable: f.Groupable, IDLookup: f.IDLookup,
		Label: f.Label, Length: f.Length, Name: f.Name, NameField: f.NameField, Nillable: f.Nillable, Permissionable: f.Permissionable, PicklistValues: []picklistValue{},
		Precision: f.Precision, QueryByDistance: f.Type == "address", ReferenceTo: append([]string{}, f.ReferenceTo...), RelationshipName: ptr(f.Relationship),
		RestrictedPicklist: f.Restricted, Scale: f.Scale, SearchPrefilterable: f.Prefilterable, SoapType: save.SOAPType(f.Type), Sortable: f.Sortable, Type: f.Type,
		Unique: f.Unique && f.Name != "Username", Updateable: f.Updateable,
	}
	if version >= versionPrediction {
		no := false
		d.AIPredictionField, d.FormulaTreatNullNumberAsZero = &no, &no
	}
	if f.Type == "picklist" && version < versionLongPicklists && !f.Custom && f.Length > shortPicklist {
		d.Length, d.ByteLength = shortPicklist, 3*shortPicklist
	}
	if f.Type == "id" || f.Type == "reference" || f.Type == "multipicklist" || f.SingleByte {
		d.ByteLength = f.Length
	}
	if f.Type == "textarea" {
		d.ExtraTypeInfo = ptr("plaintextarea")
	}
	if len(f.ReferenceTo) > 1 {
		d.NamePointing, d.PolymorphicForeignKey = true, true
	}
	d.Aggregatable = f.Filterable && f.Type != "boolean" && f.Type != "address" && f.Type != "multipicklist"
	switch {
	case f.Type == "boolean":
		d.DefaultValue = f.Default == "true"
	case f.Default != "" && !f.Hidden:
		d.DefaultValue = f.Default
	}
	if f.Custom && f.Type == "reference" && f.Relationship != "" {
		d.RelationshipName = ptr(f.Relationship + "__r")
	}
	for _, v := range f.Values {
		d.PicklistValues = append(d.PicklistValues, picklistValue{Active: true, DefaultValue: v.Default, Label: v.Label, Value: v.Value})
	}
	return d
}

// The versions of the API from which on describes have more than before, as far as captured replies bound them.
const (
	versionPrediction    = 45 // aiPredictionField and others: after 42, by 48
	versionAssociate     = 50 // associateEntityType and others: after 48, by 53
	versionLongPicklists = 50 // standard picklists of 255 characters instead of 40: after 48, by 53
	versionScopingRule   = 54 // the scope "Filter by scope": after 53, by 58
	shortPicklist        = 40
)

const masterRecordType = "012000000000000AAA"

func (a *API) describe(c *Call, o *schema.Object) {
	if a.fresh(c) {
		return
	}
	a.DB.RLock()
	defer a.DB.RUnlock()
	d := objectDescribe{
		ActionOverrides: []string{}, ChildRelationships: []childRelationship{}, CompactLayoutable: o.Has('l'), Createable: o.Has('c'),
		Deletable: o.Has('d'), FeedEnabled: o.Has('f'), KeyPrefix: ptr(o.Prefix), Label: o.Label, LabelPlural: o.Plural, Layoutable: o.Has('l'), Mergeable: o.Has('m'),
		MruEnabled: o.Has('M'), Name: o.Name, NamedLayoutInfos: []string{}, Queryable: o.Has('q'), Replicateable: o.Has('R'), Retrieveable: o.Has('r'), SearchLayoutable: o.Has('l'),
		Searchable: o.Has('S'), Triggerable: o.Has('T'), Undeletable: o.Has('n'), Updateable: o.Has('u'), URLs: c.objectURLs(o, true),
	}
	d.versioned(c.Number(), o)
	for _, f := range o.Fields {
		d.Fields = append(d.Fields, describeField(f, c.Number()))
	}
	for _, ch := range o.Children {
		d.ChildRelationships = append(d.ChildRelationships, childRelationship{
			CascadeDelete: ch.Cascade, ChildSObject: ch.Object, Field: ch.Field, JunctionIDListNames: []string{},
			JunctionReferenceTo: []string{}, RelationshipName: ptr(ch.Relationship), RestrictedDelete: ch.Restricted,
		})
	}
	d.RecordTypeInfos = a.recordTypes(c, o)
	d.SupportedScopes = scopes(o, c.Number())
	reply.JSON(c.W, http.StatusOK, d)
}

// versioned sets the keys that not every version has.
func (d *objectDescribe) versioned(version int, o *schema.Object) {
	if version >= versionPrediction {
		clone, no := o.Has('k'), false
		d.DeepCloneable, d.IsInterface = &clone, &no
		d.DefaultImplementation, d.ExtendedBy, d.ExtendsInterfaces, d.ImplementedBy, d.ImplementsInterfaces = &null{}, &null{}, &null{}, &null{}, &null{}
	}
	if version >= versionAssociate {
		d.AssociateEntityType, d.AssociateParentEntity = &null{}, &null{}
	}
	if version < versionPrediction || version >= versionAssociate {
		d.SobjectDescribeOption = "FULL"
	}
}

// recordTypes lists the object's record types, the master last.
func (a *API) recordTypes(c *Call, o *schema.Object) []recordType {
	out := []recordType{}
	add := func(id, name, developer string, active, master bool) {
		if c.Number() < versionPrediction {
			developer = ""
		}
		out = append(out, recordType{
			active, active, master, developer, master, name, id, urlMap{{"layout", c.Base + "/sobjects/" + o.Name + "/describe/layouts/" + id}},
		})
	}
	t := a.DB.MustTable("RecordType")
	for n := uint32(1); n <= t.Count(); n++ {
		r := t.Row(n)
		get := func(f string) string { return t.Value(n, r, t.Object.Field(f)) }
		if r.State == store.Live && strings.EqualFold(get("SobjectType"), o.Name) {
			add(t.ID(n), get("Name"), get("DeveloperName"), get("IsActive") == "true", false)
		}
	}
	if o.Has('l') && o.Name != "User" {
		add(masterRecordType, "Master", "Master", true, true)
	}
	return out
}

// scopes lists what USING SCOPE may name, in the order of its names.
func scopes(o *schema.Object, version int) []scope {
	low := strings.ToLower(o.Plural)
	all, mine := scope{"All " + low, "everything"}, scope{"My " + low, "mine"}
	switch {
	case !o.Has('l') || o.Name == "User":
		return []scope{all}
	case o.Name == "Campaign":
		return []scope{{"All active campaigns", "all_active_campaigns"}, all, mine, {"My active campaigns", "my_active_campaigns"}, {"Select a campaign:", "single_entity_scope"}}
	}
	out := []scope{all, mine}
	if o.Name == "Lead" {
		out = append(out, scope{"Queue owned " + low, "queue_owned"})
	}
	if version >= versionScopingRule {
		out = append(out, scope{"Filter by scope", "scopingRule"})
	}
	out = append(out, scope{"My team's " + low, "team"})
	if o.Name == "Lead" {
		out = append(out, scope{"User owned " + low, "user_owned"})
	}
	return out
}
