package harness

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"testing"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/simulator"
)

// Person is one line of a file, by column.
type Person map[string]string

// ReadPeople reads a CSV file as a person would: it shares no code with the product.
func ReadPeople(t testing.TB, file []byte) []Person {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(file))
	header, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	var people []Person
	for {
		line, err := r.Read()
		if err == io.EOF {
			return people
		}
		if err != nil {
			t.Fatal(err)
		}
		p := make(Person, len(header))
		for i, name := range header {
			p[name] = line[i]
		}
		people = append(people, p)
	}
}

// Expect says what the org must hold.
type Expect struct {
	Object     string
	ExternalID string // field; empty: matched by e-mail
	People     []Person
	// Refused are ids of people who must have no record because they are at fault.
	Refused map[string]bool
	// Others is the number of live records that are nobody's.
	Others int
}

// CheckOrg compares the org with the files: one live record per person with the file's values, and nothing else. It is
// the proof of promises P1 and P2, and reads the simulator's own records.
func CheckOrg(t testing.TB, org *simulator.Server, e Expect) {
	t.Helper()
	byKey := make(map[string][]simulator.Record)
	live := 0
	for r := range org.Records(e.Object) {
		if r.Deleted {
			continue
		}
		live++
		key := strings.ToLower(r.Fields["Email"])
		if e.ExternalID != "" {
			key = r.Fields[e.ExternalID]
		}
		byKey[key] = append(byKey[key], r)
	}
	want, wrong := 0, 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 10 {
			t.Errorf(format, args...)
		}
	}
	for _, p := range e.People {
		key := strings.ToLower(strings.TrimSpace(p["email"]))
		if e.ExternalID != "" {
			key = p["id"]
		}
		found := byKey[key]
		if e.Refused[p["id"]] {
			if e.ExternalID != "" && len(found) > 0 {
				complain("person %s is at fault and has a record all the same: %s", p["id"], found[0].ID)
			}
			continue
		}
		want++
		if len(found) != 1 {
			complain("person %s has %d live records", p["id"], len(found))
			continue
		}
		for _, pair := range Pairs(e.Object) {
			have, need := found[0].Fields[pair[1]], strings.TrimSpace(p[pair[0]])
			if pair[1] == "Company" && need == "" {
				need = "[not provided]"
			}
			if pair[1] == "Email" {
				have, need = strings.ToLower(have), strings.ToLower(need)
			}
			if have != need {
				complain("person %s: %s is %q, the file says %q", p["id"], pair[1], have, need)
			}
		}
	}
	if live != want+e.Others {
		t.Errorf("the org holds %d live records of %s, want %d for people and %d others", live, e.Object, want, e.Others)
	}
	if wrong > 10 {
		t.Errorf("... and %d more", wrong-10)
	}
}

// CheckCounts compares a run's counters with each other and with its outcomes: they add up to its people, and every
// person has exactly one outcome.
func CheckCounts(t testing.TB, run *syncv1.Run, outcomes map[string]*syncv1.Outcome) {
	t.Helper()
	n := run.GetCounts()
	sum := n.GetCreated() + n.GetUpdated() + n.GetUnchanged() + n.GetSkipped() + n.GetRejected() + n.GetFailed() + n.GetSuperseded() + n.GetDeferred()
	if sum != n.GetPeople() {
		t.Errorf("run %s: outcomes add up to %d, people are %d: %v", run.GetId(), sum, n.GetPeople(), n)
	}
	if outcomes == nil {
		return
	}
	kinds := make(map[syncv1.OutcomeKind]int64)
	for _, o := range outcomes {
		kinds[o.GetKind()]++
	}
	want := map[syncv1.OutcomeKind]int64{
		syncv1.OutcomeKind_OUTCOME_KIND_CREATED: n.GetCreated(), syncv1.OutcomeKind_OUTCOME_KIND_UPDATED: n.GetUpdated(),
		syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED: n.GetUnchanged(), syncv1.OutcomeKind_OUTCOME_KIND_SKIPPED: n.GetSkipped(),
		syncv1.OutcomeKind_OUTCOME_KIND_REJECTED: n.GetRejected(), syncv1.OutcomeKind_OUTCOME_KIND_FAILED: n.GetFailed(),
		syncv1.OutcomeKind_OUTCOME_KIND_SUPERSEDED: n.GetSuperseded(), syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED: n.GetDeferred(),
	}
	for kind, count := range want {
		if kinds[kind] != count {
			t.Errorf("run %s: %d outcomes %s, the counter says %d", run.GetId(), kinds[kind], kind, count)
		}
	}
}

// Want checks chosen counters of a run, by name.
func Want(t testing.TB, run *syncv1.Run, state syncv1.RunState, counts map[string]int64) {
	t.Helper()
	if run.GetState() != state {
		t.Errorf("run %s ended %s (%s), want %s", run.GetId(), run.GetState(), run.GetReason(), state)
	}
	n := run.GetCounts().ProtoReflect()
	for name, want := range counts {
		f := n.Descriptor().Fields().ByTextName(name)
		if f == nil {
			t.Fatalf("there is no counter %s", name)
		}
		if got := n.Get(f).Int(); got != want {
			t.Errorf("run %s: %s is %d, want %d (%s)", run.GetId(), name, got, want, fmt.Sprint(run.GetCounts()))
		}
	}
}
