package conduct

import (
	"cmp"
	"fmt"
	"strings"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Names of the guards, as in syncv1.Hold.
const (
	guardCreates       = "creates"
	guardUpdates       = "updates"
	guardClears        = "clears"
	guardDeactivations = "deactivations"
	guardApproval      = "approval"
	guardEmptySource   = "empty_source"
	guardLittleSource  = "incomplete_source"
)

// Defaults of the guards, as the field map's documentation tells them.
const (
	defaultCreates       = 0.5
	defaultClears        = 0.1
	defaultDeactivations = 0.05
	defaultLeastPeople   = 0.5
	defaultHoldHours     = 72
	defaultShare         = 0.2
	defaultStop          = 0.8
)

// few changes of a kind are no mass change, whatever share they are.
const few = 20

// Past is what the guards know of the connection's earlier runs.
type Past struct {
	// First: no run of this connection that writes to the object has finished.
	First bool
	// People of the last one that has.
	People int64
}

// Guard says what would hold a run with these numbers; nil where nothing does. It is pure. Where several guards trip,
// the first is named and the reason tells of all.
func Guard(g *mapperv1.Guards, plan *ledger.Plan, n ledger.Counts, past Past) *ledger.Hold {
	var names, reasons []string
	trip := func(name, format string, args ...any) {
		names, reasons = append(names, name), append(reasons, fmt.Sprintf(format, args...))
	}
	least := orDefault(g.GetLeastPeople(), defaultLeastPeople)
	switch {
	case n.People == 0 && !g.GetAllowEmptySource():
		trip(guardEmptySource, "There is nobody in the Catalog. Were that so, every record would be a leaver's; more likely the people were not loaded.")
	case !past.First && least > 0 && float64(n.People) < least*float64(past.People):
		trip(guardLittleSource, "The Catalog holds %d people, and held %d in the last run: less than %s of them. It seems to be incomplete.",
			n.People, past.People, percent(least))
	}
	brake := func(name, what string, limit *mapperv1.Brake, share float64, changes, of int64, ofWhat string) {
		if changes <= few {
			return
		}
		if most := limit.GetCount(); most > 0 && changes > most {
			trip(name, "It would %s, and at most %d go without being asked.", fmt.Sprintf(what, changes), most)
			return
		}
		if most := orDefault(limit.GetShare(), share); most > 0 && float64(changes) > most*float64(of) {
			trip(name, "It would %s, which is %s of the %d %s; at most %s go without being asked.",
				fmt.Sprintf(what, changes), percent(float64(changes)/float64(max(of, 1))), of, ofWhat, percent(most))
		}
	}
	if !past.First {
		brake(guardCreates, "create %d records", g.GetCreates(), defaultCreates, plan.Creates, n.People, "people")
	}
	brake(guardUpdates, "update %d records", g.GetUpdates(), 0, plan.Updates, n.People, "people")
	brake(guardClears, "clear %d fields", g.GetClears(), defaultClears, plan.Clears, plan.Values, "values that it writes")
	brake(guardDeactivations, "flag %d records as leavers'", g.GetDeactivations(), defaultDeactivations, plan.Deactivations,
		max(n.Records-n.ForeignRecords, plan.Leavers), "records that are ours")
	if g.GetApproveEveryRun() {
		trip(guardApproval, "Every run waits to be approved.")
	}
	if len(names) == 0 {
		return nil
	}
	return &ledger.Hold{Guard: names[0], Reason: strings.Join(reasons, " "), PlanHash: plan.Hash}
}

// orDefault is a limit where 0 means the default and what is below it none.
func orDefault(v, standard float64) float64 { return max(cmp.Or(v, standard), 0) }

func percent(share float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.1f", share*100), "0"), ".") + " %"
}

// HoldHours is how long a run waits for a decision.
func HoldHours(g *mapperv1.Guards) int {
	if h := int(g.GetHoldHours()); h > 0 {
		return h
	}
	return defaultHoldHours
}

// AllocationLimits are those of a field map.
func AllocationLimits(g *mapperv1.Guards) allocation.Limits {
	limit := func(v, standard float64) float64 {
		if v = cmp.Or(v, standard); v < 0 {
			return -1
		}
		return min(v, 1)
	}
	return allocation.Limits{Share: limit(g.GetAllocationShare(), defaultShare), Stop: limit(g.GetAllocationStop(), defaultStop)}
}
