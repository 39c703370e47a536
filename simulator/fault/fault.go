// Package fault owns the faults that a test switches on in the simulated org: which requests they hit and what they do.
// A Plan draws from a seeded source, so that the same plan over the same requests fires the same faults.
package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what a fault does.
type Kind string

// The kinds of fault. "Applied" means that the request had its full effect on the org.
const (
	Error          Kind = "error"           // answer Status/Code/Message, not applied
	ResetBefore    Kind = "reset_before"    // reset the connection, not applied
	ResetAfter     Kind = "reset_after"     // applied, then reset the connection without an answer
	HangAfter      Kind = "hang_after"      // applied, then hold the connection for Delay (0: until the client leaves), then reset it
	HangBefore     Kind = "hang_before"     // not applied: hold the connection for Delay (0: until the client leaves), then reset it
	Late           Kind = "late"            // reset the connection at once, applied Delay later
	SlowHeaders    Kind = "slow_headers"    // applied, headers only after Delay
	Trickle        Kind = "trickle"         // applied, body in pieces of Bytes (default 64) with Delay (default 50 ms) between
	Truncate       Kind = "truncate"        // applied, the body ends after Bytes (default half of it) and the connection breaks
	HTML           Kind = "html"            // an HTML page with Status (default 200) instead of JSON, not applied
	Empty          Kind = "empty"           // Status (default 406) with an empty body, not applied
	Duplicate      Kind = "duplicate"       // the request is applied twice, the second answer is sent
	Latency        Kind = "latency"         // wait Delay before anything happens
	Session        Kind = "session"         // 401 INVALID_SESSION_ID; the request's access token is dead from now on
	RequestLimit   Kind = "request_limit"   // 403 REQUEST_LIMIT_EXCEEDED, TotalRequests
	Concurrent     Kind = "concurrent"      // 403 REQUEST_LIMIT_EXCEEDED, ConcurrentRequests
	ExpiredLocator Kind = "expired_locator" // 400 INVALID_QUERY_LOCATOR; only requests that carry a locator match
	BulkFail       Kind = "bulk_fail"       // a Bulk ingest job fails after Chunks chunks of 10,000 rows; Path and Method are not looked at
	LockRow        Kind = "lock_row"        // a saved row is refused with UNABLE_TO_LOCK_ROW; Path is matched with the object's name ("Contact", "*"), Method with the operation ("update")
	RowError       Kind = "row_error"       // a saved row is refused with Code and Message; matched like LockRow
	Bandwidth      Kind = "bandwidth"       // applied, the body is sent at Bytes per second
)

var kinds = []Kind{
	Error, ResetBefore, ResetAfter, HangAfter, HangBefore, Late, SlowHeaders, Trickle, Truncate, HTML, Empty, Duplicate, Latency,
	Session, RequestLimit, Concurrent, ExpiredLocator, BulkFail, LockRow, RowError, Bandwidth,
}

// Rule says which requests a fault hits and what it does. The zero values of Method, Path, After, Count and Probability
// match everything, always.
type Rule struct {
	Name        string   `json:"name,omitempty"`        // shown in Fired; chosen by the caller
	Kind        Kind     `json:"kind"`                  // what happens
	Method      string   `json:"method,omitempty"`      // "POST"; empty: any
	Path        string   `json:"path,omitempty"`        // pattern over the path below /services/data/vNN.0 (or the whole path of other routes); * any run within or across segments
	After       int      `json:"after,omitempty"`       // let this many matches pass first
	Count       int      `json:"count,omitempty"`       // fire this often; 0: no end
	Probability float64  `json:"probability,omitempty"` // 0 < p <= 1; 0 means 1
	Delay       Duration `json:"delay,omitempty"`       // meaning by kind
	Status      int      `json:"status,omitempty"`      // HTTP status of Error, HTML, Empty
	Code        string   `json:"code,omitempty"`        // errorCode of Error and RowError
	Message     string   `json:"message,omitempty"`     // message of Error and RowError
	Bytes       int      `json:"bytes,omitempty"`       // meaning by kind
	Chunks      int      `json:"chunks,omitempty"`      // BulkFail: chunks that are still processed
}

// Duration is a time.Duration that JSON writes as "1.5s" and reads as that or as nanoseconds.
type Duration time.Duration

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads "250ms" or a number of nanoseconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var n int64
	if json.Unmarshal(b, &n) == nil {
		*d = Duration(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s: want text such as \"250ms\"", b)
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// Validate says what is wrong with a rule.
func (r Rule) Validate() error {
	switch {
	case !slices.Contains(kinds, r.Kind):
		return fmt.Errorf("fault %q: unknown kind %q", r.Name, r.Kind)
	case r.Probability < 0 || r.Probability > 1:
		return fmt.Errorf("fault %q: probability %v is not between 0 and 1", r.Name, r.Probability)
	case r.Count < 0 || r.After < 0 || r.Delay < 0 || r.Bytes < 0 || r.Chunks < 0:
		return fmt.Errorf("fault %q: count, after, delay, bytes and chunks must not be negative", r.Name)
	case r.Status != 0 && (r.Status < 200 || r.Status > 599):
		return fmt.Errorf("fault %q: status %d is not an HTTP status of an answer", r.Name, r.Status)
	}
	return nil
}

type armed struct {
	Rule
	seen, fired int
}

// Firing is one fault that fired.
type Firing struct {
	Number int    `json:"number"` // 1, 2, 3, ...
	Rule   string `json:"rule"`   // the rule's name, or its kind
	Kind   Kind   `json:"kind"`
	Method string `json:"method"`
	Path   string `json:"path"`
}

// Plan is the list of rules in force. Its methods may be called at the same time. The first rule that fires wins.
type Plan struct {
	mu    sync.Mutex
	rng   *rand.Rand
	rules []*armed
	fired []Firing
}

// NewPlan returns an empty plan that draws probabilities from seed.
func NewPlan(seed uint64) *Plan {
	return &Plan{rng: rand.New(rand.NewPCG(seed, 0x5f0a71))}
}

// Add puts rules in force, after those already there.
func (p *Plan) Add(rules ...Rule) error {
	var errs []error
	for _, r := range rules {
		errs = append(errs, r.Validate())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range rules {
		p.rules = append(p.rules, &armed{Rule: r})
	}
	return nil
}

// MustAdd is Add for tests: it panics on a wrong rule.
func (p *Plan) MustAdd(rules ...Rule) {
	if err := p.Add(rules...); err != nil {
		panic(err)
	}
}

// Clear takes all rules out of force. What fired stays listed.
func (p *Plan) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// Rules lists the rules in force.
func (p *Plan) Rules() []Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Rule, 0, len(p.rules))
	for _, a := range p.rules {
		out = append(out, a.Rule)
	}
	return out
}

// Fired lists what has fired so far, in order.
func (p *Plan) Fired() []Firing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.fired)
}

// Request returns the rules that fire for an HTTP request: at most one that is not Latency, Bandwidth, SlowHeaders or
// Trickle, which add up. locator says whether the request resumes a query.
func (p *Plan) Request(r *http.Request, route string, locator bool) []Rule {
	return p.match(r.Method, route, func(k Kind) bool {
		switch k {
		case BulkFail, LockRow, RowError:
			return false
		case ExpiredLocator:
			return locator
		}
		return true
	})
}

// Row returns the rule that fires for one row about to be saved: LockRow or RowError.
func (p *Plan) Row(operation, object string) (Rule, bool) {
	return first(p.match(operation, object, func(k Kind) bool { return k == LockRow || k == RowError }))
}

// Job returns the BulkFail rule that fires for a Bulk ingest job about to be processed.
func (p *Plan) Job(operation, object string) (Rule, bool) {
	return first(p.match(operation, object, func(k Kind) bool { return k == BulkFail }))
}

func first(rules []Rule) (Rule, bool) {
	if len(rules) == 0 {
		return Rule{}, false
	}
	return rules[0], true
}

func (p *Plan) match(method, route string, wanted func(Kind) bool) []Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rules) == 0 {
		return nil
	}
	var out []Rule
	final := false
	for _, a := range p.rules {
		if !wanted(a.Kind) || a.Method != "" && !strings.EqualFold(a.Method, method) || !Match(a.Path, route) {
			continue
		}
		adds := a.Kind == Latency || a.Kind == Bandwidth || a.Kind == SlowHeaders || a.Kind == Trickle
		if final && !adds {
			continue
		}
		a.seen++
		if a.seen <= a.After || a.Count > 0 && a.fired >= a.Count {
			continue
		}
		if a.Probability > 0 && a.Probability < 1 && p.rng.Float64() >= a.Probability {
			continue
		}
		a.fired++
		name := a.Name
		if name == "" {
			name = string(a.Kind)
		}
		p.fired = append(p.fired, Firing{Number: len(p.fired) + 1, Rule: name, Kind: a.Kind, Method: method, Path: route})
		out = append(out, a.Rule)
		final = final || !adds
	}
	return out
}

// Match reports whether a pattern covers a route; * stands for any run of characters, slashes included. The empty
// pattern covers everything; letter case and doubled or trailing slashes do not matter.
func Match(pattern, route string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	clean := func(s string) string { return strings.ToLower(path.Clean("/" + s)) }
	return glob(clean(pattern), clean(route))
}

func glob(p, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && p[i] == s[j]:
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
