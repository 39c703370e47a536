package simulator

import (
	"errors"
	"fmt"
	"strings"
)

// sampleCases adds the records that a client is most likely to trip over.
func (s *Server) sampleCases() error {
	var errs []error
	add := func(object string, fields map[string]string) string {
		id, err := s.Create(object, fields)
		errs = append(errs, err)
		return id
	}
	add("Contact", map[string]string{"FirstName": "Same", "LastName": "Mail One", "Email": "twice@samples.example"})
	add("Contact", map[string]string{"FirstName": "Same", "LastName": "Mail Two", "Email": "twice@samples.example"})
	add("Contact", map[string]string{"FirstName": "Zoë 🎈", "LastName": "Ångström-山田", "Email": "unicode@samples.example"})
	add("Contact", map[string]string{"LastName": strings.Repeat("L", 80), "Email": "eighty@samples.example"})
	lead := add("Lead", map[string]string{"FirstName": "Con", "LastName": "Verted", "Company": "Samples Ltd", "Email": "converted@samples.example"})
	_, err := s.ConvertLead(lead)
	errs = append(errs, err)
	winner := add("Contact", map[string]string{"LastName": "Merge Winner", "Email": "winner@samples.example"})
	loser := add("Contact", map[string]string{"LastName": "Merge Loser", "Email": "loser@samples.example"})
	errs = append(errs, s.Merge(winner, loser))
	account := add("Account", map[string]string{"Name": "Account of Five Hundred"})
	for i := range 500 {
		add("Contact", map[string]string{"LastName": fmt.Sprintf("Colleague %03d", i), "Email": fmt.Sprintf("colleague%03d@samples.example", i), "AccountId": account})
	}
	return errors.Join(errs...)
}
