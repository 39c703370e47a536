package stage

import (
	"context"
	"fmt"

	"github.com/cespare/xxhash/v2"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// decideAll makes the plan of everybody who was lost.
func (f *follower) decideAll(ctx context.Context) error {
	if err := f.findContacts(ctx); err != nil {
		return err
	}
	values, err := f.w.wantedValues(ctx, f.s)
	if err != nil {
		return err
	}
	defer values.close()
	var waiting []subject
	flush := func() error {
		if len(waiting) == 0 {
			return nil
		}
		batch := make([]*mapperv1.PersonAndRecord, len(waiting))
		for i, x := range waiting {
			batch[i] = &mapperv1.PersonAndRecord{Person: x.Person.Row, Record: x.Record}
		}
		mapped, err := values.next(batch)
		if err != nil {
			return err
		}
		for i, x := range waiting {
			if err := f.d.one(ctx, x, mapped[i]); err != nil {
				return err
			}
		}
		f.w.rows.Add(int64(len(waiting)))
		waiting = waiting[:0]
		return nil
	}
	err = f.eachPlaced(ctx, func(x placed) error {
		person := x.Person.Row.GetId()
		switch x.how {
		case toHistory:
			return f.d.superseded(ctx, person, x.Record.GetId())
		case toLeave:
			return f.d.skip(ctx, x.subject, plan.CodeDeleted, plan.CodeDeleted, "The person's record was deleted in Salesforce and stays deleted, as the field map says.")
		case toBin:
			return f.d.reject(ctx, x.subject, &mapperv1.Problem{Code: plan.CodeUndelete, Message: fmt.Sprintf(
				"Record %s is in Salesforce's recycle bin, and Salesforce's REST and Bulk APIs cannot take records out of it. Restore it there by hand, or let the field map create a new one.", x.Record.GetId())})
		case toRecord, toContact:
			if f.rivals[xxhash.Sum64String(x.Record.GetId())] != nil {
				return f.rejectRival(ctx, x.subject)
			}
		}
		waiting = append(waiting, x.subject)
		if len(waiting) < mapBatch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// findContacts looks which of the people who would get a new Lead are a Contact already.
func (f *follower) findContacts(ctx context.Context) error {
	if !f.s.skipsContacts() {
		return nil
	}
	var emails []string
	err := f.eachPlaced(ctx, func(x placed) error {
		if x.how == toCreate {
			emails = append(emails, x.Person.Email)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.d.contacts, err = f.w.contactsByEmail(ctx, emails)
	return err
}
