package chaos_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

// The whole system is killed while an undo deletes what a run made, through Collections and through Bulk jobs: everybody
// ends once, all that was planned to go is gone, and nothing else is.
func TestKilledWhileAnUndoDeletes(t *testing.T) {
	t.Parallel()
	org, err := simulator.Start(simulator.Options{
		ExternalIDFields: []string{"Contact." + externalID}, DailyLimit: 10_000_000, BulkRate: 2000, Latency: 15 * time.Millisecond, Seed: *seed + 2000,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	s := harness.OneProcess(t, org.URL)
	p := s.All[0]
	x := s.Tenant(t, "acme")
	x.Link(t, org)
	x.SaveMap(t, "Contact", externalID)
	kept := map[string]bool{} // records that no undo may touch
	for i := range 50 {
		id, err := org.Create("Contact", map[string]string{"LastName": "Somebody else", "Email": fmt.Sprintf("else%d@example.org", i)})
		if err != nil {
			t.Fatal(err)
		}
		kept[id] = true
	}
	for round := range 3 {
		people := 1000
		if round%2 == 1 {
			people = 2500 // more than go through Collections
		}
		var file bytes.Buffer
		if err := sample.WriteCSV(&file, sample.Options{People: people, Seed: int64(*seed)}); err != nil {
			t.Fatal(err)
		}
		x.Import(t, file.Bytes(), directoryv1.ImportMode_IMPORT_MODE_FULL)
		made := x.Wait(t, x.Start(t, &syncv1.StartRunRequest{RequestId: fmt.Sprint("made-", round)}).GetId(), 2*time.Minute)
		if made.GetState() != syncv1.RunState_RUN_STATE_SUCCEEDED || made.GetCounts().GetCreated() == 0 {
			t.Fatalf("round %d: the run is %s: %v", round, made.GetState(), made.GetCounts())
		}
		org.SetClockOffset(time.Duration(round+1) * time.Hour) // stamps of records are full seconds
		planned := make(map[string]string)                     // record that has to go, by person
		outcomes := x.Outcomes(t, made.GetId())
		for _, id := range slices.Sorted(maps.Keys(outcomes)) {
			o := outcomes[id]
			if o.GetKind() != syncv1.OutcomeKind_OUTCOME_KIND_CREATED {
				continue
			}
			if len(planned)%10 == 0 && !kept[o.GetRecordId()] { // somebody has done something to some of them
				if err := org.Update(o.GetRecordId(), map[string]string{"Description": "By hand"}); err != nil {
					t.Fatal(err)
				}
				kept[o.GetRecordId()] = true
				planned[id] = ""
				continue
			}
			planned[id] = o.GetRecordId()
		}

		before := org.EffectCount()
		undo := x.Start(t, &syncv1.StartRunRequest{
			RequestId: fmt.Sprint("undo-", round), Kind: syncv1.RunKind_RUN_KIND_UNDO, UndoRunId: made.GetId(), UndoDeleteCreated: true,
		})
		w := &world{t: t, x: x, run: undo.GetId()}
		kills := 0
		for range 3 {
			// The next kill comes when something more was deleted, or the run has ended.
			testkit.Eventually(t, time.Minute, func() error {
				if _, ended := w.stage(); !ended && org.EffectCount() <= before {
					return fmt.Errorf("nothing was deleted since effect %d", before)
				}
				return nil
			})
			if _, ended := w.stage(); ended {
				break
			}
			kills++
			p.Kill()
			before = org.EffectCount()
			p.Start()
		}
		ended := x.Wait(t, undo.GetId(), 3*time.Minute)
		t.Logf("round %d: %d kills", round, kills)
		if kills == 0 {
			t.Errorf("round %d: the undo ended before it was killed", round)
		}
		var deleted, skipped int64
		outcomes = x.Outcomes(t, ended.GetId())
		for id, record := range planned {
			o := outcomes[id]
			want := syncv1.OutcomeKind_OUTCOME_KIND_DELETED
			if record == "" {
				want = syncv1.OutcomeKind_OUTCOME_KIND_SKIPPED
				skipped++
			} else {
				deleted++
			}
			if o.GetKind() != want {
				t.Errorf("%s ended %s %s: %s", id, o.GetKind(), o.GetCode(), o.GetMessage())
			}
			if r, there := org.Record(record); record != "" && there && !r.Deleted {
				t.Errorf("the record %s of %s was planned to go and is there", record, id)
			}
		}
		if n := ended.GetCounts(); ended.GetState() != syncv1.RunState_RUN_STATE_SUCCEEDED || len(outcomes) != len(planned) ||
			n.GetPeople() != int64(len(planned)) || n.GetDeleted() != deleted || n.GetSkipped() != skipped {
			t.Errorf("the undo is %s: %d outcomes of %d people, %d to delete, %d to leave: %v", ended.GetState(), len(outcomes), len(planned), deleted, skipped, n)
		}
		live := 0
		for r := range org.Records("Contact") {
			if !r.Deleted {
				live++
			}
			if r.Deleted && kept[r.ID] {
				t.Errorf("the record %s was deleted", r.ID)
			}
		}
		if live != len(kept) {
			t.Errorf("%d contacts are left, want %d", live, len(kept))
		}
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, *seed)
		}
	}
}
