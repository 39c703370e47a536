package simulator

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
)

// faulty answers with whatever faults the plan fires for the request.
func (f *front) faulty(w http.ResponseWriter, r *http.Request, q *request) {
	locator := r.URL.Query().Get("locator") != "" || r.URL.Query().Get("queryLocator") != "" ||
		q.version != "" && len(q.segments) == 5 && (eq(q.segments[3], "query") || eq(q.segments[3], "queryAll"))
	var final *fault.Rule
	shaped := false
	rules := f.s.faults.Request(r, q.route, locator)
	for i := range rules {
		switch rule := &rules[i]; rule.Kind {
		case fault.Latency:
			if !pause(r, time.Duration(rule.Delay)) {
				return
			}
		case fault.SlowHeaders, fault.Trickle, fault.Bandwidth:
			shaped = true
		default:
			final = rule
		}
	}
	switch {
	case final != nil:
		f.misbehave(w, r, q, final)
	case shaped:
		rec := newRecorder()
		f.serve(rec, r, q)
		rec.send(w, r, rules)
	default:
		f.serve(w, r, q)
	}
}

func eq(a, b string) bool { return len(a) == len(b) && bytes.EqualFold([]byte(a), []byte(b)) }

func (f *front) misbehave(w http.ResponseWriter, r *http.Request, q *request, rule *fault.Rule) {
	delay := time.Duration(rule.Delay)
	status := func(d int) int {
		if rule.Status != 0 {
			return rule.Status
		}
		return d
	}
	if q.version != "" {
		w.Header().Set("Sforce-Limit-Info", limitInfo(f.s.rest.Used.Load(), f.s.rest.Limit))
	}
	switch rule.Kind {
	case fault.Error:
		code, message := rule.Code, rule.Message
		if code == "" {
			code, message = "SERVER_UNAVAILABLE", "Server unavailable"
		}
		reply.Errors(w, status(http.StatusServiceUnavailable), reply.Error{Code: code, Message: message})
	case fault.RequestLimit:
		reply.Errors(w, http.StatusForbidden, reply.Error{Code: "REQUEST_LIMIT_EXCEEDED", Message: "TotalRequests Limit exceeded."})
	case fault.Concurrent:
		reply.Errors(w, http.StatusForbidden, reply.Error{Code: "REQUEST_LIMIT_EXCEEDED", Message: "ConcurrentRequests (Concurrent API Requests) Limit exceeded."})
	case fault.ExpiredLocator:
		reply.Errors(w, http.StatusBadRequest, reply.Error{Code: "INVALID_QUERY_LOCATOR", Message: "invalid query locator"})
	case fault.Session:
		token, _ := bearer(r)
		f.s.oauth.Expire(token)
		reply.Errors(w, http.StatusUnauthorized, reply.Error{Code: "INVALID_SESSION_ID", Message: "Session expired or invalid"})
	case fault.HTML:
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		w.WriteHeader(status(http.StatusOK))
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><head><title>We are down for maintenance</title></head><body><h1>We are down for maintenance.</h1><p>Sorry for the inconvenience. We'll be back shortly. (simulator)</p></body></html>\n")
	case fault.Empty:
		w.WriteHeader(status(http.StatusNotAcceptable))
	case fault.ResetBefore:
		reset(w)
	case fault.HangBefore:
		hold(r, delay)
		reset(w)
	case fault.ResetAfter:
		f.serve(newRecorder(), detached(r), q)
		reset(w)
	case fault.HangAfter:
		f.serve(newRecorder(), detached(r), q)
		hold(r, delay)
		reset(w)
	case fault.Late:
		f.late(w, r, q, delay)
	case fault.Duplicate:
		body, _ := io.ReadAll(r.Body)
		again := r.Clone(r.Context())
		r.Body, again.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
		f.serve(newRecorder(), r, q)
		f.serve(w, again, q)
	case fault.Truncate:
		rec := newRecorder()
		f.serve(rec, r, q)
		maps.Copy(w.Header(), rec.header)
		keep := rec.body.Len() / 2
		if rule.Bytes > 0 {
			keep = min(rule.Bytes, rec.body.Len())
		}
		w.Header().Set("Content-Length", strconv.Itoa(rec.body.Len()+1))
		w.WriteHeader(rec.status)
		_, _ = w.Write(rec.body.Bytes()[:keep])
		if fl, ok := w.(http.Flusher); ok {
			fl.Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// late drops the connection and applies the request later.
func (f *front) late(w http.ResponseWriter, r *http.Request, q *request, delay time.Duration) {
	body, _ := io.ReadAll(r.Body)
	later := detached(r)
	later.Body = io.NopCloser(bytes.NewReader(body))
	f.s.later(delay, func() { f.serve(newRecorder(), later, q) })
	reset(w)
}

// detached is a request that goes on when its client has left.
func detached(r *http.Request) *http.Request {
	return r.WithContext(context.WithoutCancel(r.Context()))
}

// hold keeps the connection for a while, or until the client leaves.
func hold(r *http.Request, d time.Duration) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the client leaves
	if d <= 0 {
		<-r.Context().Done()
		return
	}
	pause(r, d)
}

// reset breaks the connection with a TCP reset.
func reset(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// recorder keeps an answer back.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

// Header is the kept header.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader keeps the status.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write keeps a piece of the body.
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// send sends the kept answer as slowly as the rules want.
func (r *recorder) send(w http.ResponseWriter, req *http.Request, rules []fault.Rule) {
	piece, gap := r.body.Len(), time.Duration(0)
	for _, rule := range rules {
		switch rule.Kind {
		case fault.SlowHeaders:
			if !pause(req, time.Duration(rule.Delay)) {
				return
			}
		case fault.Trickle:
			piece, gap = 64, 50*time.Millisecond
			if rule.Bytes > 0 {
				piece = rule.Bytes
			}
			if rule.Delay > 0 {
				gap = time.Duration(rule.Delay)
			}
		case fault.Bandwidth:
			piece, gap = max(rule.Bytes/20, 1), 50*time.Millisecond
		}
	}
	maps.Copy(w.Header(), r.header)
	w.WriteHeader(r.status)
	for data := r.body.Bytes(); len(data) > 0; {
		n := min(max(piece, 1), len(data))
		if _, err := w.Write(data[:n]); err != nil {
			return
		}
		data = data[n:]
		if gap > 0 {
			if fl, ok := w.(http.Flusher); ok {
				fl.Flush()
			}
			if !pause(req, gap) {
				return
			}
		}
	}
}
