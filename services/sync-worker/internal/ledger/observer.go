package ledger

import (
	"maps"
	"sync"
	"time"
)

// observer remembers when it first saw a key's revision. A holder that is alive changes its record more often than a
// lease lasts, so a revision that stays for a whole lease has lost its holder, whatever any wall clock says.
type observer struct {
	mu     sync.Mutex
	seen   map[string]sighting
	pruned time.Time
}

type sighting struct {
	revision uint64
	at       time.Time // carries the monotonic clock
	last     time.Time // when it was looked at again
}

// forgotten is after what time a key that nobody looks at any more is dropped: its task has ended. Open runs are looked
// at every second, and whoever looks later merely begins to watch anew.
const forgotten = 10 * time.Minute

func (o *observer) see(key string, revision uint64) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.seen == nil {
		o.seen = make(map[string]sighting)
	}
	s, ok := o.seen[key]
	if !ok || s.revision != revision {
		s = sighting{revision: revision, at: now}
	}
	s.last = now
	o.seen[key] = s
	if now.Sub(o.pruned) > forgotten {
		o.pruned = now
		maps.DeleteFunc(o.seen, func(_ string, s sighting) bool { return now.Sub(s.last) > forgotten })
	}
	return now.Sub(s.at)
}

func (o *observer) unchangedFor(key string, revision uint64) time.Duration {
	return o.see(key, revision)
}

func (o *observer) forget(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.seen, key)
}
