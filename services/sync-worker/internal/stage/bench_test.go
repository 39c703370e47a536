package stage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/mapper"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows/rowstest"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// partRows is how many people and records a part of the benchmark has: as many as a part may have.
const partRows = 10_000

// benchPairs are the pairs of the benchmark's field map.
var benchPairs = [][2]string{
	{"id", externalID},
	{"last_name", "LastName"},
	{"email", "Email"},
	{"first_name", "FirstName"},
	{"title", "Title"},
	{"phone", "Phone"},
	{"mobile_phone", "MobilePhone"},
	{"department", "Department"},
	{"city", "MailingCity"},
	{"postal_code", "MailingPostalCode"},
}

// planning is a run of many parts whose people and records lie ready.
type planning struct {
	b      *testing.B
	bus    *rows.Store
	ledger *ledger.Ledger
	runner *stage.Runner
	run    ledger.Run
	person []string
	record []string
	part   int
}

func newPlanning(b *testing.B, external string) *planning {
	log := slog.New(slog.DiscardHandler)
	plain := testkit.Bus(b)
	p := &planning{b: b, bus: rowstest.Store(plain)}
	if err := plain.EnsureStreams(b.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		b.Fatal(err)
	}
	var err error
	p.ledger, err = ledger.Open(b.Context(), plain, ledger.Options{Holder: "one", LeaseTTL: time.Hour, Retention: time.Hour, MaxBytes: ledgerBytes})
	if err != nil {
		b.Fatal(err)
	}
	maps, err := mapper.New(b.Context(), mapper.DefaultConfig(), mapper.Deps{Log: log, Bus: plain})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv := rpc.NewServer(rpc.ServerOptions{Log: log, Stopping: ctx.Done()})
	maps.Register(srv)
	network := rpc.NewMemNet()
	lis := network.Listen("mapper")
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(ctx, srv, lis, time.Second) }()
	conn, err := network.Dial("mapper", rpc.DialOptions{Timeout: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	dir, err := sqlite.Open(b.Context(), b.TempDir()+"/people.db")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cancel()
		if err := errors.Join(conn.Close(), <-served, dir.Close()); err != nil {
			b.Error(err)
		}
	})
	p.runner = &stage.Runner{Log: log, Bus: p.bus, Ledger: p.ledger, Mapper: mapperv1.NewMapperServiceClient(conn), Directory: dir}
	p.run, _, err = p.ledger.CreateRun(b.Context(), ledger.Run{
		ID: "run1", Tenant: "acme", ConnectionID: "con_1", State: ledger.RunRunning, Object: "Contact", ExternalIDField: external,
		Parts: 1, PullMode: ledger.PullBulk, RequestedAt: time.Now(), StartedAt: time.Now(),
	})
	if err != nil {
		b.Fatal(err)
	}
	d := &salesforcev1.ObjectDescribe{Name: "Contact"}
	m := &mapperv1.FieldMap{Object: "Contact", ExternalIdField: external, Version: 1}
	p.record = append(p.record, "Id")
	for _, x := range benchPairs {
		kind := map[string]string{"Email": "email", "Phone": "phone", "MobilePhone": "phone"}[x[1]]
		if kind == "" {
			kind = "string"
		}
		d.Fields = append(d.Fields, &salesforcev1.FieldDescribe{
			Name: x[1], Label: x[1], Type: kind, Length: 80, Createable: true, Updateable: true, Nillable: x[1] != "LastName",
			ExternalId: x[1] == externalID, Unique: x[1] == externalID, IdLookup: x[1] == "Email", Filterable: true,
		})
		m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: x[0], Target: x[1]})
		p.record = append(p.record, x[1])
	}
	p.person = []string{"id", "email", "last_name", "first_name", "title", "phone", "mobile_phone", "department", "city", "postal_code"}
	raw, err := proto.Marshal(&syncv1.RunSnapshot{FieldMap: m, Describe: d})
	if err != nil {
		b.Fatal(err)
	}
	if err := p.ledger.SaveSnapshot(b.Context(), p.run.ID, ledger.Snapshot{Proto: raw}); err != nil {
		b.Fatal(err)
	}
	return p
}

// next lays the people and records of another part ready, and returns the lease of the task that plans it. Of the
// people, changed have another title than their record, and fresh have no record.
func (p *planning) next(changed, fresh int) *ledger.Lease {
	ctx, b := p.b.Context(), p.b
	n := p.part
	p.part++
	lay := func(s ledger.Stage, kind string, columns []string, add func(out *rows.Rows) error) {
		err := p.ledger.CreateTasks(ctx, []ledger.Task{{RunID: p.run.ID, Tenant: p.run.Tenant, Stage: s, Number: n}})
		if err != nil {
			b.Fatal(err)
		}
		lease, err := p.ledger.Claim(ctx, p.run.ID, s, n)
		if err != nil {
			b.Fatal(err)
		}
		pub := rows.NewPublisher(p.bus, lease.Task())
		out := rows.NewRows(pub, kind, columns, n+1)
		if err := errors.Join(add(out), out.Close(ctx), lease.Settle(ctx, ledger.Result{Outputs: pub.Outputs()})); err != nil {
			b.Fatal(err)
		}
	}
	values := func(i int, title string) (id string, all []string) {
		id = fmt.Sprintf("p%d-%d", n, i)
		return id, []string{id, fmt.Sprintf("person%d@example.com", i), "Lovelace " + id, "Ada", title, "+49 30 1234567", "+49 170 1234567", "Analysis", "Berlin", "10115"}
	}
	lay(ledger.StageSnapshot, rows.KindPeople, p.person, func(out *rows.Rows) error {
		for i := range partRows {
			id, v := values(i, "Countess")
			key := v[1]
			if p.run.ExternalIDField != "" {
				key = id + "\x00" + v[1]
			}
			if err := out.Add(ctx, n, key, &rowv1.Row{Id: id, Values: v}); err != nil {
				return err
			}
		}
		return nil
	})
	lay(ledger.StagePull, rows.KindRecords, p.record, func(out *rows.Rows) error {
		for i := range partRows - fresh {
			title := "Countess"
			if i < changed {
				title = "Engineer"
			}
			id, v := values(i, title)
			record := fmt.Sprintf("003%012dAAA", i)
			// In the order of the pairs: id, last name, e-mail, first name, ...
			row := &rowv1.Row{Id: record, Values: append([]string{record, v[0], v[2], v[1]}, v[3:]...)}
			if err := out.Add(ctx, n, id, row); err != nil {
				return err
			}
		}
		return nil
	})
	if err := p.ledger.CreateTasks(ctx, []ledger.Task{{RunID: p.run.ID, Tenant: p.run.Tenant, Stage: ledger.StagePlan, Number: n}}); err != nil {
		b.Fatal(err)
	}
	lease, err := p.ledger.Claim(ctx, p.run.ID, ledger.StagePlan, n)
	if err != nil {
		b.Fatal(err)
	}
	return lease
}

// begin begins another run of the same shape, so that listing its tasks costs the same in every iteration.
func (p *planning) begin() {
	stored, err := p.ledger.Snapshot(p.b.Context(), "run1")
	if err == nil {
		_, _, err = p.ledger.CreateRun(p.b.Context(), p.run)
	}
	if err == nil {
		err = p.ledger.SaveSnapshot(p.b.Context(), p.run.ID, stored)
	}
	if err != nil {
		p.b.Fatal(err)
	}
	p.part = 0
}

// BenchmarkPlan plans parts of 10,000 people: nobody changed, one in a hundred, everybody, and everybody new. The floor
// reads the same rows and writes as many outcomes, and nothing more.
func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct {
		name, external string
		changed, fresh int
	}{{"Unchanged", externalID, 0, 0}, {"OneInAHundred", externalID, partRows / 100, 0}, {"Changed", externalID, partRows, 0}, {"New", "", 0, partRows}} {
		b.Run(c.name, func(b *testing.B) {
			p := newPlanning(b, c.external)
			for round := range b.N {
				b.StopTimer()
				p.run.ID = "run1"
				if round > 0 {
					p.run.ID = fmt.Sprintf("other%d", round)
					p.begin()
				}
				lease := p.next(c.changed, c.fresh)
				b.StartTimer()
				if err := p.runner.Do(b.Context(), p.run, lease); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*partRows/b.Elapsed().Seconds(), "people/s")
		})
	}
	b.Run("Floor", func(b *testing.B) {
		p := newPlanning(b, externalID)
		lease := p.next(0, 0)
		tasks, err := p.ledger.Tasks(b.Context(), p.run.ID)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			pub := rows.NewPublisher(p.bus, lease.Task())
			out := rows.NewOutcomes(pub)
			for _, t := range tasks {
				kind := rows.KindPeople
				if t.Stage == ledger.StagePull {
					kind = rows.KindRecords
				}
				err := rows.Read(b.Context(), p.bus, t, kind, 0, &eventv1.Rows{}, func(m *eventv1.Rows) error {
					if kind == rows.KindRecords {
						return nil
					}
					for _, row := range m.GetBatch().GetRows() {
						o := &syncv1.Outcome{PersonId: row.GetId(), Kind: syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED, RecordId: "003000000000000AAA"}
						if err := out.Add(b.Context(), o); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			if err := out.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*partRows/b.Elapsed().Seconds(), "people/s")
	})
}
