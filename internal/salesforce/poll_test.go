package salesforce_test

import (
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// poll runs a job of so many rows at so many rows a second through plan, and returns the polls spent and
// the time lost after the job had ended.
func poll(plan salesforce.PollPlan, rows int64, rate float64, progress bool) (polls int, lost, took time.Duration) {
	took = 500*time.Millisecond + time.Duration(float64(rows)/rate*float64(time.Second))
	var elapsed time.Duration
	var processed int64
	for elapsed < took {
		elapsed += plan.Next(polls, elapsed, processed)
		polls++
		if progress && elapsed > 500*time.Millisecond {
			processed = min(rows, int64((elapsed-500*time.Millisecond).Seconds()*rate))
		}
	}
	return polls, elapsed - took, took
}

// TestPollBudgets: an apply of 100,000 rows may take 12 calls, of which create, put, close and three files
// leave 6 polls; a verify by query may take 6, of which create, one file and delete leave 3.
func TestPollBudgets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		rows     int64
		rate     float64
		known    bool // the plan knows the rate
		progress bool
		polls    int
		share    float64 // of the job's time that may be lost
	}{
		{"ingest, small", 2_500, 5_000, false, true, 3, 0.6},
		{"ingest, an org's rate", 100_000, 5_000, false, true, 6, 0.1},
		{"ingest, slow org", 100_000, 500, false, true, 6, 0.15},
		{"ingest, unlimited", 100_000, 200_000, false, true, 3, 0.6},
		{"ingest, large job", 400_000, 5_000, false, true, 6, 0.1},
		{"ingest, known rate", 100_000, 5_000, true, true, 3, 0.1},
		{"query, known rate", 100_000, 20_000, true, false, 3, 0.3},
		{"query, known rate, large", 1_000_000, 20_000, true, false, 3, 0.3},
		{"query, fast", 1_000_000, 1_000_000, false, false, 3, 0.6},
		{"query, unknown rate", 100_000, 20_000, false, false, 5, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan := salesforce.PollPlan{Rows: c.rows}
			if c.known {
				plan.Rate = c.rate
			}
			polls, lost, took := poll(plan, c.rows, c.rate, c.progress)
			t.Logf("%d polls, %v lost of %v", polls, lost, took)
			if polls > c.polls {
				t.Errorf("%d polls, want at most %d", polls, c.polls)
			}
			if share := lost.Seconds() / took.Seconds(); share > c.share {
				t.Errorf("%v lost of %v, which is %.2f; want at most %.2f", lost, took, share, c.share)
			}
		})
	}
}

func TestPollIsBounded(t *testing.T) {
	t.Parallel()
	for _, plan := range []salesforce.PollPlan{{}, {Rows: 1 << 40}, {Rows: 1, Rate: 1e12}, {Rows: 1 << 40, Rate: 1e-6}} {
		for polls := range 10 {
			for _, elapsed := range []time.Duration{0, time.Second, 24 * time.Hour} {
				for _, processed := range []int64{0, 1, 1 << 39, 1 << 41} {
					if d := plan.Next(polls, elapsed, processed); d < 250*time.Millisecond || d > 2*time.Minute {
						t.Errorf("%+v.Next(%d, %v, %d) = %v", plan, polls, elapsed, processed, d)
					}
				}
			}
		}
	}
}
