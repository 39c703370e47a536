package rows_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

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

// canary is a text that compression leaves as it is: no piece of it comes twice.
func canary(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	for range 24 {
		b.WriteRune(rune(0x4E00 + r.IntN(0x5000)))
	}
	return b.String()
}

// everything publishes a batch of each kind that holds the canary, and returns the settled task.
func everything(t *testing.T, s *rows.Store, tk ledger.Task, canary string) ledger.Task {
	t.Helper()
	ctx := t.Context()
	row := &rowv1.Row{Id: "p1", Values: []string{canary}}
	p := rows.NewPublisher(s, tk)
	people, written := rows.NewRows(p, rows.KindPeople, []string{"last_name"}, 1), rows.NewWritten(p, []string{"LastName"}, 1)
	changes, outcomes := rows.NewChanges(p, syncv1.Action_ACTION_UPDATE, []string{"LastName"}), rows.NewOutcomes(p)
	outcome := &syncv1.Outcome{PersonId: canary, RecordId: "003"}
	err := errors.Join(people.Add(ctx, 0, canary, row), written.Add(ctx, outcome, row),
		changes.Add(ctx, &eventv1.PlannedChange{PersonId: "p1", Key: canary, After: row}), outcomes.Add(ctx, outcome),
		people.Close(ctx), written.Close(ctx), changes.Close(ctx), outcomes.Close(ctx))
	if err != nil {
		t.Fatal(err)
	}
	return settled(tk, p)
}

// holders returns the files below dir that hold the text.
func holders(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTheBusHoldsNothingThatCanBeRead looks for a person in the files of the bus. The same search finds what is compressed
// and not sealed, so it is one that can find something.
func TestTheBusHoldsNothingThatCanBeRead(t *testing.T) {
	t.Parallel()
	srv := testkit.NATS(t)
	b := srv.Bus(t)
	if err := b.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	secret, bare := canary(1), canary(2)
	everything(t, rowstest.Store(b), task(1), secret)
	raw, err := proto.Marshal(&eventv1.Outcomes{Outcomes: []*syncv1.Outcome{{PersonId: bare, RecordId: "003"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), "catalogsync.rows.bare", rows.Pack(raw)); err != nil {
		t.Fatal(err)
	}
	srv.Stop() // everything is in the files
	if len(holders(t, srv.Dir(), bare)) == 0 {
		t.Error("the search does not find what is compressed only")
	}
	if found := holders(t, srv.Dir(), secret); len(found) > 0 {
		t.Errorf("the person stands in %v", found)
	}
	for _, piece := range strings.SplitAfter(secret, string([]rune(secret)[11])) {
		if found := holders(t, srv.Dir(), piece); len(found) > 0 {
			t.Errorf("half of the person stands in %v", found)
		}
	}
}

// TestADestroyedKeyTakesItsRowsAlong reads them in a process that did not know the key.
func TestADestroyedKeyTakesItsRowsAlong(t *testing.T) {
	t.Parallel()
	first, ctx := world(t), t.Context()
	keys := &rowstest.Keys{}
	writer := rows.NewStore(first.Bus, keys)
	old := everything(t, writer, task(1), canary(1))
	keys.Destroy("acme")
	reader := rows.NewStore(first.Bus, keys)
	err := rows.Read(ctx, reader, old, rows.KindOutcomes, 0, &eventv1.Outcomes{}, func(*eventv1.Outcomes) error { return nil })
	if errs.KindOf(err) != errs.Precondition || errs.ReasonOf(err) != rows.ReasonDestroyed || !strings.Contains(errs.Message(err), "destroyed with the data key") {
		t.Errorf("error is %v", err)
	}
	ref := ledger.ChangeRef{Stage: old.Stage, Task: old.Number, Epoch: old.Epoch, Kind: rows.KindUpdates, From: 0, To: 1}
	err = rows.ReadRange(rpc.WithCaller(ctx, rpc.Caller{Tenant: "acme"}), reader, old.RunID, ref, 0, &eventv1.PlannedChanges{}, func(*eventv1.PlannedChanges) error { return nil })
	if errs.ReasonOf(err) != rows.ReasonDestroyed {
		t.Errorf("error of a range is %v", err)
	}
	// What is written from then on has the next key, also by a process that knew the one before.
	next := everything(t, writer, task(2), canary(2))
	if _, got, _, err := keyed(ctx, reader, next, rows.KindPeople, 0); err != nil || len(got) != 1 {
		t.Errorf("%d rows, %v", len(got), err)
	}
}

// TestRowsOpenForTheirTenantAlone reads one tenant's rows as another's.
func TestRowsOpenForTheirTenantAlone(t *testing.T) {
	t.Parallel()
	s, ctx := world(t), t.Context()
	tk := everything(t, s, task(1), canary(1))
	tk.Tenant = "umbrella"
	if _, _, _, err := keyed(ctx, s, tk, rows.KindPeople, 0); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("error is %v", err)
	}
	ref := ledger.ChangeRef{Stage: tk.Stage, Task: tk.Number, Epoch: tk.Epoch, Kind: rows.KindUpdates, From: 0, To: 1}
	read := func(ctx context.Context) error {
		return rows.ReadRange(ctx, s, tk.RunID, ref, 0, &eventv1.PlannedChanges{}, func(*eventv1.PlannedChanges) error { return nil })
	}
	if err := read(rpc.WithCaller(ctx, rpc.Caller{Tenant: "umbrella"})); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("error of another tenant is %v", err)
	}
	if err := read(ctx); errs.KindOf(err) != errs.Unauthenticated {
		t.Errorf("error of nobody is %v", err)
	}
}

// TestEveryBitOfAMessageCounts changes each bit of a stored message.
func TestEveryBitOfAMessageCounts(t *testing.T) {
	t.Parallel()
	s, ctx := world(t), t.Context()
	tk := everything(t, s, task(1), canary(1))
	_, subject := event.Address{Run: tk.RunID, Kind: rows.KindOutcomes, Stage: string(tk.Stage), Task: tk.Number, Epoch: tk.Epoch}.Outcomes(0)
	m, err := s.Get(ctx, event.StreamOutcomes, subject)
	if err != nil {
		t.Fatal(err)
	}
	ref := ledger.ChangeRef{Stage: tk.Stage, Task: tk.Number, Epoch: tk.Epoch, Kind: rows.KindOutcomes, From: 0, To: 1}
	ctx = rpc.WithCaller(ctx, rpc.Caller{Tenant: tk.Tenant})
	for bit := range len(m.Data) * 8 {
		bad := bytes.Clone(m.Data)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := s.Publish(ctx, subject, bad); err != nil {
			t.Fatal(err)
		}
		read := 0
		err := rows.ReadRange(ctx, s, tk.RunID, ref, 0, &eventv1.Outcomes{}, func(*eventv1.Outcomes) error { read++; return nil })
		if err == nil || read > 0 {
			t.Fatalf("bit %d was changed and the message was read", bit)
		}
	}
}

// TestKeysAreAskedForSeldom counts the calls for keys.
func TestKeysAreAskedForSeldom(t *testing.T) {
	t.Parallel()
	first := world(t)
	keys := &rowstest.Keys{}
	s := rows.NewStore(first.Bus, keys)
	tk := everything(t, s, task(1), canary(1))
	if keys.Asked != 1 {
		t.Errorf("a task that wrote asked %d times", keys.Asked)
	}
	fresh := rows.NewStore(first.Bus, keys)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, _, _, err := keyed(context.Background(), fresh, tk, rows.KindPeople, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := keys.Asked - 1; n < 1 || n > 8 {
		t.Errorf("160 reads asked %d times", n)
	}
}
