package stage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows/rowstest"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
	"github.com/catalogsync/catalogsync/simulator"
)

const (
	externalID = "CatalogUserId__c"
	// patience is for what must happen, however slow the machine.
	patience = 2 * time.Minute
	// leaseTTL is long: no test is about a lease that runs out by chance.
	leaseTTL    = time.Minute
	ledgerBytes = 1 << 30
	retention   = time.Hour
)

// world is one run whose plan is made: single tasks of it can be worked on, against a simulated org.
type world struct {
	t      *testing.T
	bus    *rows.Store
	ledger *ledger.Ledger
	org    *simulator.Server
	wire   *wire
	tokens *tokens
	runner *stage.Runner
	run    ledger.Run
	fields []string // targets of the field map, in order
	plans  int
}

type options struct {
	external    string // external id field; empty: by e-mail
	unknownWait time.Duration
	leaseTTL    time.Duration
	org         func(*simulator.Options)
	parents     bool // the field map has AccountId too
}

func newWorld(t *testing.T, o options) *world {
	t.Helper()
	so := simulator.Options{ExternalIDFields: []string{"Contact." + externalID}, DailyLimit: 1_000_000}
	if o.org != nil {
		o.org(&so)
	}
	org, err := simulator.Start(so)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	if o.leaseTTL == 0 {
		o.leaseTTL = leaseTTL
	}
	w := &world{t: t, bus: rowstest.Store(testkit.Bus(t)), org: org, tokens: &tokens{org: org}, fields: []string{"LastName", "Email", "Title"}}
	if o.external != "" {
		w.fields = append(w.fields, o.external)
	}
	if o.parents {
		w.fields = append(w.fields, "AccountId")
	}
	if err := w.bus.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	w.ledger = w.openLedger("worker-1", o.leaseTTL)
	policy := salesforce.HostPolicy{AllowDev: []string{org.URL}}
	client := salesforce.NewHTTPClient(policy)
	t.Cleanup(client.CloseIdleConnections)
	w.wire = &wire{next: client.Transport}
	client.Transport = w.wire
	w.runner = &stage.Runner{
		Log: testkit.Logger(t), Bus: w.bus, Ledger: w.ledger, Tokens: w.tokens, HTTP: client, Policy: policy,
		Settings: stage.Settings{Limits: conduct.DefaultLimits(), UnknownWait: o.unknownWait, LookupMax: 2000, APIVersion: "67.0"},
	}
	w.run, _, err = w.ledger.CreateRun(t.Context(), ledger.Run{
		ID: "run1", Tenant: "acme", ConnectionID: "con_1", Kind: "write", State: ledger.RunRunning, OrgID: org.OrgID(), Object: "Contact",
		ExternalIDField: o.external, Parts: 1, VerifyParts: 2, RequestedAt: time.Now(), StartedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.saveSnapshot(client, policy, o.external)
	return w
}

func (w *world) openLedger(holder string, ttl time.Duration) *ledger.Ledger {
	w.t.Helper()
	l, err := ledger.Open(w.t.Context(), w.bus.Bus, ledger.Options{Holder: holder, LeaseTTL: ttl, Retention: retention, MaxBytes: ledgerBytes})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// saveSnapshot fixes what shapes the run, with the describe that the org gives.
func (w *world) saveSnapshot(hc *http.Client, policy salesforce.HostPolicy, external string) {
	w.t.Helper()
	client, err := salesforce.New(salesforce.Options{
		HTTP: hc, Policy: policy, APIVersion: "67.0", ClientName: "catalogsync", Tokens: stage.NewTokens(w.tokens, "con_1", ""),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	d, _, err := client.Describe(w.t.Context(), "Contact", time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	fm := &mapperv1.FieldMap{Object: "Contact", ExternalIdField: external}
	for _, f := range w.fields {
		fm.Pairs = append(fm.Pairs, &mapperv1.Pair{Source: strings.ToLower(f), Target: f})
	}
	raw, err := proto.Marshal(&syncv1.RunSnapshot{FieldMap: fm, Describe: stage.DescribeProto(d), OrgId: w.org.OrgID()})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.ledger.SaveSnapshot(w.t.Context(), w.run.ID, ledger.Snapshot{Proto: raw}); err != nil {
		w.t.Fatal(err)
	}
}

// person is who a change is about.
func person(i int) string { return fmt.Sprintf("p%d", i) }

func email(i int) string { return fmt.Sprintf("person%d@example.com", i) }

// creates are n planned creates; change may alter the values of one, in the order of the fields.
func (w *world) creates(n int, change ...func(i int, values []string)) []*eventv1.PlannedChange {
	all := make([]*eventv1.PlannedChange, n)
	for i := range all {
		values := []string{fmt.Sprint("Last ", i), email(i), "Engineer", person(i), ""}[:len(w.fields)]
		for _, fn := range change {
			fn(i, values)
		}
		all[i] = &eventv1.PlannedChange{PersonId: person(i), Key: values[1], After: &rowv1.Row{Values: values}}
		if w.run.ExternalIDField != "" {
			all[i].Key = values[3]
		}
	}
	return all
}

// existing makes n contacts in the org and returns planned updates that give each another title.
func (w *world) existing(n int) []*eventv1.PlannedChange {
	w.t.Helper()
	all := make([]*eventv1.PlannedChange, n)
	for i := range all {
		id, err := w.org.Create("Contact", map[string]string{"LastName": fmt.Sprint("Last ", i), "Email": email(i), "Title": "Engineer"})
		if err != nil {
			w.t.Fatal(err)
		}
		after := &rowv1.Row{Values: make([]string, len(w.fields)), Absent: []uint32{0, 1}}
		after.Values[2] = "Doctor"
		if len(w.fields) > 3 {
			after.Absent = append(after.Absent, 3)
		}
		all[i] = &eventv1.PlannedChange{PersonId: person(i), Key: email(i), RecordId: id, After: after, Before: &rowv1.Row{Values: make([]string, len(w.fields))}}
	}
	return all
}

// planned settles a plan task that wrote the changes, and makes the apply task for them.
func (w *world) planned(action syncv1.Action, bulk bool, changes []*eventv1.PlannedChange) *work {
	w.t.Helper()
	ctx := w.t.Context()
	number := w.plans
	w.plans++
	if err := w.ledger.CreateTasks(ctx, []ledger.Task{{RunID: w.run.ID, Tenant: w.run.Tenant, Stage: ledger.StagePlan, Number: number}}); err != nil {
		w.t.Fatal(err)
	}
	lease, err := w.ledger.Claim(ctx, w.run.ID, ledger.StagePlan, number)
	if err != nil {
		w.t.Fatal(err)
	}
	pub := rows.NewPublisher(w.bus, lease.Task())
	out := rows.NewChanges(pub, action, w.fields)
	for _, c := range changes {
		if err := out.Add(ctx, c); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(ctx), lease.Settle(ctx, ledger.Result{Outputs: pub.Outputs()})); err != nil {
		w.t.Fatal(err)
	}
	in := ledger.Input{Action: rows.KindCreates, Bulk: bulk, Rows: int64(len(changes))}
	switch action {
	case syncv1.Action_ACTION_UPDATE:
		in.Action = rows.KindUpdates
	case syncv1.Action_ACTION_DELETE:
		in.Action = rows.KindDeletes
	}
	wrote, _ := w.task(ledger.StagePlan, number).Output(in.Action, 0)
	in.Changes = []ledger.ChangeRef{{Stage: ledger.StagePlan, Task: number, Epoch: 1, Kind: in.Action, To: wrote.Messages}}
	return w.make(ledger.StageApply, number, in)
}

// make makes a task.
func (w *world) make(s ledger.Stage, number int, in ledger.Input) *work {
	w.t.Helper()
	err := w.ledger.CreateTasks(w.t.Context(), []ledger.Task{{RunID: w.run.ID, Tenant: w.run.Tenant, Stage: s, Number: number, Input: in}})
	if err != nil {
		w.t.Fatal(err)
	}
	return &work{world: w, stage: s, number: number}
}

// task returns a task's record as it is now.
func (w *world) task(s ledger.Stage, number int) ledger.Task {
	w.t.Helper()
	tasks, err := w.ledger.Tasks(w.t.Context(), w.run.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, t := range tasks {
		if t.Stage == s && t.Number == number {
			return t
		}
	}
	w.t.Fatalf("there is no task %s-%d", s, number)
	return ledger.Task{}
}

// drain stops the run.
func (w *world) drain(state ledger.RunState, code string) {
	w.t.Helper()
	_, err := w.ledger.UpdateRun(w.t.Context(), w.run.Tenant, w.run.ID, func(r *ledger.Run) {
		r.Drain = &ledger.Drain{State: state, Code: code, Reason: "The run was stopped by a test."}
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// work is one task to be worked on.
type work struct {
	*world
	stage  ledger.Stage
	number int
}

func (k *work) record() ledger.Task { return k.task(k.stage, k.number) }

// lease takes the task, waiting for its wake time.
func (k *work) lease() *ledger.Lease {
	k.t.Helper()
	var lease *ledger.Lease
	testkit.Eventually(k.t, patience, func() (err error) {
		lease, err = k.ledger.Claim(k.t.Context(), k.run.ID, k.stage, k.number)
		return err
	})
	return lease
}

// attempt works on the task once, as a worker does: a failed attempt gives it back.
func (k *work) attempt(ctx context.Context) error {
	k.t.Helper()
	lease := k.lease()
	run, err := k.ledger.Run(k.t.Context(), k.run.Tenant, k.run.ID)
	if err != nil {
		k.t.Fatal(err)
	}
	err = k.runner.Do(ctx, run, lease)
	if err != nil && !errors.Is(err, ledger.ErrLeaseLost) {
		if err := lease.Park(k.t.Context(), time.Now(), nil); err != nil {
			k.t.Fatal(err)
		}
	}
	return err
}

// settle works on the task until it has settled, through every sleep, and returns its record.
func (k *work) settle() ledger.Task {
	k.t.Helper()
	for k.record().State != ledger.TaskSettled {
		if err := k.attempt(k.t.Context()); err != nil {
			k.t.Fatalf("%s-%d: %v", k.stage, k.number, err)
		}
	}
	return k.record()
}

// outcomes returns how every person of a settled task ended: written ones as they end unless the read-back differs. A
// person who ended twice fails the test.
func (w *world) outcomes(t ledger.Task) map[string]*syncv1.Outcome {
	w.t.Helper()
	all := make(map[string]*syncv1.Outcome)
	take := func(os []*syncv1.Outcome) {
		for _, o := range os {
			if all[o.GetPersonId()] != nil {
				w.t.Errorf("%s ended twice: %v and %v", o.GetPersonId(), all[o.GetPersonId()], o)
			}
			all[o.GetPersonId()] = o
		}
	}
	ctx := w.t.Context()
	err := rows.Read(ctx, w.bus, t, rows.KindOutcomes, 0, &eventv1.Outcomes{}, func(m *eventv1.Outcomes) error {
		take(m.GetOutcomes())
		return nil
	})
	for part := range w.run.VerifyParts {
		err = errors.Join(err, rows.Read(ctx, w.bus, t, rows.KindWritten, part, &eventv1.WrittenRows{}, func(m *eventv1.WrittenRows) error {
			take(m.GetOutcomes())
			return nil
		}))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// byKind counts outcomes.
func byKind(all map[string]*syncv1.Outcome) map[string]int {
	n := make(map[string]int)
	for _, o := range all {
		n[strings.ToLower(strings.TrimPrefix(o.GetKind().String(), "OUTCOME_KIND_"))]++
	}
	return n
}

// checkWritten compares outcomes with the org: a person who was written has the one record that the outcome names, and
// nobody else has any.
func (w *world) checkWritten(all map[string]*syncv1.Outcome) {
	w.t.Helper()
	owner := make(map[string][]string) // e-mail -> record ids
	for r := range w.org.Records("Contact") {
		if !r.Deleted {
			owner[r.Fields["Email"]] = append(owner[r.Fields["Email"]], r.ID)
		}
	}
	for id, o := range all {
		var i int
		if _, err := fmt.Sscanf(id, "p%d", &i); err != nil {
			w.t.Fatal(err)
		}
		switch records := owner[email(i)]; o.GetKind() {
		case syncv1.OutcomeKind_OUTCOME_KIND_CREATED, syncv1.OutcomeKind_OUTCOME_KIND_UPDATED:
			if len(records) != 1 || records[0] != o.GetRecordId() {
				w.t.Errorf("%s ended %v, the org holds %v", id, o, records)
			}
		default:
			if len(records) != 0 && o.GetRecordId() == "" {
				w.t.Errorf("%s ended %v, the org holds %v", id, o, records)
			}
		}
	}
}

// routes says how often the org was asked, by method and route.
func (w *world) routes() map[string]int64 { return w.org.Counters().Routes }
