package syncworker

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows/rowstest"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// worker is a service with a ledger and with nobody to ask: every task that needs anybody fails.
func worker(t *testing.T, maxFailures int) *Service {
	t.Helper()
	b := testkit.Bus(t)
	if err := b.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	led, err := ledger.Open(t.Context(), b, ledger.Options{Holder: "worker", LeaseTTL: time.Minute, Retention: time.Hour, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	log := testkit.Logger(t)
	return &Service{
		cfg: Config{MaxFailures: maxFailures}, log: log, bus: b, ledger: led, tel: telemetry.Providers{}.OrNoop(),
		conductor: conduct.New(led, b, log, Config{}.conducting(nil)), nudge: make(chan struct{}, 1),
		runner: &stage.Runner{Log: log, Bus: rowstest.Store(b), Ledger: led, Settings: stage.Settings{MaxFailures: maxFailures}},
	}
}

// task makes a run with one task.
func (s *Service) task(t *testing.T, at ledger.Stage) *bus.Message {
	t.Helper()
	_, _, err := s.ledger.CreateRun(t.Context(), ledger.Run{
		ID: "run1", Tenant: "acme", State: ledger.RunRunning, OrgID: "00D1", Object: "Contact", Parts: 1, RequestedAt: time.Now(), StartedAt: time.Now(),
	})
	err = errors.Join(err, s.ledger.CreateTasks(t.Context(), []ledger.Task{{RunID: "run1", Tenant: "acme", Stage: at}}))
	if err != nil {
		t.Fatal(err)
	}
	data, err := proto.Marshal(&eventv1.Task{RunId: "run1", Tenant: "acme", Stage: string(at)})
	if err != nil {
		t.Fatal(err)
	}
	return &bus.Message{Data: data}
}

func (s *Service) record(t *testing.T) (ledger.Run, ledger.Task) {
	t.Helper()
	run, err := s.ledger.Run(t.Context(), "acme", "run1")
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := s.ledger.Tasks(t.Context(), "run1")
	if err != nil {
		t.Fatal(err)
	}
	return run, tasks[0]
}

// Promise P4: a task that fails whatever is done stops its run, and in the stopped run is given up in the end.
func TestATaskThatAlwaysFailsEnds(t *testing.T) {
	t.Parallel()
	s := worker(t, 1)
	m := s.task(t, ledger.StageApply) // what shapes the run was lost
	testkit.Eventually(t, time.Minute, func() error {
		if err := s.handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if _, task := s.record(t); task.State != ledger.TaskSettled {
			return errors.New("not settled yet")
		}
		return nil
	})
	run, task := s.record(t)
	if run.Drain == nil || run.Drain.State != ledger.RunFailed || run.Drain.Reason == "" {
		t.Errorf("the run goes on: %+v", run)
	}
	if !task.Result.Aborted || task.Epoch != 4 {
		t.Errorf("after %d attempts the task is %+v", task.Epoch, task.Result)
	}
}

// A panic counts as a failed attempt: the task does not come again and again for ever.
func TestAPanicIsAFailure(t *testing.T) {
	t.Parallel()
	s := worker(t, 5)
	m := s.task(t, ledger.StageSnapshot)
	if err := s.ledger.SaveSnapshot(t.Context(), "run1", ledger.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if err := s.handle(t.Context(), m); err != nil { // there is no mapper to ask
		t.Fatal(err)
	}
	if _, task := s.record(t); task.State != ledger.TaskWaiting || task.Failures != 1 || task.LastError == "" {
		t.Errorf("after a panic the task is %+v", task)
	}
}
