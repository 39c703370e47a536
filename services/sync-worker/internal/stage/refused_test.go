package stage_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

const sessionGone = `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`

// The API refuses every token: one repeat with another one, and then the run ends with a need to reconnect, which auth
// knows of as well. What was not sent is deferred.
func TestEveryTokenRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, false, w.creates(300))
	var calls atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPatch {
			calls.Add(1)
			return answer(r, http.StatusUnauthorized, sessionGone), nil
		}
		return org.RoundTrip(r)
	})
	err := k.attempt(t.Context())
	var drain *stage.Drain
	if !errors.As(err, &drain) || drain.State != ledger.RunReconnect || drain.Code != "needs_reconnect" {
		t.Fatalf("refused tokens are told as %v", err)
	}
	if w.tokens.again != 1 || calls.Load() != 2 {
		t.Errorf("%d calls, auth was told of %d second refusals", calls.Load(), w.tokens.again)
	}
	w.drain(drain.State, drain.Code)
	if diff := cmp.Diff(map[string]int{"deferred": 300}, byKind(w.outcomes(k.settle()))); diff != "" {
		t.Error(diff)
	}
	if n := w.org.EffectCount(); n != 0 {
		t.Errorf("%d effects", n)
	}
}

// A session ends while auth gets no answer from the token endpoint: nobody has refused the credentials, so the run goes on
// when there is a token again.
func TestNoOtherTokenForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, false, w.creates(300))
	var calls atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPatch && calls.Add(1) == 2 {
			w.org.ExpireSessions()
			w.tokens.mu.Lock()
			w.tokens.absent = 1
			w.tokens.mu.Unlock()
		}
		return org.RoundTrip(r)
	})
	err := k.attempt(t.Context())
	var drain *stage.Drain
	if errors.As(err, &drain) || errs.KindOf(err) != errs.Unavailable || errs.ReasonOf(err) != "salesforce_unreachable" {
		t.Fatalf("trouble is told as %v", err)
	}
	all := w.outcomes(k.settle())
	if diff := cmp.Diff(map[string]int{"created": 300}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
}

// A session ends right at a call of a Bulk job that is never repeated: the next attempt has another token.
func TestSessionEndsAtACallThatIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, hit := range map[string]func(*http.Request) bool{
		"upload": func(r *http.Request) bool { return r.Method == http.MethodPut },
		"start":  func(r *http.Request) bool { return r.Method == http.MethodPatch },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			k := w.planned(create, true, w.creates(300))
			var ended atomic.Bool
			w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
				if strings.Contains(r.URL.Path, "/jobs/ingest") && hit(r) && ended.CompareAndSwap(false, true) {
					w.org.ExpireSessions()
				}
				return org.RoundTrip(r)
			})
			err := k.attempt(t.Context())
			var drain *stage.Drain
			if errors.As(err, &drain) {
				t.Fatalf("a session that has ended is told as %v", drain.Reason)
			}
			all := w.outcomes(k.settle())
			if diff := cmp.Diff(map[string]int{"created": 300}, byKind(all)); diff != "" || !ended.Load() {
				t.Errorf("ended: %v, %s", ended.Load(), diff)
			}
			w.checkWritten(all)
		})
	}
}
