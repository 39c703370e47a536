package salesforce_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

const (
	firstToken  = "00D5g000001AbCd!AQ.first"
	secondToken = "00D5g000001AbCd!AQ.second"
	jobID       = "7505g00000AbCdEAAV"
)

// tokens hands out one token until it is rejected, then another.
type tokens struct {
	url      string
	rejected atomic.Int64
	same     bool // Reject gives the refused token back
}

func (s *tokens) Token(context.Context) (salesforce.Token, error) {
	t := firstToken
	if s.rejected.Load() > 0 && !s.same {
		t = secondToken
	}
	return salesforce.Token{AccessToken: salesforce.NewAccessToken(t), InstanceURL: s.url}, nil
}

func (s *tokens) Reject(ctx context.Context, _ salesforce.Token) (salesforce.Token, error) {
	s.rejected.Add(1)
	return s.Token(ctx)
}

// calls records the exchanges of a client.
type calls struct {
	mu   sync.Mutex
	list []salesforce.CallInfo
}

func (c *calls) add(_ context.Context, i salesforce.CallInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, i)
}

func (c *calls) all() []salesforce.CallInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]salesforce.CallInfo(nil), c.list...)
}

// rig is a client and the server that it talks to.
type rig struct {
	*salesforce.Client
	server *httptest.Server
	tokens *tokens
	calls  *calls
}

// newRig serves h and points a client with short pauses at it.
func newRig(t testing.TB, h http.HandlerFunc, adjust ...func(*salesforce.Options)) *rig {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	policy := salesforce.HostPolicy{AllowDev: []string{s.URL}}
	r := &rig{server: s, tokens: &tokens{url: s.URL}, calls: new(calls)}
	o := salesforce.Options{
		HTTP: salesforce.NewHTTPClient(policy), Policy: policy, Tokens: r.tokens, APIVersion: "67.0",
		CallOptions: "run1.1", OnCall: r.calls.add, RetryBase: time.Microsecond, RetryCap: time.Millisecond,
	}
	for _, f := range adjust {
		f(&o)
	}
	t.Cleanup(o.HTTP.CloseIdleConnections)
	c, err := salesforce.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Client = c
	return r
}

// reply writes a JSON answer.
func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// replyCSV writes a page of a result file.
func replyCSV(w http.ResponseWriter, locator, rows, body string) {
	w.Header().Set("Content-Type", "text/csv; charset=UTF-8")
	if locator != "" {
		w.Header().Set("Sforce-Locator", locator)
	}
	if rows != "" {
		w.Header().Set("Sforce-NumberOfRecords", rows)
	}
	_, _ = w.Write([]byte(body))
}

// breakOff ends the connection in the middle of an answer.
func breakOff(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// sequence answers the n-th request with the n-th handler and the rest with the last.
func sequence(handlers ...http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		handlers[min(i, len(handlers)-1)](w, r)
	}
}

// hang answers nothing until the client leaves. The server notices that only once the body is read.
func hang(_ http.ResponseWriter, q *http.Request) {
	_, _ = io.Copy(io.Discard, q.Body)
	<-q.Context().Done()
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, code, body) }
}

func wantAction(t *testing.T, err error, want salesforce.Action) {
	t.Helper()
	if got := salesforce.ActionOf(err); got != want {
		t.Errorf("action %v, want %v (error: %v)", got, want, err)
	}
}

func asError(t *testing.T, err error) *salesforce.Error {
	t.Helper()
	e, ok := errors.AsType[*salesforce.Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is no *salesforce.Error", err, err)
	}
	return e
}

// rows collects what a query hands out.
func rows(into *[][]string) func(*salesforce.Record) error {
	return func(r *salesforce.Record) error {
		row := make([]string, len(r.Values))
		for i, v := range r.Values {
			row[i] = v
			if r.Null[i] {
				row[i] = "<null>"
			}
		}
		*into = append(*into, row)
		return nil
	}
}
