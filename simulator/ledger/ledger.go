// Package ledger owns the append-only record of every effect that was applied to the simulated org's records.
// An entry is written under the same lock as the effect, so that the ledger and the records never disagree;
// apply numbers start at 1 and have no gaps.
package ledger

import (
	"context"
	"iter"
	"strconv"
	"sync"
	"time"
)

// Action is what an effect did to a record.
type Action string

// The actions of an effect.
const (
	Create   Action = "create"
	Update   Action = "update"
	Delete   Action = "delete"     // into the recycle bin
	Purge    Action = "hardDelete" // past the recycle bin
	Undelete Action = "undelete"
)

// Effect is one applied change of one record.
type Effect struct {
	Apply       int64     `json:"apply"`                 // 1, 2, 3, ...: the order in which effects became visible
	Time        time.Time `json:"time"`                  // the org's clock, UTC
	UserID      string    `json:"userId"`                // 18-character id of the acting user
	Object      string    `json:"object"`                // "Contact"
	RecordID    string    `json:"recordId"`              // 18 characters
	ExternalID  string    `json:"externalId,omitempty"`  // value of the object's first external id field after the effect
	Action      Action    `json:"action"`                // what happened
	ContentHash string    `json:"contentHash"`           // 16 hex digits over the record's stored values after the effect, audit fields left out
	RequestID   string    `json:"requestId,omitempty"`   // X-Request-Id of the request that caused it (ours or the caller's)
	BulkJobID   string    `json:"bulkJobId,omitempty"`   // 750...: set when a Bulk job applied it
	CallOptions string    `json:"callOptions,omitempty"` // the Sforce-Call-Options header as sent with the request (for Bulk: with the call that created the job)
}

// entry is an Effect as it is kept: texts that repeat are numbers into names.
type entry struct {
	millis, hash                                 int64
	record, external                             string
	user, object, action, request, job, callOpts uint32
}

const chunkSize = 4096

// Ledger is the append-only list of effects. Its methods may be called at the same time.
type Ledger struct {
	mu     sync.RWMutex
	chunks [][]entry
	count  int64
	names  []string
	byName map[string]uint32
	grown  chan struct{} // closed and replaced whenever an entry is added while someone watches
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{names: []string{""}, byName: map[string]uint32{"": 0}}
}

func (l *Ledger) name(s string) uint32 {
	if n, ok := l.byName[s]; ok {
		return n
	}
	n := uint32(len(l.names))
	l.names = append(l.names, s)
	l.byName[s] = n
	return n
}

// Append adds an effect and returns its apply number; e.Apply and e.ContentHash are ignored in favour of the next
// number and of hash.
func (l *Ledger) Append(e Effect, hash uint64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.chunks) == 0 || len(l.chunks[len(l.chunks)-1]) == chunkSize {
		l.chunks = append(l.chunks, make([]entry, 0, chunkSize))
	}
	last := len(l.chunks) - 1
	l.chunks[last] = append(l.chunks[last], entry{
		millis: e.Time.UnixMilli(), hash: int64(hash), record: e.RecordID, external: e.ExternalID,
		user: l.name(e.UserID), object: l.name(e.Object), action: l.name(string(e.Action)),
		request: l.name(e.RequestID), job: l.name(e.BulkJobID), callOpts: l.name(e.CallOptions),
	})
	l.count++
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return l.count
}

// Len is the number of effects so far, which is also the last apply number.
func (l *Ledger) Len() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.count
}

// Since returns the effects with apply numbers above after, at most limit of them (0: all).
func (l *Ledger) Since(after int64, limit int) []Effect {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if after < 0 {
		after = 0
	}
	n := l.count - after
	if limit > 0 && n > int64(limit) {
		n = int64(limit)
	}
	if n <= 0 {
		return nil
	}
	out := make([]Effect, 0, n)
	for i := after; i < after+n; i++ {
		out = append(out, l.at(i))
	}
	return out
}

func (l *Ledger) at(i int64) Effect {
	e := &l.chunks[i/chunkSize][i%chunkSize]
	return Effect{
		Apply: i + 1, Time: time.UnixMilli(e.millis).UTC(), UserID: l.names[e.user], Object: l.names[e.object],
		RecordID: e.record, ExternalID: e.external, Action: Action(l.names[e.action]), ContentHash: hex16(uint64(e.hash)),
		RequestID: l.names[e.request], BulkJobID: l.names[e.job], CallOptions: l.names[e.callOpts],
	}
}

func hex16(v uint64) string {
	s := strconv.FormatUint(v, 16)
	return "0000000000000000"[len(s):] + s
}

// Watch yields the effects above after and then every new one as it is applied, until ctx ends or the loop stops.
func (l *Ledger) Watch(ctx context.Context, after int64) iter.Seq[Effect] {
	return func(yield func(Effect) bool) {
		for {
			for _, e := range l.Since(after, 1000) {
				if !yield(e) {
					return
				}
				after = e.Apply
			}
			l.mu.Lock()
			if l.count > after {
				l.mu.Unlock()
				continue
			}
			if l.grown == nil {
				l.grown = make(chan struct{})
			}
			grown := l.grown
			l.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-grown:
			}
		}
	}
}
