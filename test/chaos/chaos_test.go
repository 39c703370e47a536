// Package chaos_test kills, stops and restarts parts of the system while runs are at work, and then compares the org
// with the files: nothing lost, nothing doubled, every run ended (promises P1 to P4).
//
// A fault is an action at a moment; moments are counted in effects, requests and stages, not in time, so that every
// stage is hit whatever the machine. The list grows by adding rows.
package chaos_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

var (
	faults = flag.Int("faults", 30, "how many faults to inject")
	seed   = flag.Uint64("seed", 1, "seed of the plan of faults")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

const externalID = "CatalogUserId__c"

// fault is something that goes wrong.
type fault struct {
	name string
	do   func(w *world)
}

// The faults. Each leaves the system whole again.
var catalogue = []fault{
	{"kill a worker", func(w *world) { w.worker().Kill(); w.restartDead() }},
	{"kill all workers", func(w *world) {
		for _, p := range w.system.Workers {
			p.Kill()
		}
		w.restartDead()
	}},
	{"stop a worker past its lease", func(w *world) {
		p := w.worker()
		p.Signal(syscall.SIGSTOP)
		w.untilProgress(2 * leaseTTL)
		p.Signal(syscall.SIGCONT)
	}},
	{"kill nats-server", func(w *world) { w.system.NATS.Kill(w.t); w.system.NATS.Start(w.t) }},
	{"stop nats-server for a while", func(w *world) {
		w.system.NATS.Stop(w.t)
		w.wait(2 * time.Second)
		w.system.NATS.Cont(w.t)
	}},
	{"kill a worker and nats-server", func(w *world) {
		w.worker().Kill()
		w.system.NATS.Kill(w.t)
		w.system.NATS.Start(w.t)
		w.restartDead()
	}},
}

const leaseTTL = 2 * time.Second

// world is a system under faults, with one tenant and an org.
type world struct {
	t      *testing.T
	system *harness.System
	x      *harness.Tenant
	org    *simulator.Server
	rng    *rand.Rand
	run    string
	hit    map[string]int // stage -> faults
}

func (w *world) worker() *harness.Process { return w.system.Workers[w.rng.IntN(len(w.system.Workers))] }

func (w *world) restartDead() {
	for _, p := range w.system.Workers {
		if p.Ended() {
			p.Start()
		}
	}
}

// wait lets time pass. Faults that are lengths of time have nothing else to wait for.
func (w *world) wait(d time.Duration) { <-time.After(d) }

// untilProgress waits until the run has gone on without the stopped worker, or d has passed.
func (w *world) untilProgress(d time.Duration) { w.wait(d + d/2) }

// stage is where the run is now; empty when it cannot be asked.
func (w *world) stage() (string, bool) {
	res, err := w.x.Runs.GetRun(w.x.Context(w.t.Context()), &syncv1.GetRunRequest{RunId: w.run})
	if err != nil {
		return "", false
	}
	return res.GetRun().GetStage(), harness.Final(res.GetRun().GetState())
}

// strike waits until the run is in a stage, and a little into it, and injects a fault.
func (w *world) strike(stage string, f fault) bool {
	deadline := time.After(time.Minute)
	for {
		now, ended := w.stage()
		if ended {
			return false
		}
		if now == stage {
			break
		}
		select {
		case <-deadline:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	w.wait(time.Duration(w.rng.IntN(150)) * time.Millisecond)
	w.hit[stage]++
	w.t.Logf("%s: %s", stage, f.name)
	f.do(w)
	return true
}

// TestChaos injects faults at every stage of runs of every kind, and compares the org with the files after each run.
func TestChaos(t *testing.T) {
	t.Parallel()
	org, err := simulator.Start(simulator.Options{
		ExternalIDFields: []string{"Contact." + externalID}, DailyLimit: 10_000_000, BulkRate: 6000, Latency: 15 * time.Millisecond, Seed: *seed,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	s := harness.FiveProcesses(t, harness.Apart{Workers: 3, Schedulers: 2, WorkerFlags: []string{
		"-lease-ttl", leaseTTL.String(), "-sweep", "300ms", "-unknown-wait", "3s", "-max-failures", "200",
	}}, org.URL)
	w := &world{t: t, system: s, org: org, rng: rand.New(rand.NewPCG(*seed, 0)), hit: map[string]int{}}
	w.x = s.Tenant(t, "acme")
	w.x.Link(t, org)
	w.x.SaveMap(t, "Contact", externalID)

	stages := []string{"prepare", "snapshot", "pull", "plan", "apply", "verify", "close"}
	injected, round := 0, 0
	var expect harness.Expect
	for injected < *faults {
		// Every second round goes through the Bulk API, the others through Collections.
		size := 6000
		if round%2 == 1 {
			size = 900
		}
		var file bytes.Buffer
		err := sample.WriteCSV(&file, sample.Options{People: size, Seed: int64(*seed), Changed: min(0.3*float64(round), 0.9), ChangeSeed: int64(round)})
		if err != nil {
			t.Fatal(err)
		}
		w.x.Import(t, file.Bytes(), directoryv1.ImportMode_IMPORT_MODE_FULL)
		expect = harness.Expect{Object: "Contact", ExternalID: externalID, People: harness.ReadPeople(t, file.Bytes())}
		// People who left the Catalog stay in Salesforce.
		expect.Others = liveContacts(org, expect.People)

		run := w.x.Start(t, &syncv1.StartRunRequest{RequestId: fmt.Sprint("round-", round)})
		w.run = run.GetId()
		for i, stage := range stages {
			if injected >= *faults {
				break
			}
			if w.strike(stage, catalogue[(injected+i+round)%len(catalogue)]) {
				injected++
			}
		}
		w.restartDead()
		ended := w.x.Wait(t, run.GetId(), 3*time.Minute)
		harness.Want(t, ended, syncv1.RunState_RUN_STATE_SUCCEEDED, map[string]int64{"people": int64(size), "failed": 0, "mismatched": 0})
		harness.CheckCounts(t, ended, w.x.Outcomes(t, ended.GetId()))
		harness.CheckOrg(t, org, expect)
		checkEpochs(t, org)
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, *seed)
		}
		round++
	}
	for _, stage := range stages {
		if w.hit[stage] == 0 && *faults >= 30 {
			t.Errorf("no fault hit the %s stage: %v", stage, w.hit)
		}
	}
	t.Logf("%d faults in %d rounds: %v", injected, round, w.hit)
}

// liveContacts counts contacts that belong to nobody in the file.
func liveContacts(org *simulator.Server, people []harness.Person) int {
	in := make(map[string]bool, len(people))
	for _, p := range people {
		in[p["id"]] = true
	}
	n := 0
	for r := range org.Records("Contact") {
		if !r.Deleted && !in[r.Fields[externalID]] {
			n++
		}
	}
	return n
}

// checkEpochs: effects of one task never come from an earlier epoch after a later one (promise P3). Every call to
// Salesforce names run, task and epoch.
func checkEpochs(t *testing.T, org *simulator.Server) {
	t.Helper()
	last := make(map[string]int)
	for _, e := range org.Effects() {
		parts := strings.Split(strings.TrimPrefix(e.CallOptions, "client="), "/")
		if len(parts) != 4 || e.BulkJobID != "" {
			continue // a Bulk job works on by itself, whoever made it
		}
		var epoch int
		if _, err := fmt.Sscan(parts[3], &epoch); err != nil {
			continue
		}
		task := parts[1] + "/" + parts[2]
		if epoch < last[task] {
			t.Errorf("effect %d of task %s carries epoch %d after epoch %d", e.Apply, task, epoch, last[task])
		}
		last[task] = epoch
	}
}
