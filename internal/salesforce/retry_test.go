package salesforce_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

const (
	expired    = `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`
	concurrent = `[{"message":"ConcurrentRequests (Concurrent API Requests) Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`
	total      = `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`
	saved      = `[{"id":"0035g00000AbCdEAAV","success":true,"errors":[],"created":true}]`
)

func row() []salesforce.CollectionRow {
	return []salesforce.CollectionRow{{Fields: []salesforce.FieldValue{{Name: "Email", Value: "ann@example.com"}}}}
}

// upsert makes one Collections call: the write of these tests.
func upsert(ctx context.Context, r *rig) error {
	_, err := r.CollectionsUpsert(ctx, "Contact", "Email", row())
	return err
}

// read makes one limits call: the read of these tests.
func read(ctx context.Context, r *rig) error {
	_, err := r.Limits(ctx)
	return err
}

// TestWhatIsRepeated is the retry layer as a table: how an answer is met when the call reads and when it
// writes.
func TestWhatIsRepeated(t *testing.T) {
	t.Parallel()
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>maintenance</html>"))
	}
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	half := func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet {
			reply(w, 200, `{"DailyApiRequests":{"Max":`)
		} else {
			reply(w, 200, `[{"id":"0035g0`)
		}
	}
	cutShort := func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Length", "1000")
		half(w, q)
		breakOff(w)
	}
	encoded := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		reply(w, 200, "x")
	}
	type want struct {
		requests int
		action   salesforce.Action // ActionNone: succeeds
		unknown  bool
	}
	ok := want{2, salesforce.ActionNone, false}
	lost := want{1, salesforce.ActionLookUp, true}
	for _, c := range []struct {
		name        string
		first       http.HandlerFunc
		read, write want
	}{
		{"500", status(500, `[{"errorCode":"UNKNOWN_EXCEPTION","message":"x"}]`), ok, lost},
		{"502 page", status(502, "<html>"), ok, lost},
		{"503", status(503, `[{"errorCode":"SERVER_UNAVAILABLE","message":"x"}]`), ok, lost},
		{"420 edge", status(420, "<html>"), ok, lost},
		{"406 empty", status(406, ""), ok, lost},
		{"429", status(429, ""), ok, ok},
		{"403 concurrent", status(403, concurrent), ok, ok},
		{"403 total", status(403, total), want{1, salesforce.ActionStopUntilWindow, false}, want{1, salesforce.ActionStopUntilWindow, false}},
		{"401 expired", status(401, expired), ok, ok},
		{"401 expired JWT", status(401, `[{"message":"INVALID_JWT_FORMAT","errorCode":"INVALID_AUTH_HEADER"}]`), ok, ok},
		{
			"401 no api scope", status(401, `[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]`),
			want{1, salesforce.ActionConfig, false},
			want{1, salesforce.ActionConfig, false},
		},
		{"400 bug", status(400, `[{"errorCode":"JSON_PARSER_ERROR","message":"x"}]`), want{1, salesforce.ActionJob, false}, want{1, salesforce.ActionJob, false}},
		{"400 too long", status(400, `[{"errorCode":"REQUEST_RUNNING_TOO_LONG","message":"x"}]`), want{1, salesforce.ActionSplit, false}, lost},
		{"maintenance", status(503, `[{"errorCode":"ORG_IN_MAINTENANCE","message":"x"}]`), want{1, salesforce.ActionStopUntilWindow, false}, lost},
		{"200 page", html, ok, lost},
		{"reset", abort, ok, lost},
		{"reply cut short", cutShort, ok, lost},
		{"reply ends early", half, ok, lost},
		{"unknown encoding", encoded, want{1, salesforce.ActionJob, false}, lost},
	} {
		for _, k := range []struct {
			kind string
			want want
			body string
			call func(context.Context, *rig) error
		}{{"read", c.read, "{}", read}, {"write", c.write, saved, upsert}} {
			t.Run(c.name+"/"+k.kind, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, sequence(c.first, status(200, k.body)))
				err := k.call(t.Context(), r)
				wantAction(t, err, k.want.action)
				if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); unknown != k.want.unknown {
					t.Errorf("unknown outcome %v, want %v: %v", unknown, k.want.unknown, err)
				}
				if got := len(r.calls.all()); got != k.want.requests {
					t.Errorf("%d requests, want %d: %v", got, k.want.requests, err)
				}
			})
		}
	}
}

func TestRetriesAreCapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		call func(context.Context, *rig) error
	}{
		{"read", status(503, ""), read},
		{"write that was refused", status(403, concurrent), upsert},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.h)
			wantAction(t, c.call(t.Context(), r), salesforce.ActionRetry)
			all := r.calls.all()
			if len(all) != 5 {
				t.Fatalf("%d requests, want 5", len(all))
			}
			for i, call := range all {
				if call.Attempt != i+1 || !call.Counted {
					t.Errorf("call %d: %+v", i, call)
				}
			}
		})
	}
}

// TestTransactionSecurityEndsAsConfig: a policy of the org that does not relent is for its admin.
func TestTransactionSecurityEndsAsConfig(t *testing.T) {
	t.Parallel()
	r := newRig(t, status(403, `[{"errorCode":"TXN_SECURITY_METERING_ERROR","message":"x"}]`))
	wantAction(t, read(t.Context(), r), salesforce.ActionConfig)
	if n := len(r.calls.all()); n != 5 {
		t.Errorf("%d requests, want 5", n)
	}
}

// TestRefusedTokenIsReplacedOnce: refresh once, repeat once, then give up (no loop).
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	t.Run("second token works", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("Authorization") != "Bearer "+secondToken {
				reply(w, 401, expired)
				return
			}
			reply(w, 200, "{}")
		})
		if err := read(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if n := r.tokens.rejected.Load(); n != 1 {
			t.Errorf("rejected %d times, want once", n)
		}
	})
	for name, same := range map[string]bool{"always refused": false, "no other token": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, status(401, expired))
			r.tokens.same = same
			wantAction(t, read(t.Context(), r), salesforce.ActionRefresh)
			requests := map[bool]int{false: 2, true: 1}[same]
			if got := len(r.calls.all()); got != requests || r.tokens.rejected.Load() != 1 {
				t.Errorf("%d requests, rejected %d times; want %d and once", got, r.tokens.rejected.Load(), requests)
			}
		})
	}
}

// judge is a token source that wants to know of second refusals.
type judge struct {
	*tokens
	verdict error
	refused atomic.Int64
	reject  error
}

func (j *judge) Refused(_ context.Context, t salesforce.Token) error {
	if t.AccessToken.Expose() == secondToken {
		j.refused.Add(1)
	}
	return j.verdict
}

func (j *judge) Reject(ctx context.Context, t salesforce.Token) (salesforce.Token, error) {
	if j.reject != nil {
		return salesforce.Token{}, j.reject
	}
	return j.tokens.Reject(ctx, t)
}

func TestWhoGivesTokensLearnsOfASecondRefusal(t *testing.T) {
	t.Parallel()
	for name, verdict := range map[string]error{"connection is of no use": errs.New(errs.Precondition, "needs_reconnect", "link again"), "another token by now": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := &judge{verdict: verdict}
			r := newRig(t, status(401, expired), func(o *salesforce.Options) {
				j.tokens = o.Tokens.(*tokens)
				o.Tokens = j
			})
			err := read(t.Context(), r)
			wantAction(t, err, salesforce.ActionRefresh)
			if verdict != nil && errs.ReasonOf(err) != "needs_reconnect" {
				t.Errorf("error is %v", err)
			}
			if n := len(r.calls.all()); n != 2 || j.refused.Load() != 1 {
				t.Errorf("%d requests, told %d times", n, j.refused.Load())
			}
		})
	}
}

// TestNoTokenJustNowIsNoRefusal: that auth cannot say now must not end a run as if the credentials were refused.
func TestNoTokenJustNowIsNoRefusal(t *testing.T) {
	t.Parallel()
	for _, reject := range []error{
		errs.New(errs.Unavailable, "salesforce_unreachable", "no OAuth error"),
		errs.New(errs.RateLimited, "too_many_token_requests", "slower"),
		errs.New(errs.Denied, "no_lease", "not held"),
	} {
		r := newRig(t, status(401, expired), func(o *salesforce.Options) { o.Tokens = &judge{tokens: o.Tokens.(*tokens), reject: reject} })
		for _, call := range []func(context.Context, *rig) error{read, upsert} {
			err := call(t.Context(), r)
			if salesforce.ActionOf(err) == salesforce.ActionRefresh || errs.ReasonOf(err) != errs.ReasonOf(reject) {
				t.Errorf("error is %v", err)
			}
		}
	}
	r := newRig(t, status(401, expired), func(o *salesforce.Options) {
		o.Tokens = &judge{tokens: o.Tokens.(*tokens), reject: errs.New(errs.Precondition, "needs_reconnect", "link again")}
	})
	err := read(t.Context(), r)
	wantAction(t, err, salesforce.ActionRefresh)
	if errs.ReasonOf(err) != "needs_reconnect" {
		t.Errorf("error is %v", err)
	}
}

// TestACallThatIsNeverRepeatedSaysThatAnotherTokenIsThere: its caller may make it again.
func TestACallThatIsNeverRepeatedSaysThatAnotherTokenIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, status(401, expired))
	_, err := r.CloseJob(t.Context(), jobID)
	e, ok := errors.AsType[*salesforce.Error](err)
	if !ok || e.Action != salesforce.ActionRefresh || !e.TokenReplaced || len(r.calls.all()) != 1 {
		t.Errorf("error is %v after %d requests", err, len(r.calls.all()))
	}
	r = newRig(t, status(401, expired))
	r.tokens.same = true
	_, err = r.CloseJob(t.Context(), jobID)
	if e, ok := errors.AsType[*salesforce.Error](err); !ok || e.TokenReplaced {
		t.Errorf("there is no other token: %v", err)
	}
}

func TestWriteThatWasNeverSentIsRepeated(t *testing.T) {
	t.Parallel()
	r := newRig(t, status(200, saved))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	if err := l.Close(); err != nil { // nobody listens there now
		t.Fatal(err)
	}
	policy := salesforce.HostPolicy{AllowDev: []string{dead}}
	c, err := salesforce.New(salesforce.Options{
		HTTP: salesforce.NewHTTPClient(policy), Policy: policy, Tokens: &tokens{url: dead},
		APIVersion: "67.0", RetryBase: time.Microsecond, OnCall: r.calls.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CollectionsUpsert(t.Context(), "Contact", "Email", row())
	if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); unknown || err == nil {
		t.Errorf("error %v, want a plain transport error: nothing was sent", err)
	}
	wantAction(t, err, salesforce.ActionRetry)
	if n := len(r.calls.all()); n != 5 {
		t.Errorf("%d attempts, want 5", n)
	}
}

func TestContextOfTheCaller(t *testing.T) {
	t.Parallel()
	// leave makes a server that ends the caller's context once the request has arrived.
	leave := func(t *testing.T) (*rig, context.Context) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		return newRig(t, func(w http.ResponseWriter, q *http.Request) {
			cancel()
			hang(w, q)
		}), ctx
	}
	t.Run("read", func(t *testing.T) {
		t.Parallel()
		r, ctx := leave(t)
		if err := read(ctx, r); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the cancellation", err)
		}
	})
	t.Run("write", func(t *testing.T) {
		t.Parallel()
		r, ctx := leave(t)
		err := upsert(ctx, r)
		wantAction(t, err, salesforce.ActionLookUp)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the cancellation inside", err)
		}
	})
	t.Run("already over", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, hang)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := upsert(ctx, r)
		if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); unknown || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want a plain cancellation: nothing was sent", err)
		}
		if n := len(r.calls.all()); n != 0 {
			t.Errorf("%d exchanges, want none", n)
		}
	})
	t.Run("pause longer than the rest", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, status(503, ""), func(o *salesforce.Options) { o.RetryBase, o.RetryCap = 100*time.Hour, 100*time.Hour })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		wantAction(t, read(ctx, r), salesforce.ActionRetry)
		if n := len(r.calls.all()); n != 1 {
			t.Errorf("%d exchanges, want 1: no use in waiting", n)
		}
	})
}

// TestStalls: a reply that does not start, or stops moving, ends by the client's own clock.
func TestStalls(t *testing.T) {
	t.Parallel()
	headers := func(o *salesforce.Options) {
		o.HeaderTimeout, o.WriteTimeout, o.MaxAttempts = time.Second, time.Second, 1
	}
	idle := func(o *salesforce.Options) { o.IdleTimeout = 50 * time.Millisecond }
	stall := func(w http.ResponseWriter, q *http.Request) {
		reply(w, 200, `[{"id":`)
		_ = http.NewResponseController(w).Flush()
		hang(w, q)
	}
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		call func(context.Context, *rig) error
		opt  func(*salesforce.Options)
		want salesforce.Action
		text string
	}{
		{"no reply to a read", hang, read, headers, salesforce.ActionRetry, "no reply in time"},
		{"no reply to a write", hang, upsert, headers, salesforce.ActionLookUp, "no reply in time"},
		{"a write's reply stops", stall, upsert, idle, salesforce.ActionLookUp, "stopped moving"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.h, c.opt)
			err := c.call(t.Context(), r)
			wantAction(t, err, c.want)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
}

func TestHeadersOfARequest(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		got.Store(q)
		w.Header().Set("Sforce-Limit-Info", "api-usage=10018/100000; per-app-api-usage=17/250(appName=x)")
		reply(w, 200, saved)
	}, func(o *salesforce.Options) { o.AllowDuplicateAlerts = true })
	if a := r.Allocation(); a != (salesforce.Allocation{}) {
		t.Errorf("allocation %+v before any reply", a)
	}
	if err := upsert(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	q := got.Load()
	for name, want := range map[string]string{
		"Authorization":                "Bearer " + firstToken,
		"Sforce-Call-Options":          "client=catalogsync/run1.1",
		"Sforce-Auto-Assign":           "FALSE",
		"Sforce-Duplicate-Rule-Header": "allowSave=true",
		"Content-Type":                 "application/json; charset=UTF-8",
		"Accept-Encoding":              "gzip",
		"Idempotency-Key":              "",
		"X-Idempotency-Key":            "",
		"Cookie":                       "",
	} {
		if v := q.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if q.Method != http.MethodPatch || q.URL.Path != "/services/data/v67.0/composite/sobjects/Contact/Email" {
		t.Errorf("%s %s", q.Method, q.URL.Path)
	}
	if a := r.Allocation(); a.Used != 10018 || a.Max != 100000 || a.At.IsZero() {
		t.Errorf("allocation %+v", a)
	}
	other, err := r.With("run2.7")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.CollectionsUpsert(t.Context(), "Contact", "Email", row()); err != nil {
		t.Fatal(err)
	}
	if v := got.Load().Header.Get("Sforce-Call-Options"); v != "client=catalogsync/run2.7" {
		t.Errorf("call options %q", v)
	}
	if _, err := r.With("a, defaultNamespace=x"); err == nil {
		t.Error("call options with a comma were taken")
	}
}

func TestLongAddressIsRefusedBeforeSending(t *testing.T) {
	t.Parallel()
	r := newRig(t, status(200, "{}"))
	_, err := r.Count(t.Context(), "Contact WHERE "+salesforce.In("Email", make([]string, 6000)))
	if e := asError(t, err); e.Code != salesforce.CodeURITooLong || e.Action != salesforce.ActionSplit {
		t.Errorf("error %+v", e)
	}
	if n := len(r.calls.all()); n != 0 {
		t.Errorf("%d exchanges, want none", n)
	}
}
