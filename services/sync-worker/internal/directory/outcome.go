package directory

import (
	"encoding/json"
	"time"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// RunStamp orders the runs of a connection.
type RunStamp struct {
	// EndedAt is when the run ended.
	EndedAt time.Time
	// Run is its id; it orders runs that ended at the same time.
	Run string
}

// Before reports whether s is of an earlier run than t.
func (s RunStamp) Before(t RunStamp) bool {
	if !s.EndedAt.Equal(t.EndedAt) {
		return s.EndedAt.Before(t.EndedAt)
	}
	return s.Run < t.Run
}

// StoredOutcome is what a projection must know of the outcome that is kept so far.
type StoredOutcome struct {
	RunStamp
	// Kind of the outcome.
	Kind syncv1.OutcomeKind
	// RecordID of the outcome.
	RecordID string
}

// Superseding returns those outcomes of the run that take the place of the stored ones (by person), one a person. Newest
// is the newest run projected for the connection, this one included. See [Directory.ProjectOutcomes].
func Superseding(outcomes []*syncv1.Outcome, run, newest RunStamp, stored map[string]*StoredOutcome) []*syncv1.Outcome {
	kept := make([]*syncv1.Outcome, 0, 64)
	at := make(map[string]int, 64)
	for _, o := range outcomes {
		if !supersedes(o, run, newest, stored[o.GetPersonId()]) {
			continue
		}
		if i, twice := at[o.GetPersonId()]; twice {
			kept[i] = o
			continue
		}
		at[o.GetPersonId()] = len(kept)
		kept = append(kept, o)
	}
	return kept
}

// supersedes reports whether an outcome takes the place of the stored one (nil: there is none).
//
// A run that is not the newest only fills gaps: the newest may have left the stored outcome alone because it found the
// record unchanged. And an unchanged outcome does not replace a good one about the same record, so that a nightly run
// of a million unchanged people writes nothing.
func supersedes(o *syncv1.Outcome, run, newest RunStamp, stored *StoredOutcome) bool {
	switch {
	case stored == nil:
		return true
	case run.Before(newest), run.Before(stored.RunStamp):
		return false
	case o.GetKind() != syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED:
		return true
	case o.GetRecordId() != "" && o.GetRecordId() != stored.RecordID:
		return true
	}
	switch stored.Kind {
	case syncv1.OutcomeKind_OUTCOME_KIND_CREATED, syncv1.OutcomeKind_OUTCOME_KIND_UPDATED,
		syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED:
		return false
	}
	return true
}

// Replaced returns the people whose stored outcome, of another run than this one, gives way to one of kept.
func Replaced(kept []*syncv1.Outcome, run string, stored map[string]*StoredOutcome) []string {
	var people []string
	for _, o := range kept {
		if s := stored[o.GetPersonId()]; s != nil && s.Run != run {
			people = append(people, o.GetPersonId())
		}
	}
	return people
}

// DecodeLists fills in the lists of an outcome from their stored form: JSON, or nothing.
func DecodeLists(o *syncv1.Outcome, fields, otherRecordIDs string) error {
	if fields != "" {
		if err := json.Unmarshal([]byte(fields), &o.Fields); err != nil {
			return err
		}
	}
	if otherRecordIDs == "" {
		return nil
	}
	return json.Unmarshal([]byte(otherRecordIDs), &o.OtherRecordIds)
}
