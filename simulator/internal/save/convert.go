package save

import (
	"fmt"

	"github.com/catalogsync/catalogsync/simulator/internal/store"
	"github.com/catalogsync/catalogsync/simulator/ledger"
)

// Convert turns a lead into an account named after its company and a contact, and marks the lead converted. It returns
// the contact's id.
func (p *Pipeline) Convert(caller Caller, leadID string) (string, error) {
	p.db.Lock()
	defer p.db.Unlock()
	b := &batch{Pipeline: p, caller: caller, user: p.db.UserSerial(caller.UserID), now: p.db.Now()}
	leads := p.db.MustTable("Lead")
	serial, e := b.target(leads, leadID, "convert")
	if e != nil {
		return "", fmt.Errorf("convert lead %s: %s: %s", leadID, e.Code, e.Message)
	}
	before := *leads.Row(serial)
	lead := func(name string) string { return before.Get(leads.Object.Field(name).Slot) }
	if lead("IsConverted") == "true" {
		return "", fmt.Errorf("convert lead %s: it is converted already", leadID)
	}
	account := b.insertValues("Account", map[string]string{
		"Name": lead("Company"), "BillingStreet": lead("Street"), "BillingCity": lead("City"), "BillingState": lead("State"),
		"BillingPostalCode": lead("PostalCode"), "BillingCountry": lead("Country"), "Phone": lead("Phone"), "Website": lead("Website"), "Industry": lead("Industry"), "OwnerId": lead("OwnerId"),
	})
	contact := b.insertValues("Contact", map[string]string{
		"AccountId": account, "LastName": lead("LastName"), "FirstName": lead("FirstName"), "Salutation": lead("Salutation"),
		"Email": lead("Email"), "Phone": lead("Phone"), "MobilePhone": lead("MobilePhone"), "Fax": lead("Fax"), "Title": lead("Title"), "LeadSource": lead("LeadSource"),
		"MailingStreet": lead("Street"), "MailingCity": lead("City"), "MailingState": lead("State"), "MailingPostalCode": lead("PostalCode"), "MailingCountry": lead("Country"),
		"Description": lead("Description"), "OwnerId": lead("OwnerId"),
	})
	old := leads.Values(&before, nil)
	values := append([]string(nil), old...)
	for name, v := range map[string]string{"IsConverted": "true", "ConvertedDate": b.now.Format("2006-01-02"), "ConvertedAccountId": account, "ConvertedContactId": contact, "Status": "Closed - Converted"} {
		values[leads.Object.Field(name).Slot] = v
	}
	leads.Update(serial, values, old, b.now, b.user)
	b.applied(leads, serial, ledger.Update)
	b.commit()
	return contact, nil
}

// insertValues adds a record without checks and gives its id.
func (b *batch) insertValues(object string, fields map[string]string) string {
	t := b.db.MustTable(object)
	values := t.Values(&store.Row{}, nil)
	for _, f := range t.Object.Defaults {
		if f.Default != "false" {
			values[f.Slot] = f.Default
		}
	}
	for name, v := range fields {
		values[t.Object.Field(name).Slot] = v
	}
	serial := t.Insert(values, b.now, b.user)
	b.applied(t, serial, ledger.Create)
	return t.ID(serial)
}
