package access

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

// manyCallers is from how many callers on those who have been quiet are forgotten.
const manyCallers = 10_000

// Rate bounds how often each caller may call, each by a bucket of its own. Nil bounds nothing.
type Rate struct {
	perSecond rate.Limit
	burst     int

	mu      sync.Mutex
	callers map[rpc.Caller]*rate.Limiter
}

// NewRate lets every caller make so many calls a second, and at once as many as burst says.
func NewRate(perSecond float64, burst int) *Rate {
	return &Rate{perSecond: rate.Limit(perSecond), burst: burst, callers: map[rpc.Caller]*rate.Limiter{}}
}

// take counts a call. Its error says when there is room for the next.
func (r *Rate) take(c rpc.Caller) error {
	if r == nil {
		return nil
	}
	now := time.Now()
	r.mu.Lock()
	l, ok := r.callers[c]
	if !ok {
		if len(r.callers) >= manyCallers {
			r.forget(now)
		}
		l = rate.NewLimiter(r.perSecond, r.burst)
		r.callers[c] = l
	}
	r.mu.Unlock()
	if l.AllowN(now, 1) {
		return nil
	}
	err := errs.New(errs.RateLimited, "too_many_calls", "%q makes too many calls: at most %g a second, and %d at once", c.Subject, float64(r.perSecond), r.burst)
	err.RetryAfter = max(time.Duration(float64(time.Second)/float64(r.perSecond)), 10*time.Millisecond)
	return err
}

// forget drops the callers whose bucket is full again: a new one would be the same.
func (r *Rate) forget(now time.Time) {
	for c, l := range r.callers {
		if l.TokensAt(now) >= float64(r.burst) {
			delete(r.callers, c)
		}
	}
}
