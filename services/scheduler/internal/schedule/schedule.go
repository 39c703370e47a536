// Package schedule owns what is stored of a connection's schedule, and the rules by which it changes. It is pure: the
// time of day and what is stored go in, decisions come out.
package schedule

import (
	"hash/fnv"
	"time"

	"github.com/catalogsync/catalogsync/services/scheduler/internal/slot"
)

// Every connection has this schedule until an admin sets another.
const (
	DefaultTime = "00:00"
	DefaultZone = "UTC"
)

// Schedule is what is stored for one connection. Since and LastSlot only ever keep slots from being due, so that a run is
// missing rather than doubled when clocks disagree.
type Schedule struct {
	Tenant     string `json:"tenant"`
	Connection string `json:"connection"`
	Enabled    bool   `json:"enabled"`
	Time       string `json:"time"` // HH:MM or HH:MM:SS
	Zone       string `json:"zone"` // IANA name
	// Since is when this schedule began: slots up to then are not its own.
	Since time.Time `json:"since"`
	// LastSlot is the local date of the last run that was started, 2026-01-31; empty before the first.
	LastSlot string `json:"last_slot,omitempty"`
	// LastRunID is that run.
	LastRunID string `json:"last_run_id,omitempty"`
	// Reason is why the run that is due could not be started so far; empty where none is waiting.
	Reason string `json:"reason,omitempty"`
}

// New returns the schedule that a connection has when nobody has set one.
func New(tenant, connection string, now time.Time) Schedule {
	return Schedule{Tenant: tenant, Connection: connection, Enabled: true, Time: DefaultTime, Zone: DefaultZone, Since: now.UTC().Round(0)}
}

// Set returns the schedule with what an admin asked for. A schedule that changes, or is enabled again, begins anew: it
// does not make up for slots before now.
func (s Schedule) Set(enabled bool, d slot.Daily, now time.Time) Schedule {
	if s.Time != d.Time() || s.Zone != d.Zone() || enabled && !s.Enabled {
		s.Since = now.UTC().Round(0)
	}
	if !enabled || s.Time != d.Time() || s.Zone != d.Zone() {
		s.Reason = ""
	}
	s.Enabled, s.Time, s.Zone = enabled, d.Time(), d.Zone()
	return s
}

// Started returns the schedule after the run of the date was started. changed is false where a run of that date or a
// later one is noted already.
func (s Schedule) Started(date slot.Date, runID string) (next Schedule, changed bool) {
	if !date.After(s.last()) {
		return s, false
	}
	s.LastSlot, s.LastRunID, s.Reason = date.String(), runID, ""
	return s, true
}

// Blocked returns the schedule after the run of the date could not be started. changed is false where that is noted, or
// is no longer so.
func (s Schedule) Blocked(date slot.Date, reason string) (next Schedule, changed bool) {
	if !date.After(s.last()) || !s.Enabled || s.Reason == reason {
		return s, false
	}
	s.Reason = reason
	return s, true
}

// PassedOver returns the schedule after the date went by without a run, and is not to be made up for.
func (s Schedule) PassedOver(date slot.Date, reason string) (next Schedule, changed bool) {
	if !date.After(s.last()) {
		return s, false
	}
	s.LastSlot, s.LastRunID, s.Reason = date.String(), "", reason
	return s, true
}

// Same reports whether two states of a schedule differ in nothing but the reason why a run waits.
func (s Schedule) Same(other Schedule) bool {
	s.Reason = other.Reason
	return s == other
}

// last is the date of the last run, the zero Date before the first or where it cannot be read.
func (s Schedule) last() slot.Date {
	d, err := slot.ParseDate(s.LastSlot)
	if err != nil {
		return slot.Date{}
	}
	return d
}

// Due returns the slot for which a run is to be started now. delay is how long after its slot a run starts.
func (s Schedule) Due(d slot.Daily, now time.Time, delay time.Duration) (slot.Slot, bool) {
	if !s.Enabled {
		return slot.Slot{}, false
	}
	return d.Due(now.Add(-delay), s.Since, s.last())
}

// Next returns when the next run is to be started, which has passed where it is due now; false where the schedule is
// disabled.
func (s Schedule) Next(d slot.Daily, now time.Time, delay time.Duration) (time.Time, bool) {
	if !s.Enabled {
		return time.Time{}, false
	}
	return d.Upcoming(now.Add(-delay), s.Since, s.last()).At.Add(delay), true
}

// Delay spreads connections over the time after their slot: a stable delay below spread for each, none where spread is 0.
func Delay(tenant, connection string, spread time.Duration) time.Duration {
	if spread <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(tenant + "\x00" + connection)) // never fails
	return time.Duration(h.Sum64() % uint64(spread))
}
