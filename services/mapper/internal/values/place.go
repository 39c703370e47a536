package values

import (
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/country"
)

// Place is what part of an address a field is, in an org with lists of countries and states. Such a field takes the
// values of the list alone, by code or by name: the spec's Picklist holds the codes, Labels the names.
type Place uint8

// Parts of an address.
const (
	NoPlace Place = iota
	CountryCode
	CountryName
	StateCode
	StateName
)

// place finds a country or state in the org's list and returns its code or its name.
func (c *Converter) place(s string) (string, *Problem) {
	i, ok := c.find(s)
	if !ok {
		other := ""
		switch c.spec.Place {
		case CountryCode, CountryName:
			other, _ = country.Code(s) // in any of many languages, or as three letters
		default:
			other = subdivision(s)
		}
		if other == "" {
			return "", c.noPlace(s)
		}
		if i, ok = c.find(other); !ok {
			return "", c.noPlace(s)
		}
	}
	if c.spec.Place == CountryCode || c.spec.Place == StateCode || i >= len(c.spec.Labels) {
		return c.spec.Picklist[i], nil
	}
	return c.spec.Labels[i], nil
}

// subdivision returns the second part of an ISO 3166-2 code such as US-CA, or nothing.
func subdivision(s string) string {
	of, code, ok := strings.Cut(s, "-")
	if _, known := country.Code(of); !ok || len(of) != 2 || !known {
		return ""
	}
	return code
}

func (c *Converter) noPlace(s string) *Problem {
	what := "country"
	if c.spec.Place == StateCode || c.spec.Place == StateName {
		what = "state"
	}
	return c.problem(CodeInvalidPlace, "%s is no %s of the org's list: change it in the Catalog, translate it by the pair's table, or add it to the list in Salesforce", Clip(s), what)
}
