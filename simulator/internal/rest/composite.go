package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
)

const (
	maxSubrequests = 25
	maxGraphs      = 75
	maxNodes       = 500
	maxTree        = 200
	maxTreeDepth   = 5
	graphsFailed   = 14 // after so many failed graphs the rest is not tried
)

// composite serves /composite and what is below it.
func (a *API) composite(c *Call, path []string) {
	what := ""
	if len(path) > 0 {
		what = strings.ToLower(path[0])
	}
	switch {
	case what == "" && c.R.Method == http.MethodGet:
		reply.JSON(c.W, http.StatusOK, map[string]string{"tree": c.Base + "/composite/tree", "batch": c.Base + "/composite/batch", "sobjects": c.Base + "/composite/sobjects", "graph": c.Base + "/composite/graph"})
	case what == "sobjects":
		a.collections(c, path[1:])
	case !c.method(http.MethodPost):
	case what == "":
		a.compositeRequests(c)
	case what == "batch" && len(path) == 1:
		a.batch(c)
	case what == "graph" && len(path) == 1:
		a.graphs(c)
	case what == "tree" && len(path) == 2:
		a.tree(c, path[1])
	default:
		reply.NotFound(c.W)
	}
}

type subrequest struct {
	Method      string            `json:"method"`
	URL         string            `json:"url"`
	ReferenceID string            `json:"referenceId"`
	Body        json.RawMessage   `json:"body"`
	RichInput   json.RawMessage   `json:"richInput"`
	Headers     map[string]string `json:"httpHeaders"`
}

type subresponse struct {
	Body        json.RawMessage   `json:"body"`
	Headers     map[string]string `json:"httpHeaders"`
	Status      int               `json:"httpStatusCode"`
	ReferenceID string            `json:"referenceId"`
}

func (c *Call) decode(v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(c.W, c.R.Body, maxBody))
	if err := dec.Decode(v); err != nil {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "JSON_PARSER_ERROR", Message: err.Error()})
		return false
	}
	return true
}

// captured keeps the answer of a subrequest.
type captured struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *captured) Header() http.Header         { return w.header }
func (w *captured) WriteHeader(status int)      { w.status = status }
func (w *captured) Write(b []byte) (int, error) { return w.body.Write(b) }

// sub answers one subrequest as if it had come alone, without counting it.
func (a *API) sub(c *Call, method, target string, body []byte, headers map[string]string, tx *save.Tx) *captured {
	w := &captured{header: http.Header{}, status: http.StatusOK}
	u, err := url.Parse(strings.ReplaceAll(target, " ", "%20"))
	if err != nil {
		reply.Errors(w, http.StatusBadRequest, reply.Error{Code: "MALFORMED_REQUEST", Message: "the url of a subrequest cannot be read"})
		return w
	}
	segments := Segments(u.EscapedPath())
	if len(segments) >= 2 && strings.EqualFold(segments[0], "services") && strings.EqualFold(segments[1], "data") {
		segments = segments[2:]
	}
	version := ""
	if len(segments) > 0 {
		version, _, _ = a.ParseVersion(segments[0])
	}
	if version == "" {
		reply.NotFound(w)
		return w
	}
	r, err := http.NewRequestWithContext(c.R.Context(), strings.ToUpper(method), "/?"+u.RawQuery, bytes.NewReader(body))
	if err != nil {
		reply.Errors(w, http.StatusBadRequest, reply.Error{Code: "MALFORMED_REQUEST", Message: "the method of a subrequest cannot be read"})
		return w
	}
	for _, h := range []string{"Sforce-Call-Options", "Sforce-Duplicate-Rule-Header", "Sforce-Query-Options"} {
		if v := c.R.Header.Get(h); v != "" {
			r.Header.Set(h, v)
		}
	}
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	one := *c
	one.W, one.R, one.Version, one.Base, one.Path, one.Tx = w, r, version, "/services/data/v"+version, segments[1:], tx
	if len(one.Path) > 0 && strings.EqualFold(one.Path[0], "composite") && (len(one.Path) == 1 || !strings.EqualFold(one.Path[1], "sobjects")) {
		reply.Errors(w, http.StatusBadRequest, reply.Error{Code: "INVALID_INPUT", Message: "composite requests cannot be nested"})
		return w
	}
	a.Serve(&one)
	return w
}

func (w *captured) json() json.RawMessage {
	if w.body.Len() == 0 {
		return json.RawMessage("null")
	}
	return w.body.Bytes()
}

func (w *captured) shown() map[string]string {
	out := map[string]string{}
	for _, h := range []string{"Location", "ETag", "Last-Modified"} {
		if v := w.header.Get(h); v != "" && (h == "Location" || w.status == http.StatusNotModified) {
			out[h] = v
		}
	}
	return out
}

func (a *API) compositeRequests(c *Call) {
	var body struct {
		AllOrNone bool         `json:"allOrNone"`
		Requests  []subrequest `json:"compositeRequest"`
	}
	if !c.decode(&body) {
		return
	}
	switch {
	case len(body.Requests) == 0:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "JSON_PARSER_ERROR", Message: "compositeRequest is missing or empty"})
		return
	case len(body.Requests) > maxSubrequests:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "LIMIT_EXCEEDED", Message: "The maximum number of composite subrequests is " + strconv.Itoa(maxSubrequests)})
		return
	}
	out, _ := a.run(c, body.Requests, body.AllOrNone)
	reply.JSON(c.W, http.StatusOK, map[string][]subresponse{"compositeResponse": out})
}

var halted = []reply.Error{{Code: "PROCESSING_HALTED", Message: "The transaction was rolled back since another operation in the same transaction failed.", CodeFirst: true}}

// run answers subrequests in order; with allOrNone a failure undoes the others. ok tells that none failed.
func (a *API) run(c *Call, requests []subrequest, allOrNone bool) (out []subresponse, ok bool) {
	results := map[string]any{}
	var tx *save.Tx
	if allOrNone {
		tx = &save.Tx{}
	}
	failed := -1
	for i, q := range requests {
		if failed >= 0 && allOrNone {
			break
		}
		target, body := q.URL, []byte(q.Body)
		bad := ""
		target = fillReferences(target, results, url.QueryEscape, &bad)
		body = []byte(fillReferences(string(body), results, jsonText, &bad))
		var w *captured
		if bad != "" {
			w = &captured{header: http.Header{}}
			reply.Errors(w, http.StatusBadRequest, reply.Error{Code: "PROCESSING_HALTED", Message: "Invalid reference specified. No value for " + bad + " found in " + strings.SplitN(bad, ".", 2)[0], CodeFirst: true})
		} else {
			w = a.sub(c, q.Method, target, body, q.Headers, tx)
		}
		out = append(out, subresponse{w.json(), w.shown(), w.status, q.ReferenceID})
		if w.status >= 400 {
			failed = i
			continue
		}
		var v any
		if json.Unmarshal(w.json(), &v) == nil {
			results[q.ReferenceID] = v
		}
	}
	switch {
	case tx == nil:
	case failed < 0:
		a.Pipeline.Commit(tx)
	default:
		a.Pipeline.Rollback(tx)
		text, _ := reply.Marshal(halted)
		for i, q := range requests {
			if i == failed {
				continue
			}
			r := subresponse{text, map[string]string{}, http.StatusBadRequest, q.ReferenceID}
			if i < len(out) {
				out[i] = r
			} else {
				out = append(out, r)
			}
		}
	}
	return out, failed < 0
}

var reference = regexp.MustCompile(`@\{([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+|\[\d+\])+)\}`)

var referenceStep = regexp.MustCompile(`\.([A-Za-z0-9_]+)|\[(\d+)\]`)

// fillReferences replaces @{ref.path} by what an earlier subrequest answered; bad names the first that has no value.
func fillReferences(text string, results map[string]any, escape func(string) string, bad *string) string {
	return reference.ReplaceAllStringFunc(text, func(m string) string {
		parts := reference.FindStringSubmatch(m)
		v, ok := results[parts[1]]
		for _, step := range referenceStep.FindAllStringSubmatch(parts[2], -1) {
			switch x := v.(type) {
			case map[string]any:
				v = x[step[1]]
			case []any:
				n, err := strconv.Atoi(step[2])
				v = nil
				if err == nil && n < len(x) {
					v = x[n]
				}
			default:
				v = nil
			}
		}
		switch x := v.(type) {
		case string:
			return escape(x)
		case float64:
			return strconv.FormatFloat(x, 'f', -1, 64)
		case bool:
			return strconv.FormatBool(x)
		}
		_ = ok
		if *bad == "" {
			*bad = parts[1] + parts[2]
		}
		return m
	})
}

// jsonText escapes a text for use inside a JSON string.
func jsonText(s string) string {
	b, err := reply.Marshal(s)
	if err != nil {
		return s
	}
	return string(b[1 : len(b)-1])
}

func (a *API) batch(c *Call) {
	var body struct {
		Halt     bool         `json:"haltOnError"`
		Requests []subrequest `json:"batchRequests"`
	}
	if !c.decode(&body) {
		return
	}
	if len(body.Requests) == 0 || len(body.Requests) > maxSubrequests {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "LIMIT_EXCEEDED", Message: "a batch has 1 to " + strconv.Itoa(maxSubrequests) + " subrequests"})
		return
	}
	type result struct {
		Status int             `json:"statusCode"`
		Result json.RawMessage `json:"result"`
	}
	out := struct {
		HasErrors bool     `json:"hasErrors"`
		Results   []result `json:"results"`
	}{}
	for _, q := range body.Requests {
		if out.HasErrors && body.Halt {
			out.Results = append(out.Results, result{http.StatusPreconditionFailed, json.RawMessage(`[{"errorCode":"BATCH_PROCESSING_HALTED","message":"Batch processing halted per request."}]`)})
			continue
		}
		w := a.sub(c, q.Method, q.URL, q.RichInput, nil, nil)
		out.HasErrors = out.HasErrors || w.status >= 400
		out.Results = append(out.Results, result{w.status, w.json()})
	}
	reply.JSON(c.W, http.StatusOK, out)
}

func (a *API) graphs(c *Call) {
	var body struct {
		Graphs []struct {
			ID       string       `json:"graphId"`
			Requests []subrequest `json:"compositeRequest"`
		} `json:"graphs"`
	}
	if !c.decode(&body) {
		return
	}
	nodes := 0
	for _, g := range body.Graphs {
		nodes += len(g.Requests)
	}
	if len(body.Graphs) == 0 || len(body.Graphs) > maxGraphs || nodes > maxNodes {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "LIMIT_EXCEEDED", Message: "a request has 1 to " + strconv.Itoa(maxGraphs) + " graphs and at most " + strconv.Itoa(maxNodes) + " nodes"})
		return
	}
	type response struct {
		Responses []subresponse `json:"compositeResponse"`
	}
	type graph struct {
		ID       string   `json:"graphId"`
		Response response `json:"graphResponse"`
		OK       bool     `json:"isSuccessful"`
	}
	out := struct {
		Graphs []graph `json:"graphs"`
	}{}
	bad := 0
	for _, g := range body.Graphs {
		if bad >= graphsFailed {
			text, _ := reply.Marshal(halted)
			r := []subresponse{}
			for _, q := range g.Requests {
				r = append(r, subresponse{text, map[string]string{}, http.StatusBadRequest, q.ReferenceID})
			}
			out.Graphs = append(out.Graphs, graph{g.ID, response{r}, false})
			continue
		}
		r, ok := a.run(c, g.Requests, true)
		if !ok {
			bad++
		}
		out.Graphs = append(out.Graphs, graph{g.ID, response{r}, ok})
	}
	reply.JSON(c.W, http.StatusOK, out)
}
