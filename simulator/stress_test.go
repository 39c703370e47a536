package simulator_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// TestLedgerIsTheTruth lets many clients save the same few records at once, through every door and under faults, and
// checks that the ledger tells how the org came to be as it is.
func TestLedgerIsTheTruth(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{BulkRate: 50_000})
	o.Faults().MustAdd(
		fault.Rule{Kind: fault.ResetAfter, Path: "/composite/sobjects*", Probability: 0.05}, fault.Rule{Kind: fault.Duplicate, Path: "/sobjects/*", Probability: 0.1},
		fault.Rule{Kind: fault.Late, Path: "/composite/sobjects*", Probability: 0.05, Delay: fault.Duration(5 * time.Millisecond)}, fault.Rule{Kind: fault.LockRow, Path: "Contact", Probability: 0.02},
		fault.Rule{Kind: fault.Error, Status: 500, Probability: 0.02}, fault.Rule{Kind: fault.Truncate, Path: "/composite/sobjects*", Probability: 0.02})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			call := func(method, path, typ, body string) string {
				req := o.request(method, path, body, "Content-Type", typ).WithContext(ctx)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					return ""
				}
				defer res.Body.Close()
				b, _ := io.ReadAll(res.Body)
				return string(b)
			}
			for step := range 40 {
				key := func() string { return fmt.Sprintf("k%d", rng.IntN(60)) }
				switch rng.IntN(5) {
				case 0:
					call("PATCH", "/sobjects/Contact/CatalogUserId__c/"+key(), "application/json", fmt.Sprintf(`{"LastName":"%d-%d"}`, worker, step))
				case 1, 2:
					rows := map[string]bool{}
					for range 20 {
						rows[fmt.Sprintf(`{"attributes":{"type":"Contact"},"LastName":"c%d-%d","CatalogUserId__c":"%s"}`, worker, step, key())] = true
					}
					list := make([]string, 0, len(rows))
					for r := range rows {
						list = append(list, r)
					}
					call("PATCH", "/composite/sobjects/Contact/CatalogUserId__c", "application/json", fmt.Sprintf(`{"allOrNone":%v,"records":[%s]}`, rng.IntN(3) == 0, strings.Join(list, ",")))
				case 3:
					call("DELETE", "/sobjects/Contact/CatalogUserId__c/"+key(), "application/json", "")
				default:
					body := call("POST", "/jobs/ingest", "application/json", upsertJob)
					_, rest, ok := strings.Cut(body, `"id":"`)
					if !ok {
						continue
					}
					id := rest[:18]
					call("PUT", "/jobs/ingest/"+id+"/batches", "text/csv", fmt.Sprintf("CatalogUserId__c,LastName\n%s,b%d\n%s,b%d\n", key(), step, key(), step))
					call("PATCH", "/jobs/ingest/"+id, "application/json", `{"state":"UploadComplete"}`)
				}
			}
		})
	}
	wg.Wait()
	if err := o.Close(); err != nil { // ends jobs and late effects
		t.Fatal(err)
	}
	last := map[string]simulator.Effect{}
	live := map[string]string{} // external id to record
	for i, e := range o.Effects() {
		if e.Apply != int64(i+1) {
			t.Fatalf("effect %d has number %d", i+1, e.Apply)
		}
		before, known := last[e.RecordID]
		switch e.Action {
		case "create":
			if other := live[e.ExternalID]; known || other != "" {
				t.Fatalf("%+v creates what is there (%s)", e, other)
			}
			live[e.ExternalID] = e.RecordID
		case "update", "delete":
			if !known || before.Action == "delete" || live[e.ExternalID] != e.RecordID {
				t.Fatalf("%+v follows %+v", e, before)
			}
			if e.Action == "delete" {
				delete(live, e.ExternalID)
			}
		}
		last[e.RecordID] = e
	}
	records := 0
	for r := range o.Records("Contact") {
		records++
		if e := last[r.ID]; r.Deleted != (e.Action == "delete") || !r.Deleted && live[r.Fields["CatalogUserId__c"]] != r.ID {
			t.Errorf("record %+v, last effect %+v", r, e)
		}
	}
	if records != len(last) || o.Count("Contact") != len(live) || len(live) == 0 {
		t.Errorf("%d records and %d live ones, the ledger tells of %d and %d", records, o.Count("Contact"), len(last), len(live))
	}
}
