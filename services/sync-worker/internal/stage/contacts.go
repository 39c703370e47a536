package stage

import (
	"context"
	"errors"
	"slices"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// contactPrefix begins the ids of Contacts.
const contactPrefix = "003"

// A Lead map looks at Contacts for two reasons: people who are one already do not become a Lead, and converted Leads lead
// to the Contact that they became.

var contactEmail = []salesforce.Column{{Name: fieldID, Type: salesforce.TypeID}, {Name: fieldEmail}}

// pullContacts copies the e-mails of the org's Contacts, by part of the e-mail.
func (w *work) pullContacts(ctx context.Context, org *salesforce.Client, s *snapshot) error {
	out := rows.NewRows(w.pub, rows.KindContacts, []string{fieldID, fieldEmail}, w.run.Parts)
	var n int64
	take := func(r *salesforce.Record) error {
		n++
		w.rows.Store(n)
		email := foldEmail(r.Values[1])
		return out.Add(ctx, rows.Part(email, w.run.Parts), email, &rowv1.Row{Id: r.Values[0]})
	}
	const where = "WHERE Email != null"
	var err error
	if w.run.PullMode == ledger.PullBulk {
		err = w.bulkQuery(ctx, org, objectContact, contactEmail, where, take)
	} else {
		var soql string
		if soql, err = salesforce.Select(contactEmail, objectContact, where); err == nil {
			err = org.Query(ctx, soql, contactEmail, take)
		}
	}
	if err != nil {
		if errors.Is(err, errParked) {
			return nil
		}
		return refusal(err, "read the Contacts")
	}
	if err := out.Close(ctx); err != nil {
		return err
	}
	return w.settle(ctx, ledger.Result{})
}

// contactsByEmail asks which e-mails are a Contact's. Of several the one with the least id is named.
func (w *work) contactsByEmail(ctx context.Context, emails []string) (map[string]string, error) {
	found := make(map[string]string)
	emails = slices.DeleteFunc(emails, func(e string) bool { return e == "" })
	if len(emails) == 0 {
		return found, nil
	}
	org, err := w.client()
	if err != nil {
		return nil, err
	}
	err = queryIn(ctx, org.Query, objectContact, fieldEmail, emails, contactEmail, func(r *salesforce.Record) error {
		email, id := foldEmail(r.Values[1]), r.Values[0]
		if have := found[email]; have == "" || id < have {
			found[email] = id
		}
		return nil
	})
	return found, refusal(err, "look for Contacts")
}

// retrieveContacts reads Contacts by id, in the shape of the run's records: what Contact does not have is absent.
func (s *snapshot) retrieveContacts(ctx context.Context, org *salesforce.Client, ids []string, fn func(*rowv1.Row)) error {
	columns, at := s.columnsFor(objectContact)
	return org.RetrieveByIDs(ctx, objectContact, ids, columns, func(_ string, r *salesforce.Record) error {
		if r != nil {
			fn(s.shaped(r, at))
		}
		return nil
	})
}
