package salesforce

import "time"

// PollPlan spaces the polls of a Bulk job: each is an API call, and each second between the end of the job
// and the next poll is lost. It is a pure function of what is known, so a worker may forget it between polls.
type PollPlan struct {
	Rows int64 // rows of the job; 0 when unknown
	// Rate is how many rows a second such a job is expected to take in this org, learned from earlier
	// jobs; 0 when unknown.
	Rate float64
}

const (
	minPoll = 250 * time.Millisecond
	maxPoll = 2 * time.Minute
	// startup is what a job takes beside its rows.
	startup = 300 * time.Millisecond
	// fastRate is assumed when no rate is known: an early look at a slow job costs one call, a late look
	// at a fast one costs the user's time.
	fastRate  = 400_000
	firstLook = 2 * time.Second // at the latest, when no rate is known
)

// Next returns how long to wait before the next poll. polls is how many there have been, elapsed the time
// since the job was closed (or created, for a query), processed the rows that the last poll reported.
//
// The first look comes when the job could be ready. After that a job that reports progress is met where
// its pace says that it ends; one that reports none is met at growing distances.
func (p PollPlan) Next(polls int, elapsed time.Duration, processed int64) time.Duration {
	if polls <= 0 {
		if p.Rate > 0 {
			return clampPoll(startup + rowsAt(p.Rows, p.Rate) - elapsed)
		}
		return clampPoll(min(startup+rowsAt(p.Rows, fastRate), firstLook) - elapsed)
	}
	if left := p.Rows - processed; processed > 0 && left > 0 {
		rest := time.Duration(float64(max(elapsed-startup, elapsed/4)) * float64(left) / float64(processed))
		// An early estimate is mostly start-up time, so it is trusted for a stretch only.
		trust := maxPoll
		switch {
		case polls <= 2 && p.Rate == 0:
			trust = elapsed
		case polls <= 3:
			trust = 4 * elapsed
		}
		return clampPoll(min(rest+rest/20+startup, trust))
	}
	if processed > 0 && p.Rows > 0 {
		return clampPoll(elapsed / 10) // all rows are through, the results are being written
	}
	// Nothing is known but that it takes longer than thought: 1/4, 1/2, 1 and then 3/2 of the time so far.
	growth := []time.Duration{1, 2, 4, 6}[min(polls, 4)-1]
	if p.Rate == 0 {
		growth = 4 // no expectation to be near to
	}
	return clampPoll(elapsed / 4 * growth)
}

func rowsAt(rows int64, rate float64) time.Duration {
	return time.Duration(float64(rows) / rate * float64(time.Second))
}

func clampPoll(d time.Duration) time.Duration { return min(max(d, minPoll), maxPoll) }
