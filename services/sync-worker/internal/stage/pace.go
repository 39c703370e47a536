package stage

import (
	"sync"
	"time"
)

// paces remember how fast an org's Bulk jobs are, so that the next one is looked at when it should be ready: each look
// is an API call, and each second after a job's end is lost. They are a guess kept in memory; a new worker learns anew.
type paces struct {
	mu   sync.Mutex
	rows map[pace]float64
}

// pace names what jobs are alike: those of one connection and stage.
type pace struct{ connection, stage string }

func (w *work) pace() pace { return pace{w.run.ConnectionID, string(w.task.Stage)} }

// rate is in rows a second; 0 when nothing is known.
func (p *paces) rate(k pace) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rows[k]
}

// few is below what says anything about a pace: such a job is mostly start-up time.
const few = 5000

// learn takes a finished job in. The time includes the wait until the last look, so a pace is rather too slow, and the
// next look rather too late, than too early.
func (p *paces) learn(k pace, rows int64, took time.Duration) {
	if rows < few || took <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rows == nil {
		p.rows = make(map[pace]float64)
	}
	rate := float64(rows) / took.Seconds()
	// A look that came late makes a job seem slow; the faster of the two is nearer to the truth, and slowness is learned
	// by and by.
	p.rows[k] = max(rate, p.rows[k]*0.8)
}
