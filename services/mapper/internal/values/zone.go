package values

import (
	"errors"
	"time"
	_ "time/tzdata" // zones exist on every machine
)

var errNoTime = errors.New("not a time")

// ParseTime reads RFC 3339, the offsets without a colon that Salesforce itself writes, and dates and times that name no
// zone, which are in the one given (nil: UTC). A time that a clock change skips is as much later as the clocks were
// put forward; of two times that have the same name it is the first.
func ParseTime(s string, zone *time.Location) (time.Time, error) {
	t, zoned, err := parseWall(s)
	if err != nil || zoned || zone == nil {
		return t, err
	}
	return inZone(t, zone), nil
}

// parseWall reads a date or a time. Where it names no zone, the result is its name in UTC.
func parseWall(s string) (t time.Time, zoned bool, err error) {
	if len(s) < len(time.DateOnly) {
		return time.Time{}, false, errNoTime
	}
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == ' ' {
		s = s[:len(time.DateOnly)] + "T" + s[len(time.DateOnly)+1:]
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, false, nil
		}
	}
	return time.Time{}, false, errNoTime
}

// inZone returns the moment at which clocks in the zone show what wall shows in UTC.
func inZone(wall time.Time, zone *time.Location) time.Time {
	offset := func(t time.Time) time.Duration {
		_, seconds := t.In(zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	// No zone is further than a day from UTC, and none changes its clocks twice in two days.
	before, after := offset(wall.Add(-24*time.Hour)), offset(wall.Add(24*time.Hour))
	first, second := wall.Add(-before), wall.Add(-after)
	if offset(first) == before || offset(second) != after { // a name that fits before the change, or a skipped one
		return first
	}
	return second
}
