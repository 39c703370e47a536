package fieldmap

import "slices"

// Reads returns the Salesforce fields that the map reads from records besides its targets, and the Catalog fields that
// it reads from people, both sorted.
func Reads(m Map, org Org) (record, person []string) {
	for _, p := range m.Pairs {
		for _, name := range []string{p.Source, p.Secondary} {
			if name != "" && !slices.Contains(person, name) {
				person = append(person, name)
			}
		}
	}
	slices.Sort(person)
	return record, person
}
