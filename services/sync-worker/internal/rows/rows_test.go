package rows_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows/rowstest"
)

func world(t *testing.T) *rows.Store {
	t.Helper()
	b := testkit.Bus(t)
	if err := b.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	return rowstest.Store(b)
}

func task(epoch uint64) ledger.Task {
	return ledger.Task{RunID: "run1", Tenant: "acme", Stage: ledger.StagePlan, Number: 3, Epoch: epoch}
}

// settled is the task as its settle record leaves it.
func settled(t ledger.Task, p *rows.Publisher) ledger.Task {
	t.State, t.Result = ledger.TaskSettled, &ledger.Result{Epoch: t.Epoch, Outputs: p.Outputs()}
	return t
}

// keyed reads the rows of a part back, each as its key and its row.
func keyed(ctx context.Context, b *rows.Store, t ledger.Task, kind string, part int) (keys []string, got []*rowv1.Row, columns []string, err error) {
	err = rows.Read(ctx, b, t, kind, part, &eventv1.Rows{}, func(m *eventv1.Rows) error {
		keys = append(keys, m.GetKeys()...)
		got = append(got, m.GetBatch().GetRows()...)
		columns = slices.Clone(m.GetBatch().GetColumns())
		return nil
	})
	return keys, got, columns, err
}

func person(i int) *rowv1.Row {
	return &rowv1.Row{Id: fmt.Sprint("p", i), Values: []string{fmt.Sprint("value ", i), "", ""}, Null: []uint32{1}, Absent: []uint32{2}}
}

// What is written comes back as it was: by part, in order, null and absent apart.
func TestRowsRoundTrip(t *testing.T) {
	t.Parallel()
	b, ctx := world(t), t.Context()
	const parts, people = 4, 3000
	tk := task(1)
	p := rows.NewPublisher(b, tk)
	w := rows.NewRows(p, rows.KindPeople, []string{"a", "b", "c"}, parts)
	want := make([][]*rowv1.Row, parts)
	for i := range people {
		key := fmt.Sprint("key", i)
		part := rows.Part(key, parts)
		if err := w.Add(ctx, part, key, person(i)); err != nil {
			t.Fatal(err)
		}
		want[part] = append(want[part], person(i))
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	tk = settled(tk, p)
	for part := range parts {
		keys, got, columns, err := keyed(ctx, b, tk, rows.KindPeople, part)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[part], got, protocmp.Transform()); diff != "" {
			t.Errorf("part %d: -want +got\n%s", part, diff)
		}
		if diff := cmp.Diff([]string{"a", "b", "c"}, columns); diff != "" {
			t.Error(diff)
		}
		if len(keys) != len(got) || slices.ContainsFunc(keys, func(k string) bool { return rows.Part(k, parts) != part }) {
			t.Errorf("part %d holds %d keys for %d rows, or keys of other parts", part, len(keys), len(got))
		}
		if out, ok := tk.Output(rows.KindPeople, part); !ok || out.Rows != int64(len(got)) || out.Messages == 0 || out.Bytes == 0 {
			t.Errorf("the settle record says %+v of %d rows", out, len(got))
		}
	}
}

// Changes, outcomes and after-images go to streams of their own, and rows per message are known where work is cut by them.
func TestOtherKindsRoundTrip(t *testing.T) {
	t.Parallel()
	b, ctx := world(t), t.Context()
	tk := task(1)
	p := rows.NewPublisher(b, tk)
	creates, updates := rows.NewChanges(p, syncv1.Action_ACTION_CREATE, []string{"LastName"}), rows.NewChanges(p, syncv1.Action_ACTION_UPDATE, []string{"LastName"})
	outcomes, written := rows.NewOutcomes(p), rows.NewWritten(p, []string{"LastName"}, 3)
	const n = 5000
	filler := strings.Repeat("x", 300)
	for i := range n {
		after := &rowv1.Row{Values: []string{fmt.Sprint(filler, i)}}
		record := fmt.Sprintf("003%012d", i)
		err := errors.Join(
			creates.Add(ctx, &eventv1.PlannedChange{PersonId: fmt.Sprint("c", i), After: after}),
			updates.Add(ctx, &eventv1.PlannedChange{PersonId: fmt.Sprint("u", i), RecordId: record, After: after, Before: &rowv1.Row{Values: []string{"old"}}}),
			outcomes.Add(ctx, &syncv1.Outcome{PersonId: fmt.Sprint("o", i), Kind: syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED}),
			written.Add(ctx, &syncv1.Outcome{PersonId: fmt.Sprint("w", i), RecordId: record}, after))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(creates.Close(ctx), updates.Close(ctx), outcomes.Close(ctx), written.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	tk = settled(tk, p)
	for kind, action := range map[string]syncv1.Action{rows.KindCreates: syncv1.Action_ACTION_CREATE, rows.KindUpdates: syncv1.Action_ACTION_UPDATE} {
		var got []string
		var perMessage []int
		err := rows.Read(ctx, b, tk, kind, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
			if m.GetAction() != action || m.GetColumns()[0] != "LastName" {
				t.Errorf("%s hold action %s, columns %v", kind, m.GetAction(), m.GetColumns())
			}
			for _, c := range m.GetChanges() {
				got = append(got, c.GetPersonId())
			}
			perMessage = append(perMessage, len(m.GetChanges()))
			return nil
		})
		if err != nil || len(got) != n || got[0] != kind[:1]+"0" || got[n-1] != fmt.Sprint(kind[:1], n-1) {
			t.Errorf("%d %s, %v", len(got), kind, err)
		}
		out, _ := tk.Output(kind, 0)
		if diff := cmp.Diff(perMessage, out.MessageRows); diff != "" || out.Messages < 2 {
			t.Errorf("rows per message of %s: %s", kind, diff)
		}
		// A reference reads some of the messages, and only those.
		at, ref := 0, ledger.ChangeRef{Stage: tk.Stage, Task: tk.Number, Epoch: tk.Epoch, Kind: kind, From: 1, To: 2}
		err = rows.ReadRange(rpc.WithCaller(ctx, rpc.Caller{Tenant: tk.Tenant}), b, tk.RunID, ref, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
			at += len(m.GetChanges())
			if m.GetChanges()[0].GetPersonId() != got[perMessage[0]] {
				t.Errorf("the second message of %s begins with %s", kind, m.GetChanges()[0].GetPersonId())
			}
			return nil
		})
		if err != nil || at != perMessage[1] {
			t.Errorf("%d rows in the second message, %v", at, err)
		}
	}
	seen := make(map[string]bool)
	for part := range 3 {
		err := rows.Read(ctx, b, tk, rows.KindWritten, part, &eventv1.WrittenRows{}, func(m *eventv1.WrittenRows) error {
			for i, o := range m.GetOutcomes() {
				if rows.Part(o.GetRecordId(), 3) != part || seen[o.GetPersonId()] || !strings.HasSuffix(m.GetRows()[i].GetValues()[0], "x"+o.GetPersonId()[1:]) {
					t.Errorf("part %d holds %v with %v", part, o, m.GetRows()[i])
				}
				seen[o.GetPersonId()] = true
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	var ended int
	err := rows.Read(ctx, b, tk, rows.KindOutcomes, 0, &eventv1.Outcomes{}, func(m *eventv1.Outcomes) error {
		ended += len(m.GetOutcomes())
		return nil
	})
	if err != nil || ended != n || len(seen) != n {
		t.Errorf("%d outcomes and %d after-images of %d: %v", ended, len(seen), n, err)
	}
}

// What a worker wrote before it lost its lease is never read, whatever it wrote; nor is what no settle record names.
func TestUnsettledEpochIsNeverRead(t *testing.T) {
	t.Parallel()
	b, ctx := world(t), t.Context()
	write := func(tk ledger.Task, from, n int) *rows.Publisher {
		p := rows.NewPublisher(b, tk)
		w := rows.NewRows(p, rows.KindPeople, []string{"a", "b", "c"}, 1)
		for i := range n {
			if err := w.Add(ctx, 0, "k", person(from+i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(ctx); err != nil {
			t.Fatal(err)
		}
		return p
	}
	lost, held := task(1), task(2)
	write(lost, 1000, 50)
	if _, got, _, err := keyed(ctx, b, lost, rows.KindPeople, 0); err != nil || len(got) != 0 {
		t.Errorf("a task that has not settled shows %d rows, %v", len(got), err)
	}
	p := write(held, 0, 10)
	held = settled(held, p)
	write(lost, 2000, 50) // the loser goes on
	_, got, _, err := keyed(ctx, b, held, rows.KindPeople, 0)
	if err != nil || len(got) != 10 || got[0].GetId() != "p0" {
		t.Errorf("%d rows beginning with %v, %v; want those of the epoch that settled", len(got), got[:min(1, len(got))], err)
	}
	if _, got, _, err := keyed(ctx, b, held, rows.KindRecords, 0); err != nil || len(got) != 0 {
		t.Errorf("a kind that was not written shows %d rows, %v", len(got), err)
	}
	if _, got, _, err := keyed(ctx, b, held, rows.KindPeople, 7); err != nil || len(got) != 0 {
		t.Errorf("a part that was not written shows %d rows, %v", len(got), err)
	}
}

// A reader that cannot match the settle record stops with an error, and names what is wrong.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	b, ctx := world(t), t.Context()
	subject := func(tk ledger.Task, n int) string {
		_, s := event.Address{Run: tk.RunID, Kind: rows.KindPeople, Stage: string(tk.Stage), Task: tk.Number, Epoch: tk.Epoch}.Rows(n)
		return s
	}
	write := func(run string) ledger.Task {
		tk := task(1)
		tk.RunID = run
		p := rows.NewPublisher(b, tk)
		for n := range 3 {
			m := &eventv1.Rows{Keys: []string{"k"}, Batch: &rowv1.Batch{Columns: []string{"a"}, Rows: []*rowv1.Row{person(n)}}}
			if err := p.Publish(ctx, rows.KindPeople, 0, m, 1); err != nil {
				t.Fatal(err)
			}
		}
		return settled(tk, p)
	}
	put := func(subject string, data []byte) {
		if err := b.Publish(ctx, subject, data); err != nil {
			t.Fatal(err)
		}
	}
	get := func(tk ledger.Task, n int) []byte {
		m, err := b.Get(ctx, event.StreamRows, subject(tk, n))
		if err != nil {
			t.Fatal(err)
		}
		return m.Data
	}
	tests := []struct {
		name   string
		damage func(tk ledger.Task) ledger.Task
		check  func(error) bool
	}{
		{"two messages have changed places", func(tk ledger.Task) ledger.Task {
			first, second := get(tk, 0), get(tk, 1)
			put(subject(tk, 0), second)
			put(subject(tk, 1), first)
			return tk
		}, isCorrupt},
		{"a message is another one", func(tk ledger.Task) ledger.Task { put(subject(tk, 2), get(tk, 1)); return tk }, isCorrupt},
		{"a message is no message", func(tk ledger.Task) ledger.Task { put(subject(tk, 1), []byte("not packed")); return tk }, isCorrupt},
		{"a message is cut", func(tk ledger.Task) ledger.Task {
			data := get(tk, 1)
			put(subject(tk, 1), data[:len(data)-3])
			return tk
		}, isCorrupt},
		{"the settle record knows fewer messages", func(tk ledger.Task) ledger.Task { tk.Result.Outputs[0].Messages--; return tk }, isCorrupt},
		{"the settle record knows more messages", func(tk ledger.Task) ledger.Task { tk.Result.Outputs[0].Messages++; return tk }, isMissing},
		{"a message is gone", func(tk ledger.Task) ledger.Task {
			if err := b.Purge(ctx, event.StreamRows, subject(tk, 1)); err != nil {
				t.Fatal(err)
			}
			return tk
		}, isMissing},
	}
	for i, tt := range tests {
		tk := tt.damage(write(fmt.Sprint("run", i)))
		if _, _, _, err := keyed(ctx, b, tk, rows.KindPeople, 0); !tt.check(err) || err != nil && !strings.Contains(err.Error(), rows.KindPeople) {
			t.Errorf("%s: read with error %v", tt.name, err)
		}
	}
	// A repetition of the same message by the same task is no damage: the answer to the first may have been lost.
	tk := write("again")
	put(subject(tk, 1), get(tk, 1))
	if _, got, _, err := keyed(ctx, b, tk, rows.KindPeople, 0); err != nil || len(got) != 3 {
		t.Errorf("a message stored twice: %d rows, %v", len(got), err)
	}
}

func isCorrupt(err error) bool { return errors.Is(err, rows.ErrCorrupt) }
func isMissing(err error) bool { return errs.ReasonOf(err) == "no_message" }

// The reader's own error ends the reading at once and comes back as it is.
func TestReadEndsWithTheReadersError(t *testing.T) {
	t.Parallel()
	b, ctx := world(t), t.Context()
	tk := task(1)
	p := rows.NewPublisher(b, tk)
	for range 2 {
		if err := p.Publish(ctx, rows.KindOutcomes, 0, &eventv1.Outcomes{}, 0); err != nil {
			t.Fatal(err)
		}
	}
	mine, calls := errors.New("mine"), 0
	err := rows.Read(ctx, b, settled(tk, p), rows.KindOutcomes, 0, &eventv1.Outcomes{}, func(*eventv1.Outcomes) error { calls++; return mine })
	if !errors.Is(err, mine) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// A key has one part, whoever asks; parts are about even, and in bounds.
func TestPart(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{-1, 0, 1} {
		if got := rows.Part("anything", parts); got != 0 {
			t.Errorf("part %d of %d", got, parts)
		}
	}
	for _, parts := range []int{2, 3, 10, 97} {
		count := make([]int, parts)
		const keys = 20_000
		for i := range keys {
			key := fmt.Sprintf("person%d@example.com", i)
			part := rows.Part(key, parts)
			if part < 0 || part >= parts || part != rows.Part(key, parts) {
				t.Fatalf("part %d of %d", part, parts)
			}
			count[part]++
		}
		if even := keys / parts; slices.Min(count) < even/2 || slices.Max(count) > even*3/2 {
			t.Errorf("%d parts hold %v", parts, count)
		}
	}
}

// Long values that cannot be packed, such as pictures in base64, fit the bus however they meet.
func TestLongRowsFitTheBus(t *testing.T) {
	t.Parallel()
	b, ctx := world(t), t.Context()
	rng := rand.NewChaCha8([32]byte{1})
	value := func(size int) string {
		raw := make([]byte, size*3/4)
		_, _ = rng.Read(raw) // never fails
		return base64.StdEncoding.EncodeToString(raw)
	}
	tk := task(1)
	p := rows.NewPublisher(b, tk)
	people := rows.NewRows(p, rows.KindPeople, []string{"picture"}, 1)
	changes := rows.NewChanges(p, syncv1.Action_ACTION_UPDATE, []string{"picture"})
	written := rows.NewWritten(p, []string{"picture"}, 1)
	sizes := []int{400 << 10, 1000 << 10, 10, 500 << 10, 900 << 10}
	for i, size := range sizes {
		row := &rowv1.Row{Id: fmt.Sprint("p", i), Values: []string{value(size)}}
		if err := errors.Join(people.Add(ctx, 0, "k", row), written.Add(ctx, &syncv1.Outcome{PersonId: row.GetId()}, row)); err != nil {
			t.Fatal(err)
		}
		// A change holds the value twice, but no field of Salesforce takes more than 131,072 characters.
		long := &rowv1.Row{Values: []string{value(min(size, 128<<10))}}
		if err := changes.Add(ctx, &eventv1.PlannedChange{PersonId: row.GetId(), After: long, Before: long}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(people.Close(ctx), written.Close(ctx), changes.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	_, got, _, err := keyed(ctx, b, settled(tk, p), rows.KindPeople, 0)
	if err != nil || len(got) != len(sizes) {
		t.Errorf("%d rows, %v", len(got), err)
	}
}
