package stage_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// Of more people than a page holds, whose Leads are gone for good, those who are a Contact are found on every page, and
// each of the others gets one new Lead.
func TestFollowManyPages(t *testing.T) {
	t.Parallel()
	const n = conduct.PartRows + 700
	w := newWorld(t, options{})
	client, err := salesforce.New(salesforce.Options{
		HTTP: w.runner.HTTP, Policy: w.runner.Policy, APIVersion: "67.0", ClientName: "catalogsync", Tokens: stage.NewTokens(w.tokens, "con_1", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	lead, _, err := client.Describe(t.Context(), "Lead", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	w.begin("run2", "Lead", func(s *syncv1.RunSnapshot) {
		s.Related = append(s.Related, s.Describe)
		s.Describe = stage.DescribeProto(lead)
		s.FieldMap = &mapperv1.FieldMap{Object: "Lead", Version: 1, Pairs: []*mapperv1.Pair{
			{Source: "last_name", Target: "LastName"}, {Source: "email", Target: "Email"}, {Constant: "Acme", Target: "Company"},
		}}
	})
	w.runner.Mapper = mapperClient(t, w)
	contacts := make(map[string]string) // by person
	for _, i := range []int{0, 7, conduct.PartRows - 1, conduct.PartRows, n - 1} {
		id, err := w.org.Create("Contact", map[string]string{"LastName": "Lovelace", "Email": email(i)})
		if err != nil {
			t.Fatal(err)
		}
		contacts[person(i)] = id
	}
	lease := w.make(ledger.StagePlan, 0, ledger.Input{}).lease()
	pub := rows.NewPublisher(w.bus, lease.Task())
	lost := rows.NewRows(pub, rows.KindLost, []string{"id", "email", "last_name"}, 1)
	for i := range n {
		row := &rowv1.Row{Id: person(i), Values: []string{person(i), email(i), fmt.Sprint("Last ", i)}}
		if err := lost.Add(t.Context(), 0, fmt.Sprintf("record:00Q%012dAAA\x00%s", i, email(i)), row); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(lost.Close(t.Context()), lease.Settle(t.Context(), ledger.Result{Outputs: pub.Outputs()})); err != nil {
		t.Fatal(err)
	}

	task := w.make(ledger.StageFollow, 0, ledger.Input{}).settle()
	if c := task.Result.Counts; c.Creates != n-int64(len(contacts)) || c.Skipped != int64(len(contacts)) {
		t.Errorf("counts %+v", c)
	}
	all := w.outcomes(task)
	for id, contact := range contacts {
		if o := all[id]; o.GetCode() != "policy_contact" || len(o.GetOtherRecordIds()) != 1 || o.GetOtherRecordIds()[0] != contact {
			t.Errorf("%s ended %v, want Contact %s", id, o, contact)
		}
	}
}
