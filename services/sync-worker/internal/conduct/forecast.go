package conduct

import (
	"math"
	"math/bits"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Kinds of API calls in a forecast, as in syncv1.Plan.
const (
	callsCollections = "collections"
	callsBulk        = "bulk"
	callsQuery       = "query"
	callsLookup      = "lookup"
)

// forecast fills in what applying and verifying a plan will cost. changes are the planned rows of each kind of change.
func forecast(p *ledger.Plan, changes []int64, verify int64, lim Limits) {
	p.ForecastByKind = make(map[string]int64)
	add := func(kind string, calls int64) {
		if calls > 0 {
			p.ForecastByKind[kind] += calls
			p.ForecastAPICalls += calls
		}
	}
	for _, n := range changes {
		kind := callsCollections
		if n > lim.CollectionsMax {
			kind = callsBulk
		}
		add(kind, Forecast(n, lim))
	}
	for _, n := range p.LookupCreates {
		// Each record is looked for before it is made.
		add(callsLookup, (n+349)/350)
		add(callsCollections, (n+199)/200)
	}
	add(callsQuery, forecastVerify(verify, lim))
}

// Forecast is the number of API calls that applying n changes of one action takes: 200 a call through Collections;
// create, upload, close, polls and two result files for each Bulk job.
func Forecast(n int64, lim Limits) int64 {
	if n <= lim.CollectionsMax {
		return (n + 199) / 200
	}
	jobs := (n + lim.BulkRows - 1) / lim.BulkRows
	return jobs * (5 + polls(min(n, lim.BulkRows)))
}

func forecastVerify(n int64, lim Limits) int64 {
	switch {
	case n == 0:
		return 0
	case n <= lim.VerifyByID:
		return (n + 1999) / 2000
	}
	return 3 + (n+249_999)/250_000
}

// polls grows with the logarithm of a job's size, as the poll schedule does.
func polls(rows int64) int64 { return int64(bits.Len64(uint64(rows / 2000))) }

// forecastSeconds is how long applying and verifying will take, from the run of this connection and object whose size was
// nearest: at its pace, and where it had more to do, not shorter than a tenth of its time, for much of a small run is
// start-up. 0 where there is no such run, or nothing to do.
func forecastSeconds(run ledger.Run, plan ledger.Plan, runs []ledger.Run) int64 {
	n := plan.Creates + plan.Updates + plan.Deactivations + plan.Deletes
	if n == 0 {
		return 0
	}
	best, distance := 0.0, math.Inf(1)
	for _, r := range runs {
		if r.ID == run.ID || r.ConnectionID != run.ConnectionID || r.Object != run.Object || !finished(r) || r.Plan == nil || r.Parked {
			continue
		}
		rows := r.Plan.Creates + r.Plan.Updates + r.Plan.Deactivations + r.Plan.Deletes
		began, ended := r.Began[ledger.StageApply], r.Began[ledger.StageClose]
		took := ended.Sub(began).Seconds()
		if rows == 0 || began.IsZero() || took <= 0 {
			continue
		}
		if d := math.Abs(math.Log(float64(n) / float64(rows))); d < distance {
			best, distance = took*max(float64(n)/float64(rows), 0.1), d
		}
	}
	return int64(math.Ceil(best))
}
