package store

import (
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

// Value is any field's value as text: ids in 18 characters, times as 2006-01-02T15:04:05.000Z, "" for null and for
// compound addresses.
func (t *Table) Value(serial uint32, r *Row, f *schema.Field) string {
	switch f.Virtual {
	case schema.Stored:
		v := r.Get(f.Slot)
		if v == "" && f.Type == "boolean" {
			return "false" // only true is stored
		}
		return v
	case schema.ID:
		return t.ID(serial)
	case schema.IsDeleted:
		if r.State == Live {
			return "false"
		}
		return "true"
	case schema.PersonName:
		return t.personName(r)
	case schema.CreatedDate:
		return timeText(r.Created)
	case schema.ModifiedDate:
		return timeText(r.Modified)
	case schema.Modstamp:
		return timeText(r.Modstamp)
	case schema.CreatedByID:
		return t.db.userID(r.CreatedBy)
	case schema.ModifiedByID:
		return t.db.userID(r.ModifiedBy)
	case schema.PhotoURL:
		return "/services/images/photo/" + t.ID(serial)
	}
	return ""
}

func (t *Table) personName(r *Row) string {
	first, last := "", ""
	if f := t.Object.Field("FirstName"); f != nil {
		first = r.Get(f.Slot)
	}
	if f := t.Object.Field("LastName"); f != nil {
		last = r.Get(f.Slot)
	}
	if first == "" {
		return last
	}
	return first + " " + last
}

func timeText(sec uint32) string { return string(AppendTime(nil, sec, "Z")) }

// AppendTime appends the second as 2006-01-02T15:04:05.000 and the zone mark ("Z" or "+0000").
func AppendTime(b []byte, sec uint32, zone string) []byte {
	t := time.Unix(int64(sec), 0).UTC()
	y, mo, d := t.Date()
	h, mi, s := t.Clock()
	two := func(v int) { b = append(b, byte('0'+v/10), byte('0'+v%10)) }
	two(y / 100)
	two(y % 100)
	b = append(b, '-')
	two(int(mo))
	b = append(b, '-')
	two(d)
	b = append(b, 'T')
	two(h)
	b = append(b, ':')
	two(mi)
	b = append(b, ':')
	two(s)
	b = append(b, ".000"...)
	return append(b, zone...)
}
