package schema

import (
	"slices"
	"strings"
)

// StateCodes switches state and country picklists on, as an admin may: each address gets a field for the code of its
// state and one for that of its country, beside the texts. It must run before the schema is used.
func (s *Schema) StateCodes() error {
	for _, name := range s.names {
		o := s.Object(name)
		for _, f := range slices.Clone(o.Fields) {
			stem, isCountry := strings.CutSuffix(f.Name, "Country")
			if !isCountry || f.Compound == "" {
				continue
			}
			after := f.Name
			for _, kind := range []string{"State", "Country"} {
				base := o.Field(stem + kind)
				code := &Field{
					Name: base.Name + "Code", Label: base.Label + " Code", Type: "picklist", Length: 10, Createable: base.Createable, Updateable: base.Updateable,
					Nillable: true, Permissionable: base.Permissionable, Restricted: true, Filterable: true, Groupable: true, Sortable: true, Compound: f.Compound, After: after,
				}
				code.picklist(codes[kind])
				if err := s.AddField(o, code); err != nil {
					return err
				}
				after = code.Name
			}
		}
	}
	return nil
}

// recordTypeAfter is where RecordTypeId stands in the objects that can have record types.
var recordTypeAfter = map[string]string{"Account": "Type", "Contact": "Name", "Lead": "Name", "Opportunity": "AccountId", "Campaign": "Name"}

// RecordTypes gives an object the field RecordTypeId, which it has as soon as it has a record type. It reports whether
// the object can have one. The caller keeps readers out meanwhile.
func (s *Schema) RecordTypes(object string) bool {
	o := s.Object(object)
	if o == nil || recordTypeAfter[o.Name] == "" {
		return false
	}
	if o.Field("RecordTypeId") != nil {
		return true
	}
	return s.AddField(o, &Field{
		Name: "RecordTypeId", Label: "Record Type ID", Type: "reference", Length: 18, Createable: true, Updateable: true, Nillable: true, Filterable: true, Groupable: true, Sortable: true,
		ReferenceTo: []string{"RecordType"}, Relationship: "RecordType", After: recordTypeAfter[o.Name],
	}) == nil
}

// codes are some of the values that an org starts with.
var codes = map[string]string{
	"Country": "AT=Austria;AU=Australia;BE=Belgium;BR=Brazil;CA=Canada;CH=Switzerland;CN=China;DE=Germany;DK=Denmark;ES=Spain;FI=Finland;FR=France;GB=United Kingdom;" +
		"IE=Ireland;IN=India;IT=Italy;JP=Japan;MX=Mexico;NL=Netherlands;NO=Norway;NZ=New Zealand;PL=Poland;PT=Portugal;SE=Sweden;US=United States",
	"State": "AL=Alabama;AK=Alaska;AZ=Arizona;AR=Arkansas;CA=California;CO=Colorado;CT=Connecticut;DE=Delaware;FL=Florida;GA=Georgia;HI=Hawaii;ID=Idaho;IL=Illinois;IN=Indiana;" +
		"IA=Iowa;KS=Kansas;KY=Kentucky;LA=Louisiana;ME=Maine;MD=Maryland;MA=Massachusetts;MI=Michigan;MN=Minnesota;MS=Mississippi;MO=Missouri;MT=Montana;NE=Nebraska;NV=Nevada;" +
		"NH=New Hampshire;NJ=New Jersey;NM=New Mexico;NY=New York;NC=North Carolina;ND=North Dakota;OH=Ohio;OK=Oklahoma;OR=Oregon;PA=Pennsylvania;RI=Rhode Island;SC=South Carolina;" +
		"SD=South Dakota;TN=Tennessee;TX=Texas;UT=Utah;VT=Vermont;VA=Virginia;WA=Washington;WV=West Virginia;WI=Wisconsin;WY=Wyoming;AB=Alberta;BC=British Columbia;ON=Ontario;QC=Quebec",
}
