package salesforce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// request is what every call is made of. The zero values mean: GET, a read, JSON wanted.
type request struct {
	op     string // name for errors and CallInfo
	method string
	path   string     // below /services/data/vNN.0/, or from the root when it starts with a slash
	link   string     // in place of path and query: a link from a reply
	query  url.Values // escaped by net/url
	header map[string]string
	body   []byte        // kept by the caller, may be sent more than once
	stream func() upload // in place of body: made anew for each exchange
	accept string        // media type that the reply must have: "json" (default), "csv", "none"

	write       bool // changes the org: never repeated unless it certainly had no effect
	once        bool // exactly one exchange, whatever happens
	free        bool // needs no token and is not counted
	notModified bool // 304 is an answer
	saves       bool // saves records: may take Salesforce's ten minutes
}

type upload interface {
	io.ReadCloser
	// wait returns what the producer of the bytes returned, once it has ended.
	wait() error
}

// response is an open reply. Reading it is bounded in size and in time without progress.
type response struct {
	header http.Header
	status int
	origin *url.URL
	body   io.Reader
	ex     *exchange
}

// close ends the exchange. err is what became of reading the body.
func (r *response) close(err error) { r.ex.finish(err) }

const (
	maxJSON = 512 << 20 // one page of 2,000 records with long text areas stays far below
	maxCSV  = 4 << 30   // Salesforce cuts a result page at 1 GB
	maxURI  = 16384     // of URI and headers together
)

type checkedOrigin struct {
	raw string
	url *url.URL
}

// origin checks a token's instance URL; a repeated one costs a comparison.
func (c *Client) origin(raw string) (*url.URL, error) {
	if o := c.shared.origin.Load(); o != nil && o.raw == raw {
		return o.url, nil
	}
	u, err := c.opt.Policy.Check(raw)
	if err != nil {
		return nil, fmt.Errorf("instance URL of the token: %w", err)
	}
	c.shared.origin.Store(&checkedOrigin{raw, u})
	return u, nil
}

func (c *Client) url(r *request, origin *url.URL) (*url.URL, error) {
	if r.link != "" {
		return within(origin, r.link)
	}
	u := *origin
	u.Path = r.path
	if !strings.HasPrefix(r.path, "/") {
		u.Path = "/services/data/v" + c.opt.APIVersion + "/" + r.path
	}
	u.RawQuery = r.query.Encode()
	return &u, nil
}

// once makes one HTTP exchange. It returns a response, or *Error, *TransportError, or an error from before
// anything was sent.
func (c *Client) once(ctx context.Context, r *request, t Token, attempt int) (*response, error) {
	origin, err := c.origin(t.InstanceURL)
	if err != nil {
		return nil, err
	}
	u, err := c.url(r, origin)
	if err != nil {
		return nil, malformed("%s: %v", r.op, err)
	}
	token := t.AccessToken.Expose()
	if n := len(u.RequestURI()) + len(token) + 1024; n > maxURI {
		return nil, &Error{
			Op: r.op, Code: CodeURITooLong, Action: ActionSplit,
			Message: fmt.Sprintf("address and headers would take %d bytes, Salesforce takes %d: ask for less at a time", n, maxURI),
		}
	}
	ex := c.begin(ctx, r, attempt)
	req, up, err := c.build(ex, r, u, token)
	if err != nil {
		ex.finish(err)
		return nil, err
	}
	resp, err := c.http.Do(req) //nolint:bodyclose // the response that is built from it closes it
	if err != nil {
		err = ex.transportError(err)
		if up != nil {
			_ = up.Close()
			ex.uploadErr = up.wait()
		}
		ex.finish(err)
		return nil, err
	}
	ex.open(resp)
	if up != nil {
		// The server may answer before it has read everything; the producer must not be left behind.
		_ = up.Close()
		ex.uploadErr = up.wait()
	}
	c.noteReply(resp.Header)
	out, err := ex.accept(resp, origin)
	if err != nil {
		ex.finish(err)
		return nil, err
	}
	return out, nil
}

func (c *Client) build(ex *exchange, r *request, u *url.URL, token string) (*http.Request, upload, error) {
	var body io.Reader
	var up upload
	switch {
	case r.stream != nil:
		up = r.stream()
		body = &watchedBody{ReadCloser: up, ex: ex}
	case r.body != nil:
		body = bytes.NewReader(r.body)
		ex.sent.Store(int64(len(r.body)))
	}
	req, err := http.NewRequestWithContext(ex.ctx, r.method, u.String(), body)
	if err != nil {
		return nil, up, fmt.Errorf("%s: build request: %w", r.op, withoutURL(err))
	}
	h := req.Header
	h.Set("User-Agent", "catalogsync")
	h.Set("Sforce-Call-Options", c.client)
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	h.Set("Accept", "application/json")
	if r.accept == "csv" {
		h.Set("Accept", "text/csv")
	}
	if !c.opt.NoCompression {
		h.Set("Accept-Encoding", "gzip")
	}
	if r.body != nil {
		h.Set("Content-Type", "application/json; charset=UTF-8")
	}
	for k, v := range r.header {
		h.Set(k, v)
	}
	return req, up, nil
}

// exchange is one HTTP request and its reply: its clock, its counters and its report.
type exchange struct {
	c         *Client
	r         *request
	ctx       context.Context
	parent    context.Context
	cancel    context.CancelCauseFunc
	watch     *time.Timer   // cancels ctx
	moving    atomic.Bool   // a body is on its way in one direction; otherwise the reply is awaited
	header    time.Duration // how long the start of the reply may take
	touched   atomic.Bool   // a connection was there: something may have been sent
	sent      atomic.Int64
	received  int64
	readErr   error // how reading the body from the network failed
	uploadErr error
	body      io.ReadCloser
	info      CallInfo
	finished  bool
}

var (
	errNoReply    = errors.New("no reply in time")
	errNoProgress = errors.New("the connection stopped moving")
)

func (c *Client) begin(ctx context.Context, r *request, attempt int) *exchange {
	ex := &exchange{c: c, r: r, parent: ctx, header: c.opt.HeaderTimeout}
	if r.saves {
		ex.header = c.opt.WriteTimeout
	}
	ex.info = CallInfo{Op: r.op, Method: r.method, Attempt: attempt, Start: time.Now(), Counted: !r.free}
	ctx, ex.cancel = context.WithCancelCause(ctx)
	first := ex.header
	if r.stream != nil {
		first = c.opt.IdleTimeout
		ex.moving.Store(true)
	}
	ex.watch = time.AfterFunc(first, func() {
		if ex.moving.Load() {
			ex.cancel(errNoProgress)
		} else {
			ex.cancel(errNoReply)
		}
	})
	ex.ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { ex.touched.Store(true) },
	})
	return ex
}

// transportError describes why there is no reply, without the URL, which can hold data.
func (ex *exchange) transportError(err error) error {
	err = withoutURL(err)
	if ex.parent.Err() == nil && ex.ctx.Err() != nil {
		err = context.Cause(ex.ctx)
	}
	return &TransportError{Op: ex.r.op, Sent: ex.touched.Load(), Err: err}
}

func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// open starts the clock of the body.
func (ex *exchange) open(resp *http.Response) {
	ex.info.Status = resp.StatusCode
	ex.body = resp.Body
	ex.moving.Store(true)
	ex.watch.Reset(ex.c.opt.IdleTimeout)
}

// accept turns a reply into a response, or into an *Error.
func (ex *exchange) accept(resp *http.Response, origin *url.URL) (*response, error) {
	r := ex.r
	limit := int64(maxJSON)
	if r.accept == "csv" {
		limit = maxCSV
	}
	body, err := ex.unpack(resp, limit)
	if err != nil {
		return nil, err
	}
	out := &response{header: resp.Header, status: resp.StatusCode, origin: origin, body: body, ex: ex}
	switch {
	case resp.StatusCode == http.StatusNotModified && r.notModified:
		return out, nil
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		e := parseError(r.op, resp.StatusCode, body)
		ex.info.Code = e.Code
		return nil, e
	}
	if !contentIs(r.accept, resp) {
		e := parseError(r.op, resp.StatusCode, body)
		e.Code, e.Action, e.MayHaveApplied = CodeNotData, ActionRetry, true
		ex.info.Code = e.Code
		return nil, e
	}
	return out, nil
}

// contentIs guards against pages that arrive with status 200: maintenance, a proxy's login form.
func contentIs(want string, resp *http.Response) bool {
	if want == "none" || resp.StatusCode == http.StatusNoContent || resp.ContentLength == 0 {
		return true
	}
	got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return false
	}
	if want == "csv" {
		return got == "text/csv"
	}
	return got == "application/json"
}

func (ex *exchange) unpack(resp *http.Response, limit int64) (io.Reader, error) {
	var body io.Reader = &progress{ex: ex}
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity":
	case "gzip":
		z := &lazyGzip{src: body}
		body = z
	default:
		return nil, &Error{
			Op: ex.r.op, Status: resp.StatusCode, Code: CodeNotData, Action: ActionJob, MayHaveApplied: true,
			Message: "the reply is packed in a way that was not asked for: " + cut(resp.Header.Get("Content-Encoding")),
		}
	}
	return &limited{r: body, left: limit}, nil
}

// finish closes the body and reports the exchange. Only the first call counts.
func (ex *exchange) finish(err error) {
	if ex.finished {
		return
	}
	ex.finished = true
	if ex.body != nil {
		if err == nil {
			// A few bytes may be left, a line break or the end of a gzip stream: read them so that
			// the connection can be used again.
			_, _ = io.CopyN(io.Discard, ex.body, 4<<10)
		}
		_ = ex.body.Close()
	}
	ex.watch.Stop()
	ex.cancel(nil)
	ex.info.Dur = time.Since(ex.info.Start)
	ex.info.Sent = ex.sent.Load()
	ex.info.Received = ex.received
	ex.info.Err = err
	if ex.c.opt.OnCall != nil {
		ex.c.opt.OnCall(ex.parent, ex.info)
	}
}
