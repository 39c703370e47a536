package values_test

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, zone, want string }{
		{"2026-01-31", "", "2026-01-31T00:00:00Z"},
		{"2026-01-31", "Europe/Berlin", "2026-01-30T23:00:00Z"},
		{"2026-01-31T08:30:00", "America/New_York", "2026-01-31T13:30:00Z"},
		{"2026-01-31T08:30:00+02:00", "America/New_York", "2026-01-31T06:30:00Z"},
		{"2026-01-31T08:30:00.25Z", "", "2026-01-31T08:30:00.25Z"},
		{"2026-01-31T08:30:00.000+0000", "", "2026-01-31T08:30:00Z"},
		{"2026-01-31T08:30Z", "", "2026-01-31T08:30:00Z"},
		{"2026-01-31 08:30:15", "", "2026-01-31T08:30:15Z"},
		// The hour that a spring night skips, its borders, and the hour that an autumn night repeats.
		{"2026-03-29T01:59:59", "Europe/Berlin", "2026-03-29T00:59:59Z"},
		{"2026-03-29T02:00:00", "Europe/Berlin", "2026-03-29T01:00:00Z"},
		{"2026-03-29T02:59:59", "Europe/Berlin", "2026-03-29T01:59:59Z"},
		{"2026-03-29T03:00:00", "Europe/Berlin", "2026-03-29T01:00:00Z"},
		{"2026-10-25T01:59:59", "Europe/Berlin", "2026-10-24T23:59:59Z"},
		{"2026-10-25T02:00:00", "Europe/Berlin", "2026-10-25T00:00:00Z"},
		{"2026-10-25T02:59:59", "Europe/Berlin", "2026-10-25T00:59:59Z"},
		{"2026-10-25T03:00:00", "Europe/Berlin", "2026-10-25T02:00:00Z"},
		// Midnight that does not exist, a day that does not exist, half an hour of summer time.
		{"2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"},
		{"2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"},
		{"2026-10-04T02:15:00", "Australia/Lord_Howe", "2026-10-03T15:45:00Z"},
		{"2026-07-01", "Pacific/Kiritimati", "2026-06-30T10:00:00Z"},
	}
	for _, tt := range tests {
		var zone *time.Location
		if tt.zone != "" {
			var err error
			if zone, err = time.LoadLocation(tt.zone); err != nil {
				t.Fatal(err)
			}
		}
		got, err := values.ParseTime(tt.in, zone)
		if err != nil || got.UTC().Format(time.RFC3339Nano) != tt.want {
			t.Errorf("%s in %s is %v, %v; want %s", tt.in, tt.zone, got.UTC(), err, tt.want)
		}
	}
	for _, in := range []string{"", "2026", "2026-02-30", "31.01.2026", "2026-01-31T24:00:00Z", "2026-01-31T08:30:00 Z", "yesterday", "2026-01-31T"} {
		if got, err := values.ParseTime(in, nil); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}

// Clocks in the zone show what was written, or, where the clocks skip it, later by what they skip; and of two moments
// that clocks show alike it is the first.
func TestEveryWallClockHasAMoment(t *testing.T) {
	t.Parallel()
	zones := []string{"Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll", "America/St_Johns"}
	const layout = "2006-01-02T15:04:05"
	rapid.Check(t, func(rt *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(rt, "zone"))
		if err != nil {
			rt.Fatal(err)
		}
		// Around a change of the clocks as often as not.
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "second"), 0)
		if _, end := at.In(zone).ZoneBounds(); rapid.Bool().Draw(rt, "at a change") && !end.IsZero() {
			at = end.Add(time.Duration(rapid.IntRange(-7500, 7500).Draw(rt, "off")) * time.Second)
		}
		text := at.In(zone).Format(layout)
		if rapid.Bool().Draw(rt, "any name") {
			text = at.UTC().Format(layout)
		}
		got, err := values.ParseTime(text, zone)
		if err != nil {
			rt.Fatal(err)
		}
		shown := got.In(zone).Format(layout)
		if shown == text {
			for _, earlier := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
				if got.Add(-earlier).In(zone).Format(layout) == text {
					rt.Fatalf("%s in %s is %v, and was %v before", text, zone, got, earlier)
				}
			}
			return
		}
		if shown < text {
			rt.Fatalf("%s in %s is %v, where clocks show %s", text, zone, got, shown)
		}
		start, _ := got.In(zone).ZoneBounds()
		_, before := start.Add(-time.Second).In(zone).Zone()
		_, after := got.In(zone).Zone()
		wall, _ := time.Parse(layout, text)
		later, _ := time.Parse(layout, shown)
		if later.Sub(wall) != time.Duration(after-before)*time.Second {
			rt.Fatalf("%s in %s is shown as %s: clocks went from %d to %d", text, zone, shown, before, after)
		}
	})
}

func TestNumbersCompareAsNumbers(t *testing.T) {
	t.Parallel()
	draw := rapid.StringMatching(`[-+]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][-+]?[0-9]{1,2})?`)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := draw.Draw(rt, "a"), draw.Draw(rt, "b")
		x, okX := values.ParseNumber(a)
		y, okY := values.ParseNumber(b)
		p, okP := new(big.Rat).SetString(a)
		q, okQ := new(big.Rat).SetString(b)
		if !okX || !okY || !okP || !okQ {
			rt.Fatalf("%s %s: %v %v %v %v", a, b, okX, okY, okP, okQ)
		}
		if x.Cmp(y) != p.Cmp(q) || y.Cmp(x) != q.Cmp(p) || x.Cmp(x) != 0 {
			rt.Fatalf("%s against %s is %d, want %d", a, b, x.Cmp(y), p.Cmp(q))
		}
		if again, ok := new(big.Rat).SetString(x.String()); !ok || again.Cmp(p) != 0 {
			rt.Fatalf("%s is written as %s", a, x)
		}
	})
}

func TestSamePhone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b, region string
		want         bool
	}{
		{"+4930123456", "030 / 12 34 56", "DE", true},
		{"+4930123456", "030 123456", "", true}, // of the other one's country
		{"030 123456", "+49 30 123456", "", true},
		{"030 123456", "(030) 123456", "", false}, // two texts of nowhere
		{"030 123456", "(030) 123456", "DE", true},
		{"030 123456", "(030) 123456", "AT", true},
		{"+4930123456", "030 123456", "AT", false},
		{"+4930123456", "+4930123457", "DE", false},
		{"+4930123456 ext. 1", "+4930123456", "DE", false},
		{"", "+4930123456", "DE", false},
		{"x", "x", "", true},
	}
	for _, tt := range tests {
		if got := values.SamePhone(tt.a, tt.b, tt.region); got != tt.want {
			t.Errorf("%q and %q in %q: %v", tt.a, tt.b, tt.region, got)
		}
	}
}
