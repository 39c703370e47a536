package fieldmap

import (
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// spec returns what is known of a field's values. In an org with lists of countries and states each text has a field for
// its code beside it, and both take what the list has and nothing else.
func (o Object) spec(f Field) values.Spec {
	spec := f.Spec
	if text, isCode := strings.CutSuffix(f.Name, "Code"); isCode && f.Type == "picklist" {
		if _, ok := o.field(text); ok {
			spec.Place = placeOf(text, values.CountryCode, values.StateCode)
		}
		return spec
	}
	if place := placeOf(f.Name, values.CountryName, values.StateName); place != values.NoPlace {
		if code, ok := o.field(f.Name + "Code"); ok && code.Type == "picklist" && len(code.Labels) > 0 {
			spec.Place, spec.Picklist, spec.Labels = place, code.Picklist, code.Labels
		}
	}
	return spec
}

func placeOf(name string, country, state values.Place) values.Place {
	switch {
	case strings.HasSuffix(name, "Country"):
		return country
	case strings.HasSuffix(name, "State"):
		return state
	}
	return values.NoPlace
}
