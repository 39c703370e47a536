package rest

type picklistValue struct {
	Active       bool    `json:"active"`
	DefaultValue bool    `json:"defaultValue"`
	Label        string  `json:"label"`
	ValidFor     *string `json:"validFor"`
	Value        string  `json:"value"`
}

// fieldDescribe is all 57 attributes of a field, in alphabetical order; pointers are attributes that old versions lack.
type fieldDescribe struct {
	Aggregatable                 bool            `json:"aggregatable"`
	AIPredictionField            *bool           `json:"aiPredictionField,omitempty"`
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
	FormulaTreatNullNumberAsZero *bool           `json:"formulaTreatNullNumberAsZero,omitempty"`
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
	DeveloperName            string `json:"developerName,omitempty"` // not before versionPrediction
	Master                   bool   `json:"master"`
	Name                     string `json:"name"`
	RecordTypeID             string `json:"recordTypeId"`
	URLs                     urlMap `json:"urls"`
}

type scope struct {
	Label string `json:"label"`
	Name  string `json:"name"`
}

// null is a key whose value is always null; a nil pointer to it leaves the key out.
type null struct{}

// MarshalJSON writes null.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// objectDescribe is an object's describe, keys in alphabetical order as Salesforce sends them; what may be left out is
// what old versions lack.
type objectDescribe struct {
	ActionOverrides       []string            `json:"actionOverrides"`
	Activateable          bool                `json:"activateable"`
	AssociateEntityType   *null               `json:"associateEntityType,omitempty"`
	AssociateParentEntity *null               `json:"associateParentEntity,omitempty"`
	ChildRelationships    []childRelationship `json:"childRelationships"`
	CompactLayoutable     bool                `json:"compactLayoutable"`
	Createable            bool                `json:"createable"`
	Custom                bool                `json:"custom"`
	CustomSetting         bool                `json:"customSetting"`
	DeepCloneable         *bool               `json:"deepCloneable,omitempty"`
	DefaultImplementation *null               `json:"defaultImplementation,omitempty"`
	Deletable             bool                `json:"deletable"`
	DeprecatedAndHidden   bool                `json:"deprecatedAndHidden"`
	ExtendedBy            *null               `json:"extendedBy,omitempty"`
	ExtendsInterfaces     *null               `json:"extendsInterfaces,omitempty"`
	FeedEnabled           bool                `json:"feedEnabled"`
	Fields                []fieldDescribe     `json:"fields"`
	HasSubtypes           bool                `json:"hasSubtypes"`
	ImplementedBy         *null               `json:"implementedBy,omitempty"`
	ImplementsInterfaces  *null               `json:"implementsInterfaces,omitempty"`
	IsInterface           *bool               `json:"isInterface,omitempty"`
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
	SobjectDescribeOption string              `json:"sobjectDescribeOption,omitempty"`
	SupportedScopes       []scope             `json:"supportedScopes"`
	Triggerable           bool                `json:"triggerable"`
	Undeletable           bool                `json:"undeletable"`
	Updateable            bool                `json:"updateable"`
	URLs                  urlMap              `json:"urls"`
}
