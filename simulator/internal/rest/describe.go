package rest

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

// SchemaChanged gives describes a new ETag and Last-Modified. It must not run while the database is locked for reading
// by the same goroutine.
func (a *API) SchemaChanged() {
	a.DB.RLock()
	fields := a.DB.Schema.Count()
	a.DB.RUnlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = a.DB.Now().Truncate(time.Second)
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, a.OrgID, a.changed.UnixNano(), fields)
	a.etag = fmt.Sprintf(`"%08x"`, h.Sum32())
}

// fresh sets ETag and Last-Modified and answers 304 if the client has this version.
func (a *API) fresh(c *Call) bool {
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

type urlMap map[string]string

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
	m := urlMap{"rowTemplate": root + "/{ID}", "describe": root + "/describe", "sobject": root}
	if o.Has('l') {
		m["compactLayouts"], m["layouts"] = root+"/describe/compactLayouts", root+"/describe/layouts"
	}
	if o.Has('Q') {
		m["quickActions"] = root + "/quickActions"
	}
	if o.Has('P') {
		m["approvalLayouts"] = root + "/describe/approvalLayouts"
	}
	if o.Has('V') {
		m["listviews"] = root + "/listviews"
	}
	if o.Name == "User" {
		m["namedLayouts"], m["passwordUtilities"] = root+"/describe/namedLayouts/{LayoutName}", root+"/{ID}/password"
	}
	if full && o.Has('l') {
		m["uiDetailTemplate"], m["uiEditTemplate"], m["uiNewRecord"] = c.Origin+"/{ID}", c.Origin+"/{ID}/e", c.Origin+"/"+o.Prefix+"/e"
	}
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

type picklistValue struct {
	Active       bool    `json:"active"`
	DefaultValue bool    `json:"defaultValue"`
	Label        string  `json:"label"`
	ValidFor     *string `json:"validFor"`
	Value        string  `json:"value"`
}

// fieldDescribe is all 57 attributes of a field, in alphabetical order.
type fieldDescribe struct {
	Aggregatable                 bool            `json:"aggregatable"`
	AIPredictionField            bool            `json:"aiPredictionField"`
	AutoNumber                   bool            `json:"autoNumber"`
	ByteLength                   int             `json:"byteLength"`
	Calculated                   bool            `json:"calculated"`
	CalculatedFormula            *string         `json:"calculatedFormula"`
	CascadeDelete                bool            `json:"cascadeDelete"`
	CaseSensitive                bool            `json:"caseSensitive"`
	CompoundFieldName            *string         `json:"compoundFieldName"`
	ControllerName               *string         `json:"controllerName"`
	Createable                   bool            `json:"createable"`
	Custom                       bool            `json:"custom"`
	DefaultValue                 any             `json:"defaultValue"`
	DefaultValueFormula          *string         `json:"defaultValueFormula"`
	DefaultedOnCreate            bool            `json:"defaultedOnCreate"`
	DependentPicklist            bool            `json:"dependentPicklist"`
	DeprecatedAndHidden          bool            `json:"deprecatedAndHidden"`
	Digits                       int             `json:"digits"`
	DisplayLocationInDecimal     bool            `json:"displayLocationInDecimal"`
	Encrypted                    bool            `json:"encrypted"`
	ExternalID                   bool            `json:"externalId"`
	ExtraTypeInfo                *string         `json:"extraTypeInfo"`
	Filterable                   bool            `json:"filterable"`
	FilteredLookupInfo           *string         `json:"filteredLookupInfo"`
	FormulaTreatNullNumberAsZero bool            `json:"formulaTreatNullNumberAsZero"`
	Groupable                    bool            `json:"groupable"`
	HighScaleNumber              bool            `json:"highScaleNumber"`
	HTMLFormatted                bool            `json:"htmlFormatted"`
	IDLookup                     bool            `json:"idLookup"`
	InlineHelpText               *string         `json:"inlineHelpText"`
	Label                        string          `json:"label"`
	Length                       int             `json:"length"`
	Mask                         *string         `json:"mask"`
	MaskType                     *string         `json:"maskType"`
	Name                         string          `json:"name"`
	NameField                    bool            `json:"nameField"`
	NamePointing                 bool            `json:"namePointing"`
	Nillable                     bool            `json:"nillable"`
	Permissionable               bool            `json:"permissionable"`
	PicklistValues               []picklistValue `json:"picklistValues"`
	PolymorphicForeignKey        bool            `json:"polymorphicForeignKey"`
	Precision                    int             `json:"precision"`
	QueryByDistance              bool            `json:"queryByDistance"`
	ReferenceTargetField         *string         `json:"referenceTargetField"`
	ReferenceTo                  []string        `json:"referenceTo"`
	RelationshipName             *string         `json:"relationshipName"`
	RelationshipOrder            *int            `json:"relationshipOrder"`
	RestrictedDelete             bool            `json:"restrictedDelete"`
	RestrictedPicklist           bool            `json:"restrictedPicklist"`
	Scale                        int             `json:"scale"`
	SearchPrefilterable          bool            `json:"searchPrefilterable"`
	SoapType                     string          `json:"soapType"`
	Sortable                     bool            `json:"sortable"`
	Type                         string          `json:"type"`
	Unique                       bool            `json:"unique"`
	Updateable                   bool            `json:"updateable"`
	WriteRequiresMasterRead      bool            `json:"writeRequiresMasterRead"`
}

func describeField(f *schema.Field) fieldDescribe {
	d := fieldDescribe{
		AutoNumber: f.AutoNumber, ByteLength: f.Length * 3, CaseSensitive: f.CaseSensitive, CompoundFieldName: ptr(f.Compound), Createable: f.Createable, Custom: f.Custom,
		DefaultedOnCreate: f.Defaulted, Digits: f.Digits, ExternalID: f.ExternalID, ExtraTypeInfo: ptr(f.Extra), Filterable: f.Filterable, Groupable: f.Groupable, IDLookup: f.IDLookup,
		Label: f.Label, Length: f.Length, Name: f.Name, NameField: f.NameField, Nillable: f.Nillable, Permissionable: f.Permissionable, PicklistValues: []picklistValue{},
		Precision: f.Precision, QueryByDistance: f.Type == "address", ReferenceTo: append([]string{}, f.ReferenceTo...), RelationshipName: ptr(f.Relationship),
		RestrictedPicklist: f.Restricted, Scale: f.Scale, SearchPrefilterable: f.Prefilterable, SoapType: save.SOAPType(f.Type), Sortable: f.Sortable, Type: f.Type,
		Unique: f.Unique, Updateable: f.Updateable,
	}
	if f.Type == "id" || f.Type == "reference" || f.Type == "multipicklist" {
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

type childRelationship struct {
	CascadeDelete       bool     `json:"cascadeDelete"`
	ChildSObject        string   `json:"childSObject"`
	DeprecatedAndHidden bool     `json:"deprecatedAndHidden"`
	Field               string   `json:"field"`
	JunctionIDListNames []string `json:"junctionIdListNames"`
	JunctionReferenceTo []string `json:"junctionReferenceTo"`
	RelationshipName    *string  `json:"relationshipName"`
	RestrictedDelete    bool     `json:"restrictedDelete"`
}

type recordType struct {
	Active                   bool   `json:"active"`
	Available                bool   `json:"available"`
	DefaultRecordTypeMapping bool   `json:"defaultRecordTypeMapping"`
	DeveloperName            string `json:"developerName"`
	Master                   bool   `json:"master"`
	Name                     string `json:"name"`
	RecordTypeID             string `json:"recordTypeId"`
	URLs                     urlMap `json:"urls"`
}

type scope struct {
	Label string `json:"label"`
	Name  string `json:"name"`
}

// objectDescribe is an object's describe, keys in alphabetical order as Salesforce sends them.
type objectDescribe struct {
	ActionOverrides       []string            `json:"actionOverrides"`
	Activateable          bool                `json:"activateable"`
	AssociateEntityType   *string             `json:"associateEntityType"`
	AssociateParentEntity *string             `json:"associateParentEntity"`
	ChildRelationships    []childRelationship `json:"childRelationships"`
	CompactLayoutable     bool                `json:"compactLayoutable"`
	Createable            bool                `json:"createable"`
	Custom                bool                `json:"custom"`
	CustomSetting         bool                `json:"customSetting"`
	DeepCloneable         bool                `json:"deepCloneable"`
	DefaultImplementation *string             `json:"defaultImplementation"`
	Deletable             bool                `json:"deletable"`
	DeprecatedAndHidden   bool                `json:"deprecatedAndHidden"`
	ExtendedBy            *string             `json:"extendedBy"`
	ExtendsInterfaces     *string             `json:"extendsInterfaces"`
	FeedEnabled           bool                `json:"feedEnabled"`
	Fields                []fieldDescribe     `json:"fields"`
	HasSubtypes           bool                `json:"hasSubtypes"`
	ImplementedBy         *string             `json:"implementedBy"`
	ImplementsInterfaces  *string             `json:"implementsInterfaces"`
	IsInterface           bool                `json:"isInterface"`
	IsSubtype             bool                `json:"isSubtype"`
	KeyPrefix             *string             `json:"keyPrefix"`
	Label                 string              `json:"label"`
	LabelPlural           string              `json:"labelPlural"`
	Layoutable            bool                `json:"layoutable"`
	Listviewable          *bool               `json:"listviewable"`
	LookupLayoutable      *bool               `json:"lookupLayoutable"`
	Mergeable             bool                `json:"mergeable"`
	MruEnabled            bool                `json:"mruEnabled"`
	Name                  string              `json:"name"`
	NamedLayoutInfos      []string            `json:"namedLayoutInfos"`
	NetworkScopeFieldName *string             `json:"networkScopeFieldName"`
	Queryable             bool                `json:"queryable"`
	RecordTypeInfos       []recordType        `json:"recordTypeInfos"`
	Replicateable         bool                `json:"replicateable"`
	Retrieveable          bool                `json:"retrieveable"`
	SearchLayoutable      bool                `json:"searchLayoutable"`
	Searchable            bool                `json:"searchable"`
	SobjectDescribeOption string              `json:"sobjectDescribeOption"`
	SupportedScopes       []scope             `json:"supportedScopes"`
	Triggerable           bool                `json:"triggerable"`
	Undeletable           bool                `json:"undeletable"`
	Updateable            bool                `json:"updateable"`
	URLs                  urlMap              `json:"urls"`
}

const masterRecordType = "012000000000000AAA"

func (a *API) describe(c *Call, o *schema.Object) {
	if a.fresh(c) {
		return
	}
	a.DB.RLock()
	defer a.DB.RUnlock()
	d := objectDescribe{
		ActionOverrides: []string{}, ChildRelationships: []childRelationship{}, CompactLayoutable: o.Has('l'), Createable: o.Has('c'), DeepCloneable: o.Has('k'),
		Deletable: o.Has('d'), FeedEnabled: o.Has('f'), KeyPrefix: ptr(o.Prefix), Label: o.Label, LabelPlural: o.Plural, Layoutable: o.Has('l'), Mergeable: o.Has('m'),
		MruEnabled: o.Has('M'), Name: o.Name, NamedLayoutInfos: []string{}, Queryable: o.Has('q'), Replicateable: o.Has('R'), Retrieveable: o.Has('r'), SearchLayoutable: o.Has('l'),
		Searchable: o.Has('S'), SobjectDescribeOption: "FULL", Triggerable: o.Has('T'), Undeletable: o.Has('n'), Updateable: o.Has('u'), URLs: c.objectURLs(o, true),
	}
	for _, f := range o.Fields {
		d.Fields = append(d.Fields, describeField(f))
	}
	for _, ch := range o.Children {
		d.ChildRelationships = append(d.ChildRelationships, childRelationship{
			CascadeDelete: ch.Cascade, ChildSObject: ch.Object, Field: ch.Field, JunctionIDListNames: []string{},
			JunctionReferenceTo: []string{}, RelationshipName: ptr(ch.Relationship),
		})
	}
	d.RecordTypeInfos = []recordType{}
	if o.Has('l') {
		d.RecordTypeInfos = append(d.RecordTypeInfos, recordType{
			true, true, true, "Master", true, "Master", masterRecordType,
			urlMap{"layout": c.Base + "/sobjects/" + o.Name + "/describe/layouts/" + masterRecordType},
		})
	}
	low := strings.ToLower(o.Plural)
	d.SupportedScopes = []scope{{"All " + low, "everything"}}
	if o.Has('l') {
		d.SupportedScopes = append(d.SupportedScopes, scope{"My " + low, "mine"}, scope{"Filter by scope", "scopingRule"}, scope{"My team's " + low, "team"})
	}
	reply.JSON(c.W, http.StatusOK, d)
}
