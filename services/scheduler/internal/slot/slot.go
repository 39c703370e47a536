// Package slot owns the one instant at which a daily schedule is due on each local date. It is pure: it reads no clock.
//
// Every local date that exists in the zone has exactly one slot. It lies at the schedule's time of day; where the clocks
// jump over that time, at the first instant after the jump; where the clocks show it twice, at the first of the two.
package slot

import (
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // zones exist on every machine
)

// Date is a local date. It is comparable, and its text sorts as it does.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf returns the date of t in its location.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// ParseDate reads a date such as 2026-01-31.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, fmt.Errorf("%q is not a date such as 2026-01-31", s)
	}
	return DateOf(t), nil
}

// String returns the date as 2026-01-31.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// After reports whether d is later than other.
func (d Date) After(other Date) bool { return d.wall(0) > other.wall(0) }

// add returns the date n days later.
func (d Date) add(n int) Date {
	return DateOf(time.Date(d.Year, d.Month, d.Day+n, 0, 0, 0, 0, time.UTC))
}

// wall returns what the clocks show on the date at a number of seconds after midnight, as if in UTC.
func (d Date) wall(seconds int64) int64 {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Unix() + seconds
}

// Slot is when a schedule is due on a date.
type Slot struct {
	Date Date
	At   time.Time
}

// Daily is a schedule: a time of day in a zone.
type Daily struct {
	seconds int64 // after midnight
	zone    *time.Location
}

// Parse reads a time of day, HH:MM or HH:MM:SS, and the name of an IANA time zone. The errors say what is wrong, of both
// if need be.
func Parse(timeOfDay, zone string) (Daily, error) {
	t, terr := time.Parse("15:04:05", timeOfDay)
	if terr != nil {
		t, terr = time.Parse("15:04", timeOfDay)
	}
	// Only two digits are a time of day here; time.Parse also takes one, and fractions of a second.
	if n := len(timeOfDay); terr != nil || n != len("15:04") && n != len("15:04:05") {
		terr = fmt.Errorf("%q is not a time of day: write it as 06:30 or 06:30:00, from 00:00 to 23:59:59", timeOfDay)
	}
	loc, zerr := time.LoadLocation(zone)
	if zerr != nil || zone == "" || zone == "Local" {
		zerr = fmt.Errorf("%q is not a time zone: write its IANA name, such as UTC or Europe/Berlin", zone)
	}
	if err := errors.Join(terr, zerr); err != nil {
		return Daily{}, err
	}
	return Daily{seconds: int64(t.Hour()*3600 + t.Minute()*60 + t.Second()), zone: loc}, nil
}

// Time returns the time of day as HH:MM, or HH:MM:SS where it has seconds.
func (d Daily) Time() string {
	if d.seconds%60 == 0 {
		return fmt.Sprintf("%02d:%02d", d.seconds/3600, d.seconds/60%60)
	}
	return fmt.Sprintf("%02d:%02d:%02d", d.seconds/3600, d.seconds/60%60, d.seconds%60)
}

// Zone returns the name of the zone.
func (d Daily) Zone() string { return d.zone.String() }

// reach is more than any zone was ever away from UTC.
const reach = 26 * 3600

// On returns the slot of a date; false where the zone skipped the whole date.
func (d Daily) On(date Date) (Slot, bool) {
	midnight, want := date.wall(0), date.wall(d.seconds)
	nextMidnight := date.wall(24 * 3600)
	var after time.Time // the first instant after a jump over the wanted time
	exists := false
	// Walk over the stretches of time with one offset each that may show the date.
	for t := time.Unix(midnight-reach, 0).In(d.zone); ; {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		from, to := int64(-1<<62), int64(1<<62) // what the clocks show at the bounds
		if !start.IsZero() {
			from = start.Unix() + int64(offset)
		}
		if !end.IsZero() {
			to = end.Unix() + int64(offset)
		}
		exists = exists || from < nextMidnight && to > midnight
		if from <= want && want < to {
			return Slot{date, time.Unix(want-int64(offset), 0).In(d.zone)}, true
		}
		if from > want && after.IsZero() {
			after = start
		}
		if end.IsZero() || end.Unix() > nextMidnight+reach {
			break
		}
		t = end
	}
	return Slot{date, after}, exists
}

// Latest returns the latest slot that is not after now.
func (d Daily) Latest(now time.Time) Slot {
	// A slot may be on the date after its own, when the clocks jump over midnight.
	for date := DateOf(now.In(d.zone)).add(1); ; date = date.add(-1) {
		if s, ok := d.On(date); ok && !s.At.After(now) {
			return s
		}
	}
}

// Next returns the first slot after now.
func (d Daily) Next(now time.Time) Slot {
	for date := DateOf(now.In(d.zone)).add(-1); ; date = date.add(1) {
		if s, ok := d.On(date); ok && s.At.After(now) {
			return s
		}
	}
}

// Due returns the slot for which a run is to be started now: the latest one, if it came after since and its date after
// the last one that was started (the zero Date for none). Earlier slots that were missed are gone for good.
func (d Daily) Due(now, since time.Time, last Date) (Slot, bool) {
	s := d.Latest(now)
	return s, s.At.After(since) && s.Date.After(last)
}

// Upcoming returns the slot that will be due next, or is due now.
func (d Daily) Upcoming(now, since time.Time, last Date) Slot {
	if s, due := d.Due(now, since, last); due {
		return s
	}
	s := d.Next(now)
	for !s.At.After(since) || !s.Date.After(last) {
		s = d.Next(s.At)
	}
	return s
}
