package slot_test

import (
	_ "embed"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/services/scheduler/internal/slot"
)

var long = flag.Bool("long", false, "check 41 years of every time zone instead of 3")

// zones are the names of the IANA time zones.
//
//go:embed testdata/zones.txt
var zones string

func daily(t testing.TB, timeOfDay, zone string) slot.Daily {
	t.Helper()
	d, err := slot.Parse(timeOfDay, zone)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func date(t testing.TB, s string) slot.Date {
	t.Helper()
	d, err := slot.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestOn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ zone, time, date, want string }{
		"UTC":                              {"UTC", "00:00", "2026-02-28", "2026-02-28T00:00:00Z"},
		"ordinary":                         {"Europe/Berlin", "06:30:15", "2026-01-31", "2026-01-31T06:30:15+01:00"},
		"before the gap":                   {"Europe/Berlin", "01:59:59", "2026-03-29", "2026-03-29T01:59:59+01:00"},
		"at the start of the gap":          {"Europe/Berlin", "02:00", "2026-03-29", "2026-03-29T03:00:00+02:00"},
		"in the gap":                       {"Europe/Berlin", "02:30", "2026-03-29", "2026-03-29T03:00:00+02:00"},
		"at the end of the gap":            {"Europe/Berlin", "03:00", "2026-03-29", "2026-03-29T03:00:00+02:00"},
		"after the gap":                    {"Europe/Berlin", "03:00:01", "2026-03-29", "2026-03-29T03:00:01+02:00"},
		"twice":                            {"Europe/Berlin", "02:30", "2026-10-25", "2026-10-25T02:30:00+02:00"},
		"first second that comes twice":    {"Europe/Berlin", "02:00", "2026-10-25", "2026-10-25T02:00:00+02:00"},
		"after the hour that comes twice":  {"Europe/Berlin", "03:00", "2026-10-25", "2026-10-25T03:00:00+01:00"},
		"half an hour twice":               {"Australia/Lord_Howe", "01:45", "2026-04-05", "2026-04-05T01:45:00+11:00"},
		"half an hour missing":             {"Australia/Lord_Howe", "02:15", "2026-10-04", "2026-10-04T02:30:00+11:00"},
		"midnight missing":                 {"America/Sao_Paulo", "00:00", "2018-11-04", "2018-11-04T01:00:00-02:00"},
		"midnight of the day after it":     {"America/Sao_Paulo", "00:00", "2018-11-05", "2018-11-05T00:00:00-02:00"},
		"the hour before midnight twice":   {"America/Sao_Paulo", "23:30", "2018-02-17", "2018-02-17T23:30:00-02:00"},
		"the day that Samoa skipped":       {"Pacific/Apia", "12:00", "2011-12-30", ""},
		"the day before":                   {"Pacific/Apia", "12:00", "2011-12-29", "2011-12-29T12:00:00-10:00"},
		"the day after":                    {"Pacific/Apia", "00:00", "2011-12-31", "2011-12-31T00:00:00+14:00"},
		"the day that Kwajalein skipped":   {"Pacific/Kwajalein", "00:00", "1993-08-21", ""},
		"the day that Kiritimati skipped":  {"Pacific/Kiritimati", "23:59:59", "1994-12-31", ""},
		"far in the future":                {"America/New_York", "02:30", "2090-03-12", "2090-03-12T03:00:00-04:00"},
		"one minute after midnight, twice": {"America/St_Johns", "00:00:30", "2010-11-07", "2010-11-07T00:00:30-02:30"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := daily(t, tt.time, tt.zone).On(date(t, tt.date))
			if ok != (tt.want != "") {
				t.Fatalf("slot %v, %v", got, ok)
			}
			if !ok {
				return
			}
			if got.At.Format(time.RFC3339) != tt.want || got.Date.String() != tt.date {
				t.Errorf("slot of %s at %s, want %s", got.Date, got.At.Format(time.RFC3339), tt.want)
			}
		})
	}
}

// Every existing local date of every zone has exactly one slot, where it should be, and in order.
func TestEveryLocalDateOfEveryZone(t *testing.T) {
	t.Parallel()
	first, last := 2025, 2027
	if *long {
		first, last = 1990, 2030
	}
	for name := range strings.Lines(zones) {
		name = strings.TrimSpace(name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkZone(t, name, first, last)
		})
	}
}

func checkZone(t *testing.T, name string, first, last int) {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	// The dates that exist are those that clocks show: they are looked at every three hours.
	var dates []slot.Date
	var seen slot.Date
	begin, end := time.Date(first, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(last+1, 1, 1, 0, 0, 0, 0, time.UTC)
	for at := begin; at.Before(end); at = at.Add(3 * time.Hour) {
		if d := slot.DateOf(at.In(loc)); d.After(seen) {
			dates, seen = append(dates, d), d
		}
	}
	for timeOfDay, seconds := range map[string]int64{"00:00:00": 0, "02:30:00": 2*3600 + 30*60} {
		d := daily(t, timeOfDay, name)
		before := slot.Slot{}
		for i, want := range dates {
			s, ok := d.On(want)
			if !ok || s.Date != want {
				t.Fatalf("%s %s has no slot", want, timeOfDay)
			}
			if problem := misplaced(s, seconds, loc); problem != "" {
				t.Fatalf("slot of %s %s at %s: %s", want, timeOfDay, s.At, problem)
			}
			if i > 0 {
				if !s.At.After(before.At) {
					t.Fatalf("slots of %s and %s are not in order", before.Date, want)
				}
				if next := d.Next(before.At); next != s {
					t.Fatalf("after the slot of %s comes that of %s, not %s", before.Date, next.Date, want)
				}
				if latest := d.Latest(s.At.Add(-time.Nanosecond)); latest != before {
					t.Fatalf("just before the slot of %s the latest is that of %s", want, latest.Date)
				}
			}
			before = s
		}
	}
}

// misplaced says why a slot is not where its definition wants it.
func misplaced(s slot.Slot, seconds int64, loc *time.Location) string {
	want := time.Date(s.Date.Year, s.Date.Month, s.Date.Day, 0, 0, 0, 0, time.UTC).Unix() + seconds
	offset := func(at int64) int64 {
		_, o := time.Unix(at, 0).In(loc).Zone()
		return int64(o)
	}
	at := s.At.Unix()
	shown := at + offset(at)
	if o := offset(at); offset(at-27*3600) == o && offset(at+27*3600) == o { // no change is near
		if shown != want {
			return "the clocks show " + s.At.In(loc).String()
		}
		return ""
	}
	// What the offsets in force around the slot would make of the wanted time.
	for around := at - 26*3600; around <= at+26*3600; around += 3600 {
		o := offset(around)
		switch shows := offset(want-o) == o; {
		case shows && want-o < at:
			return "the clocks show that time before"
		case shows && shown != want:
			return "the clocks show that time later"
		}
	}
	if shown != want && (shown < want || at-1+offset(at-1) >= want) {
		return "it is not right after the clocks jumped over that time"
	}
	return ""
}

func TestDue(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		time, zone      string
		now, since      string
		last            string // local date of the last run
		due, upcomingAt string
	}{
		"before the first":                  {"00:00", "UTC", "2026-01-31T23:59:59Z", "2026-01-31T10:00:00Z", "", "", "2026-02-01T00:00:00Z"},
		"at the first":                      {"00:00", "UTC", "2026-02-01T00:00:00Z", "2026-01-31T10:00:00Z", "", "2026-02-01", "2026-02-01T00:00:00Z"},
		"done":                              {"00:00", "UTC", "2026-02-01T00:00:00Z", "2026-01-31T10:00:00Z", "2026-02-01", "", "2026-02-02T00:00:00Z"},
		"began at this instant":             {"00:00", "UTC", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", "", "", "2026-02-02T00:00:00Z"},
		"days late: the latest only":        {"06:00", "Europe/Berlin", "2026-02-09T23:00:00Z", "2026-01-01T00:00:00Z", "2026-02-01", "2026-02-09", "2026-02-09T05:00:00Z"},
		"changed to later on the same day":  {"18:00", "UTC", "2026-02-01T18:00:01Z", "2026-02-01T12:00:00Z", "2026-02-01", "", "2026-02-02T18:00:00Z"},
		"changed, not run yet":              {"18:00", "UTC", "2026-02-01T18:00:01Z", "2026-02-01T12:00:00Z", "2026-01-31", "2026-02-01", "2026-02-01T18:00:00Z"},
		"changed to earlier":                {"06:00", "UTC", "2026-02-01T12:00:00Z", "2026-02-01T12:00:00Z", "2026-01-31", "", "2026-02-02T06:00:00Z"},
		"zone changed to a day behind":      {"12:00", "Pacific/Honolulu", "2026-02-01T22:00:00Z", "2026-01-31T10:30:00Z", "2026-02-01", "", "2026-02-02T22:00:00Z"},
		"the same a day later":              {"12:00", "Pacific/Honolulu", "2026-02-02T22:00:00Z", "2026-01-31T10:30:00Z", "2026-02-01", "2026-02-02", "2026-02-02T22:00:00Z"},
		"a skipped date has no run":         {"12:00", "Pacific/Apia", "2011-12-30T22:00:00Z", "2011-01-01T00:00:00Z", "2011-12-29", "2011-12-31", "2011-12-30T22:00:00Z"},
		"the clock went back after the run": {"00:00", "UTC", "2026-01-31T23:59:30Z", "2026-01-01T00:00:00Z", "2026-02-01", "", "2026-02-02T00:00:00Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := daily(t, tt.time, tt.zone)
			var last slot.Date
			if tt.last != "" {
				last = date(t, tt.last)
			}
			got, due := d.Due(instant(t, tt.now), instant(t, tt.since), last)
			if due != (tt.due != "") || due && got.Date.String() != tt.due {
				t.Errorf("due: %v, %v; want %q", got, due, tt.due)
			}
			if up := d.Upcoming(instant(t, tt.now), instant(t, tt.since), last); !up.At.Equal(instant(t, tt.upcomingAt)) {
				t.Errorf("upcoming at %s, want %s", up.At.UTC(), tt.upcomingAt)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"00:00": "00:00", "23:59:00": "23:59", "06:07:08": "06:07:08"} {
		if d := daily(t, in, "Europe/Berlin"); d.Time() != want || d.Zone() != "Europe/Berlin" {
			t.Errorf("%s became %s %s", in, d.Time(), d.Zone())
		}
	}
	for _, in := range []string{"", "24:00", "6:30", "06:60", "06:30:60", "06:30:00.5", "6:30:00", "0630", "noon", "06:30 ", "-6:30"} {
		if _, err := slot.Parse(in, "UTC"); err == nil || !strings.Contains(err.Error(), "not a time of day") {
			t.Errorf("time %q: %v", in, err)
		}
	}
	for _, in := range []string{"", "Local", "Europe/Atlantis", "CEST", "+02:00", "../UTC", "UTC\n"} {
		if _, err := slot.Parse("00:00", in); err == nil || !strings.Contains(err.Error(), "not a time zone") {
			t.Errorf("zone %q: %v", in, err)
		}
	}
	_, err := slot.Parse("25:00", "Nowhere")
	if err == nil || !strings.Contains(err.Error(), "time of day") || !strings.Contains(err.Error(), "time zone") {
		t.Errorf("both wrong: %v", err)
	}
	if _, err := slot.ParseDate("2026-02-30"); err == nil {
		t.Error("ParseDate takes a date that does not exist")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("06:30", "Europe/Berlin")
	f.Add("00:00:00", "UTC")
	f.Fuzz(func(t *testing.T, timeOfDay, zone string) {
		d, err := slot.Parse(timeOfDay, zone)
		if err != nil {
			return
		}
		again, err := slot.Parse(d.Time(), d.Zone())
		if err != nil || again.Time() != d.Time() {
			t.Errorf("%q %q became %s %s, %v", timeOfDay, zone, again.Time(), again.Zone(), err)
		}
	})
}
