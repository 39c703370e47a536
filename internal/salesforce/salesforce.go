// Package salesforce is the one client through which workers talk to the API host of a Salesforce org.
//
// It owns the transport: which hosts may be called, time-outs, the only retry layer, the allocation seen
// in Sforce-Limit-Info, typed errors, SOQL quoting, and the REST, Collections and Bulk API 2.0 calls on top.
// It streams: neither a reply nor an upload is ever held whole in memory.
//
// One invariant carries the package: a call that changes the org is never repeated unless Salesforce has
// said that it did nothing. When the answer is lost the caller gets an *UnknownOutcomeError, which is
// neither success nor failure until somebody has looked.
package salesforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"sync/atomic"
	"time"
)

// Options are what New needs. HTTP, Tokens and APIVersion are required.
type Options struct {
	// HTTP makes the exchanges; build it once per process with NewHTTPClient and share it.
	// Its redirect rule and time-out are replaced: the client has its own.
	HTTP *http.Client
	// Policy says which instance origins may be called. It is asked again whenever the origin changes.
	Policy HostPolicy
	// Tokens hands out access tokens.
	Tokens TokenSource
	// APIVersion is the pinned version, for example "67.0".
	APIVersion string
	// ClientName names this program in Salesforce's logs and in the origin of change events
	// (Sforce-Call-Options). Letters, digits and ._/:- only.
	ClientName string
	// CallOptions is added to ClientName after a slash, for example run and epoch. The same alphabet.
	CallOptions string
	// AllowDuplicateAlerts saves Collections rows although a duplicate rule would raise an alert.
	// A rule that blocks still refuses. Bulk jobs do not know the header.
	AllowDuplicateAlerts bool
	// NoCompression asks for plain replies. Of use where the network costs less than unpacking.
	NoCompression bool
	// Log receives one debug line per repeated attempt. Nil discards.
	Log *slog.Logger
	// OnCall is told of every HTTP exchange when it ends: metrics, spans, counting of API calls. It may be
	// called from several goroutines at once.
	OnCall func(context.Context, CallInfo)
	// MaxAttempts caps the exchanges spent on one request, the first included. 5 when 0.
	MaxAttempts int
	// RetryBase is the upper bound of the first pause; it doubles up to RetryCap and the pause is drawn
	// evenly from nothing to the bound. 500 ms and 30 s when 0.
	RetryBase, RetryCap time.Duration
	// HeaderTimeout is how long a read may take until its reply starts. 150 s when 0: Salesforce itself
	// ends a SOQL query after two minutes.
	HeaderTimeout time.Duration
	// WriteTimeout is the same for calls that save records. 11 minutes when 0: Salesforce ends a request
	// after 10, so a later answer cannot come and the outcome is settled by then.
	WriteTimeout time.Duration
	// IdleTimeout ends a reply or an upload that has stopped moving. 60 s when 0.
	IdleTimeout time.Duration
}

// CallInfo describes one HTTP exchange.
type CallInfo struct {
	Op       string        // what was done, for example "query" or "ingest.close"; never data
	Method   string        // HTTP method
	Status   int           // HTTP status, 0 when none arrived
	Code     string        // Salesforce's error code, empty on success
	Attempt  int           // 1 for the first exchange of a request
	Start    time.Time     // when the exchange began
	Dur      time.Duration // until the body was read or given up
	Sent     int64         // body bytes sent
	Received int64         // body bytes received, before unpacking
	Counted  bool          // whether it counts against the org's allocation
	Err      error         // why it failed, nil on success
}

// Client talks to one org. It is safe for concurrent use and cheap to make: what is costly, the
// connections, belongs to Options.HTTP.
type Client struct {
	opt    Options
	http   http.Client
	client string // value of Sforce-Call-Options
	shared *shared
}

// shared is what a Client and its With copies have in common.
type shared struct {
	allocation atomic.Pointer[Allocation]
	clock      atomic.Pointer[time.Time]
	origin     atomic.Pointer[checkedOrigin]
}

var (
	versionPattern = regexp.MustCompile(`^[1-9][0-9]{1,2}\.0$`)
	clientPattern  = regexp.MustCompile(`^[A-Za-z0-9._/:-]{1,200}$`)
)

// New checks o and returns a client. It opens no connection.
func New(o Options) (*Client, error) {
	var errs []error
	if o.HTTP == nil {
		errs = append(errs, errors.New("options lack HTTP: build it with NewHTTPClient"))
	}
	if err := o.Policy.Validate(); err != nil {
		errs = append(errs, err)
	}
	if o.Tokens == nil {
		errs = append(errs, errors.New("options lack Tokens"))
	}
	if !versionPattern.MatchString(o.APIVersion) {
		errs = append(errs, fmt.Errorf("API version %q is not of the form 67.0", o.APIVersion))
	}
	name, err := callOptions(o.ClientName, o.CallOptions)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("salesforce client: %w", errors.Join(errs...))
	}
	setDefault(&o.MaxAttempts, 5)
	setDefault(&o.RetryBase, 500*time.Millisecond)
	setDefault(&o.RetryCap, 30*time.Second)
	setDefault(&o.HeaderTimeout, 150*time.Second)
	setDefault(&o.WriteTimeout, 11*time.Minute)
	setDefault(&o.IdleTimeout, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{opt: o, http: *o.HTTP, client: name, shared: new(shared)}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Jar = nil
	c.http.Timeout = 0 // time-outs are per phase, see exchange
	return c, nil
}

// With returns a client that differs only in its call options, for example of another run or epoch.
// Both see the same allocation.
func (c *Client) With(extra string) (*Client, error) {
	name, err := callOptions(c.opt.ClientName, extra)
	if err != nil {
		return nil, err
	}
	d := *c
	d.client = name
	return &d, nil
}

func callOptions(name, extra string) (string, error) {
	if name == "" {
		name = "catalogsync"
	}
	if extra != "" {
		name += "/" + extra
	}
	if !clientPattern.MatchString(name) {
		return "", fmt.Errorf("client name %q: only letters, digits and ._/:- may be sent to Salesforce, 200 at most", name)
	}
	return "client=" + name, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
