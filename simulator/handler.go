package simulator

import (
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/oauth"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/rest"
)

// front is the org's HTTP face: it counts, applies faults, and hands requests to OAuth, REST and Bulk.
type front struct {
	s *Server

	mu       sync.Mutex
	requests int64
	routes   map[string]int64
}

// request is what the front knows of a request before it is answered.
type request struct {
	segments []string // of the whole path, unescaped
	version  string   // "67.0" below /services/data/v67.0
	retired  bool
	route    string // for faults: the path below the version, or all of it
	id       string
}

// maxDrain is how much of a body that nobody wanted is read.
const maxDrain = 256 << 20

// maxURI is how many bytes a URI may have.
const maxURI = 16_384

var looksLikeID = regexp.MustCompile(`^[a-zA-Z0-9]{15}([a-zA-Z0-9]{3})?(-\d+)?$`)

// name is the route with ids and key values left out, for the counters.
func (q *request) name(method string) string {
	parts := strings.Split(strings.Trim(q.route, "/"), "/")
	for i, p := range parts {
		if looksLikeID.MatchString(p) && strings.ContainsAny(p, "0123456789") {
			parts[i] = "{id}"
		}
	}
	if len(parts) >= 4 && strings.EqualFold(parts[0], "sobjects") {
		parts = append(parts[:3], "{value}")
	}
	return method + " /" + strings.Join(parts, "/")
}

func (f *front) read(r *http.Request) *request {
	q := &request{segments: rest.Segments(r.URL.EscapedPath()), id: r.Header.Get("X-Request-Id")}
	if q.id == "" || len(q.id) > 100 {
		var b [16]byte
		_, _ = rand.Read(b[:])
		q.id = hex.EncodeToString(b[:])
	}
	rest := q.segments
	if len(q.segments) >= 3 && strings.EqualFold(q.segments[0], "services") && strings.EqualFold(q.segments[1], "data") {
		if v, retired, ok := f.s.rest.ParseVersion(q.segments[2]); ok {
			q.version, q.retired, rest = v, retired, q.segments[3:]
		}
	}
	q.route = "/" + strings.Join(rest, "/")
	return q
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := f.read(r)
	f.mu.Lock()
	f.requests++
	f.routes[q.name(r.Method)]++
	f.mu.Unlock()
	h := w.Header()
	h.Set("X-Sfdc-Request-Id", q.id)
	h.Set("X-Request-Id", q.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "none")
	h.Set("Vary", "Accept-Encoding")
	if len(r.RequestURI) > maxURI {
		w.WriteHeader(http.StatusRequestURITooLong)
		return
	}
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") && r.ContentLength != 0 {
		z, err := gzip.NewReader(r.Body)
		switch {
		case err == nil:
			r.Body = io.NopCloser(z)
		case err != io.EOF: //nolint:errorlint // gzip returns it bare
			reply.Errors(w, http.StatusBadRequest, reply.Error{Code: "POST_BODY_PARSE_ERROR", Message: "the body is not gzip"})
			return
		}
		r.ContentLength = -1
	}
	if d := f.s.opts.Latency; d > 0 && !pause(r, d) {
		return
	}
	f.faulty(w, r, q)
}

// pause waits; it gives false if the client left meanwhile.
func pause(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// serve answers without faults.
func (f *front) serve(w http.ResponseWriter, r *http.Request, q *request) {
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && r.Method != http.MethodHead {
		z := &zipped{ResponseWriter: w}
		defer z.close()
		w = z
	}
	if r.Body != nil {
		// A refused upload is read to its end all the same: the client then gets the refusal and not a broken pipe.
		defer func() { _, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxDrain)) }()
	}
	seg := func(i int) string {
		if i < len(q.segments) {
			return strings.ToLower(q.segments[i])
		}
		return ""
	}
	switch {
	case seg(0) == "services" && seg(1) == "oauth2" && len(q.segments) == 3:
		f.oauth(w, r, seg(2))
	case seg(0) == "services" && seg(1) == "data":
		f.data(w, r, q)
	case seg(0) == "id" && seg(1) == "keys":
		f.s.oauth.Keys(w)
	case seg(0) == "id" && len(q.segments) == 3:
		f.s.oauth.Identity(w, r, q.segments[1], q.segments[2])
	case seg(0) == ".well-known" && seg(1) == "openid-configuration":
		f.s.oauth.Discovery(w, r)
	case len(q.segments) == 0:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "Salesforce simulator, not Salesforce. Versions: /services/data\n")
	default:
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<html><head><title>Not Found</title></head><body>URL No Longer Exists (simulator)</body></html>\n")
	}
}

func (f *front) oauth(w http.ResponseWriter, r *http.Request, what string) {
	switch what {
	case "token":
		f.s.oauth.Token(w, r)
	case "revoke":
		f.s.oauth.Revoke(w, r)
	case "introspect":
		f.s.oauth.Introspect(w, r)
	case "userinfo":
		f.s.oauth.Userinfo(w, r)
	case "authorize":
		f.s.oauth.Authorize(w, r)
	default:
		reply.NotFound(w)
	}
}

// bearer is the token of a request; problem is the text of an unreadable header.
func bearer(r *http.Request) (token, problem string) {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case !ok || rest == "" || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "OAuth"):
		return "", "INVALID_HEADER_TYPE"
	case strings.HasPrefix(rest, "eyJ"):
		return "", "INVALID_JWT_FORMAT"
	}
	return rest, ""
}

// data answers below /services/data.
func (f *front) data(w http.ResponseWriter, r *http.Request, q *request) {
	if len(q.segments) == 2 {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			reply.MethodNotAllowed(w, r.Method, "GET,HEAD")
			return
		}
		f.s.rest.Versions(w)
		return
	}
	token, problem := bearer(r)
	if problem != "" {
		reply.Errors(w, http.StatusUnauthorized, reply.Error{Code: "INVALID_AUTH_HEADER", Message: problem})
		return
	}
	session, ok := f.s.oauth.Check(token)
	switch {
	case !ok:
		reply.Errors(w, http.StatusUnauthorized, reply.Error{Code: "INVALID_SESSION_ID", Message: "Session expired or invalid"})
		return
	case !session.API():
		reply.Errors(w, http.StatusUnauthorized, reply.Error{Code: "INVALID_SESSION_ID", Message: "This session is not valid for use with the REST API"})
		return
	case q.version == "":
		reply.NotFound(w)
		return
	case q.retired:
		reply.Errors(w, http.StatusGone, reply.Error{Code: "UNSUPPORTED_API_VERSION", Message: "Version " + q.version + " is retired"})
		return
	}
	used := f.s.rest.Used.Add(1)
	if used > int64(f.s.rest.Limit) {
		f.s.rest.Used.Add(-1)
		w.Header().Set("Sforce-Limit-Info", limitInfo(used-1, f.s.rest.Limit))
		reply.Errors(w, http.StatusForbidden, reply.Error{Code: "REQUEST_LIMIT_EXCEEDED", Message: "TotalRequests Limit exceeded."})
		return
	}
	w.Header().Set("Sforce-Limit-Info", limitInfo(used, f.s.rest.Limit))
	w.Header().Set("Cache-Control", "no-cache,must-revalidate,max-age=0,no-store,private")
	c := &rest.Call{W: w, R: r, Version: q.version, Base: "/services/data/v" + q.version, Path: q.segments[3:], Session: session, RequestID: q.id, Origin: oauth.Origin(r), Schema: f.s.rest.View(session.UserID)}
	if len(c.Path) > 0 && strings.EqualFold(c.Path[0], "jobs") {
		f.s.bulk.Serve(c)
		return
	}
	// REST answers are made under the database's lock: they are kept until it is free, so that a client that reads slowly
	// holds nobody up.
	rec := newRecorder()
	c.W = rec
	f.s.rest.Serve(c)
	maps.Copy(w.Header(), rec.header)
	w.WriteHeader(rec.status)
	_, _ = w.Write(rec.body.Bytes())
}

func limitInfo(used int64, limit int) string {
	return "api-usage=" + strconv.FormatInt(used, 10) + "/" + strconv.Itoa(limit)
}

// zipped compresses successful JSON and CSV bodies; errors and empty bodies go out as they are.
type zipped struct {
	http.ResponseWriter
	z       *gzip.Writer
	decided bool
}

var zips = sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}

// WriteHeader decides whether to compress.
func (z *zipped) WriteHeader(status int) {
	h := z.Header()
	if !z.decided {
		z.decided = true
		small, err := strconv.Atoi(h.Get("Content-Length"))
		if status < 300 && status != http.StatusNoContent && h.Get("Content-Type") != "" && (err != nil || small > 500) {
			h.Set("Content-Encoding", "gzip")
			h.Del("Content-Length")
			if tag := h.Get("ETag"); tag != "" {
				h.Set("ETag", strings.TrimSuffix(tag, `"`)+`--gzip"`)
			}
			z.z = zips.Get().(*gzip.Writer)
			z.z.Reset(z.ResponseWriter)
		}
	}
	z.ResponseWriter.WriteHeader(status)
}

func (z *zipped) Write(b []byte) (int, error) {
	if !z.decided {
		z.WriteHeader(http.StatusOK)
	}
	if z.z != nil {
		return z.z.Write(b)
	}
	return z.ResponseWriter.Write(b)
}

func (z *zipped) close() {
	if z.z != nil {
		_ = z.z.Close()
		z.z.Reset(nil)
		zips.Put(z.z)
	}
}
