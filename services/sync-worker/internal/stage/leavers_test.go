package stage_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/mapper"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// weighed is a directory that weighs what lives in memory whenever a page of leavers is asked for.
type weighed struct {
	directory.Directory
	heap []int64 // bytes
}

func (d *weighed) Leavers(ctx context.Context, tenant, connection, after string, limit int) ([]directory.Leaver, error) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	d.heap = append(d.heap, int64(m.HeapAlloc))
	return d.Directory.Leavers(ctx, tenant, connection, after, limit)
}

// Each of many leavers is flagged once, and none costs memory beyond the page in which they come but for a hash. The test
// is not parallel, for it weighs the memory of the whole process.
func TestLeaversTakeNoMemory(t *testing.T) {
	const (
		n     = 20_000
		extra = 3       // people who had the record of another before
		most  = 100     // bytes that a leaver may keep; a planned change has several times as many
		noise = 1 << 20 // bytes that the bus and the org may have come to hold meanwhile
	)
	w := newWorld(t, options{})
	w.begin("run2", "Contact", func(s *syncv1.RunSnapshot) {
		s.FieldMap.Identity = &mapperv1.Identity{Leavers: mapperv1.Leavers_LEAVERS_FLAG, LeaversField: "Title", LeaversValue: "Gone"}
	})
	prepared := w.make(ledger.StagePrepare, 0, ledger.Input{}).lease()
	if err := prepared.Settle(t.Context(), ledger.Result{Prepared: &ledger.Prepared{FlagLeavers: true}}); err != nil {
		t.Fatal(err)
	}
	dir := w.leave(n, extra)
	w.runner.Mapper = mapperClient(t, w)
	w.runner.Directory = dir

	task := w.make(ledger.StageFollow, 0, ledger.Input{}).settle()
	if got := task.Result.Counts.Deactivations; got != n {
		t.Errorf("%d leavers are to be flagged, want %d", got, n)
	}
	seen := make(map[string]bool)
	err := rows.Read(t.Context(), w.bus, task, rows.KindLeavers, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
		for _, c := range m.GetChanges() {
			if seen[c.GetRecordId()] {
				t.Errorf("record %s is flagged twice", c.GetRecordId())
			}
			seen[c.GetRecordId()] = true
			if c.GetReason() != "leaver" || c.GetPersonId() == "" || c.GetBefore().GetValues()[0] != "Engineer" || c.GetAfter().GetValues()[0] != "Gone" {
				t.Fatalf("planned: %v", c)
			}
		}
		return nil
	})
	if err != nil || len(seen) != n {
		t.Errorf("%d changes are planned, want %d: %v", len(seen), n, err)
	}

	if len(dir.heap) < 10 {
		t.Fatalf("the directory was asked for %d pages", len(dir.heap))
	}
	// The first half of the pages fills what has a fixed size: batches, and the buffers of those who write and read them.
	half := len(dir.heap) / 2
	grown := dir.heap[len(dir.heap)-1] - dir.heap[half]
	t.Logf("%d bytes more live after the second half of %d pages", grown, len(dir.heap))
	if grown > n/2*most+noise {
		t.Errorf("%d leavers keep %d bytes in memory; all that lived, by page: %v", n/2, grown, dir.heap)
	}
}

// begin makes another run of the world's; change may alter what shapes it.
func (w *world) begin(id, object string, change func(*syncv1.RunSnapshot)) {
	w.t.Helper()
	ctx := w.t.Context()
	saved, err := w.ledger.Snapshot(ctx, w.run.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	snap := &syncv1.RunSnapshot{}
	if err := proto.Unmarshal(saved.Proto, snap); err != nil {
		w.t.Fatal(err)
	}
	change(snap)
	raw, err := proto.Marshal(snap)
	if err != nil {
		w.t.Fatal(err)
	}
	run := w.run
	run.ID, run.Object = id, object
	if w.run, _, err = w.ledger.CreateRun(ctx, run); err != nil {
		w.t.Fatal(err)
	}
	if err := w.ledger.SaveSnapshot(ctx, id, ledger.Snapshot{Proto: raw}); err != nil {
		w.t.Fatal(err)
	}
}

// leave returns a directory from which n people are gone, each with a record in the org, and some more who had the record
// of one of these.
func (w *world) leave(n, extra int) *weighed {
	w.t.Helper()
	ctx := w.t.Context()
	store, err := sqlite.Open(ctx, w.t.TempDir()+"/people.db")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = store.Close() })
	var people []directory.Record
	var outcomes []*syncv1.Outcome
	add := func(record string) {
		id := fmt.Sprintf("p%06d", len(people))
		people = append(people, directory.Record{ID: id})
		outcomes = append(outcomes, &syncv1.Outcome{PersonId: id, Kind: syncv1.OutcomeKind_OUTCOME_KIND_CREATED, RecordId: record})
	}
	for _, c := range w.existing(n) {
		add(c.GetRecordId())
	}
	for i := range extra {
		add(outcomes[i].GetRecordId())
	}
	in, err := store.BeginImport(ctx, w.run.Tenant, directory.Full)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = in.Put(ctx, people)
	err = errors.Join(err, in.Close(), store.ProjectOutcomes(ctx, w.run.Tenant, w.run.ConnectionID, "earlier", time.Now(), outcomes))
	if err != nil {
		w.t.Fatal(err)
	}
	if in, err = store.BeginImport(ctx, w.run.Tenant, directory.Full); err != nil {
		w.t.Fatal(err)
	}
	gone, err := in.MarkGone(ctx)
	if err = errors.Join(err, in.Close()); err != nil || gone != int64(n+extra) {
		w.t.Fatalf("%d are gone: %v", gone, err)
	}
	return &weighed{Directory: store}
}

// mapperClient starts a mapper and returns a client of it.
func mapperClient(t *testing.T, w *world) mapperv1.MapperServiceClient {
	t.Helper()
	log := testkit.Logger(t)
	maps, err := mapper.New(t.Context(), mapper.DefaultConfig(), mapper.Deps{Log: log, Bus: w.bus.Bus})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv := rpc.NewServer(rpc.ServerOptions{Log: log, Stopping: ctx.Done()})
	maps.Register(srv)
	network := rpc.NewMemNet()
	lis := network.Listen("mapper")
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(ctx, srv, lis, time.Second) }()
	conn, err := network.Dial("mapper", rpc.DialOptions{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(conn.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return mapperv1.NewMapperServiceClient(conn)
}
