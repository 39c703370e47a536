package ledger

import (
	"sync"
	"time"
)

// observer remembers when it first saw a key's revision. A holder that is alive changes its record more often than a
// lease lasts, so a revision that stays for a whole lease has lost its holder, whatever any wall clock says.
type observer struct {
	mu   sync.Mutex
	seen map[string]sighting
}

type sighting struct {
	revision uint64
	at       time.Time // carries the monotonic clock
}

func (o *observer) see(key string, revision uint64) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = make(map[string]sighting)
	}
	s, ok := o.seen[key]
	if !ok || s.revision != revision {
		s = sighting{revision: revision, at: time.Now()}
		o.seen[key] = s
	}
	return time.Since(s.at)
}

func (o *observer) unchangedFor(key string, revision uint64) time.Duration {
	return o.see(key, revision)
}

func (o *observer) forget(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.seen, key)
}
