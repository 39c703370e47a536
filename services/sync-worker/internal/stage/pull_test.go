package stage_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// records are the ids of the records that a pull task wrote of a kind.
func (w *world) records(t ledger.Task, kind string) (ids []string) {
	w.t.Helper()
	err := rows.Read(w.t.Context(), w.bus, t, kind, 0, &eventv1.Rows{}, func(m *eventv1.Rows) error {
		for _, r := range m.GetBatch().GetRows() {
			ids = append(ids, r.GetId())
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// A field map may write another field than the Catalog's e-mail to Email. Records are looked up by what is written, or
// people who have one would get a second.
func TestRecordsAreLookedUpByTheMappedEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	want, err := w.org.Create("Contact", map[string]string{"LastName": "Lovelace", "Email": "ada@work.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.org.Create("Contact", map[string]string{"LastName": "Else", "Email": "ada@home.example"}); err != nil {
		t.Fatal(err)
	}
	run := w.run
	run.ID, run.PullMode, run.State = "run2", ledger.PullLookup, ledger.RunRunning
	stored, err := w.ledger.Snapshot(t.Context(), w.run.ID)
	if err != nil {
		t.Fatal(err)
	}
	snap := &syncv1.RunSnapshot{}
	if err := proto.Unmarshal(stored.Proto, snap); err != nil {
		t.Fatal(err)
	}
	snap.FieldMap.Pairs = []*mapperv1.Pair{
		{Source: "last_name", Target: "LastName"}, {Source: "attributes.work", Target: "Email"}, {Source: "id", Target: externalID},
	}
	raw, err := proto.Marshal(snap)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.ledger.CreateRun(t.Context(), run)
	if err := errors.Join(err, w.ledger.SaveSnapshot(t.Context(), run.ID, ledger.Snapshot{Proto: raw})); err != nil {
		t.Fatal(err)
	}
	w.run = run
	w.make(ledger.StageSnapshot, 0, ledger.Input{})
	lease, err := w.ledger.Claim(t.Context(), run.ID, ledger.StageSnapshot, 0)
	if err != nil {
		t.Fatal(err)
	}
	pub := rows.NewPublisher(w.bus, lease.Task())
	out := rows.NewRows(pub, rows.KindPeople, []string{"id", "email", "last_name", "attributes.work"}, 1)
	ada := &rowv1.Row{Id: "p1", Values: []string{"p1", "ada@home.example", "Lovelace", "Ada@Work.example"}}
	err = errors.Join(out.Add(t.Context(), 0, "p1\x00ada@work.example", ada), out.Close(t.Context()), lease.Settle(t.Context(), ledger.Result{Outputs: pub.Outputs()}))
	if err != nil {
		t.Fatal(err)
	}
	done := w.make(ledger.StagePull, 0, ledger.Input{Rows: 1}).settle()
	if ids := w.records(done, rows.KindFree); len(ids) != 1 || ids[0] != want {
		t.Errorf("looked up %v, want %s", ids, want)
	}
}

// A query job only reads: when one fails, or somebody aborts it, the next attempt makes another and the run goes on.
func TestAFailedQueryJobIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	w.existing(5)
	w.run.PullMode = ledger.PullBulk
	if _, err := w.ledger.UpdateRun(t.Context(), w.run.Tenant, w.run.ID, func(r *ledger.Run) { r.PullMode = ledger.PullBulk }); err != nil {
		t.Fatal(err)
	}
	var told atomic.Bool
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if at := strings.Index(r.URL.Path, "/jobs/query/"); at >= 0 && r.Method == http.MethodGet && told.CompareAndSwap(false, true) {
			id := r.URL.Path[at+len("/jobs/query/"):]
			return answer(r, http.StatusOK, `{"id":"`+id+`","state":"Failed","errorMessage":"InternalServerError : try again"}`), nil
		}
		return org.RoundTrip(r)
	})
	k := w.make(ledger.StagePull, 0, ledger.Input{Rows: 5})
	for !told.Load() {
		err := k.attempt(t.Context())
		if drain := new(stage.Drain); errors.As(err, &drain) {
			t.Fatalf("the run stops: %v", err)
		}
	}
	if done := k.settle(); len(w.records(done, rows.KindFree)) != 5 || w.routes()["POST /jobs/query"] != 2 {
		t.Errorf("%+v after %d query jobs", done.Result, w.routes()["POST /jobs/query"])
	}
}
