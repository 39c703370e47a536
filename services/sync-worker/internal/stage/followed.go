package stage

import (
	"context"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// decideAll makes the plan of everybody who was lost, a page of people at a time, and of leavers.
func (f *follower) decideAll(ctx context.Context) error {
	values, err := f.w.wantedValues(ctx, f.s)
	if err != nil {
		return err
	}
	defer values.close()
	var page []subject
	flush := func() error {
		if err := f.findContacts(ctx, page); err != nil {
			return err
		}
		for some := range slices.Chunk(page, mapBatch) {
			batch := make([]*mapperv1.PersonAndRecord, len(some))
			for i, x := range some {
				batch[i] = &mapperv1.PersonAndRecord{Person: x.Person.Row, Record: x.Record}
			}
			mapped, err := values.next(batch)
			if err != nil {
				return err
			}
			for i, x := range some {
				if err := f.d.one(ctx, x, mapped[i]); err != nil {
					return err
				}
			}
			f.w.rows.Add(int64(len(some)))
		}
		page = page[:0]
		return nil
	}
	err = f.eachPlaced(ctx, func(x placed) error {
		person := x.Person.Row.GetId()
		switch x.how {
		case toFlag:
			return f.flag(ctx, x)
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
		page = append(page, x.subject)
		if len(page) < conduct.PartRows {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// findContacts looks which people of a page, of those who would get a new Lead, are a Contact already.
func (f *follower) findContacts(ctx context.Context, page []subject) error {
	if !f.s.skipsContacts() {
		return nil
	}
	var emails []string
	for _, x := range page {
		if x.Record == nil {
			emails = append(emails, x.Person.Email)
		}
	}
	var err error
	f.d.contacts, err = f.w.contactsByEmail(ctx, emails)
	return err
}
