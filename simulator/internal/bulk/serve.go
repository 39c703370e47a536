package bulk

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/rest"
)

// fail answers one error in Bulk's order of keys.
func fail(w http.ResponseWriter, status int, code, message string) {
	reply.Errors(w, status, reply.Error{Code: code, Message: message, CodeFirst: true})
}

// Serve answers a call below /jobs.
func (js *Jobs) Serve(c *rest.Call) {
	if len(c.Path) < 2 {
		reply.NotFound(c.W)
		return
	}
	kind, path := strings.ToLower(c.Path[1]), c.Path[2:]
	if kind != "ingest" && kind != "query" {
		reply.NotFound(c.W)
		return
	}
	isQuery := kind == "query"
	if len(path) == 0 {
		switch {
		case c.R.Method == http.MethodGet || c.R.Method == http.MethodHead:
			js.list(c, isQuery)
		case c.R.Method != http.MethodPost:
			reply.MethodNotAllowed(c.W, c.R.Method, "GET,HEAD,POST")
		case isQuery:
			js.createQuery(c)
		default:
			js.createIngest(c)
		}
		return
	}
	j := js.find(path[0], isQuery)
	if j == nil {
		reply.NotFound(c.W)
		return
	}
	if len(path) == 1 {
		js.jobCall(c, j)
		return
	}
	if len(path) > 2 {
		reply.NotFound(c.W)
		return
	}
	part := strings.ToLower(path[1])
	switch {
	case !isQuery && part == "batches":
		if c.R.Method != http.MethodPut {
			reply.MethodNotAllowed(c.W, c.R.Method, "PUT")
			return
		}
		js.upload(c, j)
	case !isQuery && (part == "successfulresults" || part == "failedresults" || part == "unprocessedrecords") && c.R.Method == http.MethodGet:
		js.results(c, j, part)
	case isQuery && part == "results" && c.R.Method == http.MethodGet:
		js.queryResults(c, j)
	case isQuery && part == "resultpages" && c.R.Method == http.MethodGet:
		js.resultPages(c, j)
	default:
		reply.NotFound(c.W)
	}
}

func (js *Jobs) jobCall(c *rest.Call, j *job) {
	switch c.R.Method {
	case http.MethodGet, http.MethodHead:
		j.mu.Lock()
		i := j.info(full)
		j.mu.Unlock()
		reply.JSON(c.W, http.StatusOK, i)
	case http.MethodPatch, http.MethodPost:
		js.patch(c, j)
	case http.MethodDelete:
		js.delete(c, j)
	default:
		reply.MethodNotAllowed(c.W, c.R.Method, "DELETE,GET,HEAD,PATCH")
	}
}

// version writes an apiVersion as the number with its fraction, 67.0.
type version string

func (v version) MarshalJSON() ([]byte, error) { return []byte(v), nil }

// info is a job as Salesforce sends it, keys in its order.
type info struct {
	ID           string  `json:"id"`
	Operation    string  `json:"operation"`
	Object       string  `json:"object"`
	CreatedByID  string  `json:"createdById"`
	CreatedDate  string  `json:"createdDate"`
	Modstamp     string  `json:"systemModstamp"`
	State        string  `json:"state"`
	ExternalID   string  `json:"externalIdFieldName,omitempty"`
	Concurrency  string  `json:"concurrencyMode"`
	ContentType  string  `json:"contentType"`
	APIVersion   version `json:"apiVersion"`
	JobType      string  `json:"jobType,omitempty"`
	ContentURL   string  `json:"contentUrl,omitempty"`
	LineEnding   string  `json:"lineEnding,omitempty"`
	Delimiter    string  `json:"columnDelimiter,omitempty"`
	Assignment   string  `json:"assignmentRuleId,omitempty"`
	Processed    *int    `json:"numberRecordsProcessed,omitempty"`
	Failed       *int    `json:"numberRecordsFailed,omitempty"`
	Retries      *int    `json:"retries,omitempty"`
	TotalTime    *int64  `json:"totalProcessingTime,omitempty"`
	ActiveTime   *int64  `json:"apiActiveProcessingTime,omitempty"`
	ApexTime     *int64  `json:"apexProcessingTime,omitempty"`
	PKChunking   *bool   `json:"isPkChunkingSupported,omitempty"`
	ErrorMessage string  `json:"errorMessage,omitempty"`
}

// The forms in which a job is shown.
const (
	short  = iota // the reply to PATCH
	create        // the reply to POST
	listed        // in the list
	full
)

func stamp(t time.Time) string {
	return t.UTC().Truncate(time.Second).Format("2006-01-02T15:04:05.000+0000")
}

// info describes the job; j.mu is held.
func (j *job) info(form int) info {
	i := info{
		ID: j.id, Operation: j.operation, Object: j.object.Name, CreatedByID: j.caller.UserID, CreatedDate: stamp(j.created), Modstamp: stamp(j.changed), State: j.state,
		ExternalID: j.keyName, Concurrency: "Parallel", ContentType: "CSV", APIVersion: version(j.version),
	}
	if form == short {
		return i
	}
	i.LineEnding, i.Delimiter, i.Assignment = "LF", j.delimName, j.assignment
	if j.crlf {
		i.LineEnding = "CRLF"
	}
	if !j.query && j.state == open && form != listed {
		i.ContentURL = strings.TrimPrefix(j.base, "/") + "/jobs/ingest/" + j.id + "/batches"
	}
	if form == create {
		return i
	}
	i.JobType = "V2Ingest"
	if j.query {
		i.JobType = "V2Query"
	}
	if form == listed {
		return i
	}
	zero, processed, bad, took, active, apex := 0, j.processed, len(j.bad), j.took.Milliseconds(), j.active.Milliseconds(), int64(0)
	i.Retries, i.TotalTime, i.ErrorMessage = &zero, &took, j.message
	if j.query {
		i.Processed = &processed
		if n, _ := strconv.ParseFloat(j.version, 64); n >= 55 {
			yes := true
			i.PKChunking = &yes
		}
		return i
	}
	i.ActiveTime, i.ApexTime = &active, &apex
	if j.uploaded || j.state != open {
		i.Processed, i.Failed = &processed, &bad
	}
	return i
}

func (js *Jobs) upload(c *rest.Call, j *job) {
	if m, _, err := mime.ParseMediaType(c.R.Header.Get("Content-Type")); err != nil || m != "text/csv" {
		fail(c.W, http.StatusBadRequest, "CLIENTINPUTERROR", "ClientInputError : Content-Type must be text/csv")
		return
	}
	j.mu.Lock()
	state, uploaded := j.state, j.uploaded
	j.mu.Unlock()
	switch {
	case state != open:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "InvalidJobState : the job is not in state Open but "+state)
		return
	case uploaded:
		js.multiple(c, j)
		return
	}
	data := bytes.NewBuffer(make([]byte, 0, max(c.R.ContentLength, 0)+bytes.MinRead))
	n, err := data.ReadFrom(io.LimitReader(c.R.Body, maxUpload+1))
	switch {
	case err != nil:
		fail(c.W, http.StatusBadRequest, "CLIENTINPUTERROR", "ClientInputError : the upload broke off")
		return
	case n > maxUpload:
		fail(c.W, http.StatusBadRequest, "INVALIDBATCH", "InvalidBatch : the upload is larger than 100 MB")
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.uploaded || j.state != open {
		js.multiple(c, j)
		return
	}
	j.data, j.uploaded = data.Bytes(), true
	c.W.WriteHeader(http.StatusCreated)
}

func (js *Jobs) multiple(c *rest.Call, j *job) {
	fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "Found multiple contents for job: <"+j.id+
		">, please 'Close' / 'Abort' / 'Delete' the current Job then create a new Job and make sure you only do 'PUT' once on a given Job.")
}

func (js *Jobs) patch(c *rest.Call, j *job) {
	var b createBody
	if !readJSON(c, c.R.Body, &b) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case strings.EqualFold(b.State, aborted):
		js.abort(c, j)
	case strings.EqualFold(b.State, uploadComplete) && !j.query:
		js.close(c, j)
	default:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "InvalidJobState : a job cannot be set to state '"+b.State+"'")
	}
}

func (js *Jobs) close(c *rest.Call, j *job) {
	switch {
	case j.state != open:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "InvalidJobState : Closing a job in state "+j.state+" not allowed")
		return
	case !j.uploaded:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "InvalidJobState : Closing a job without content not allowed")
		return
	}
	j.set(uploadComplete, js.db.Now())
	js.start(func() { js.process(j) })
	reply.JSON(c.W, http.StatusOK, j.info(short))
}

func (js *Jobs) abort(c *rest.Call, j *job) {
	switch j.state {
	case jobComplete:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed")
		return
	case failed:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "Aborting already Failed Job not allowed")
		return
	case aborted:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "Aborting already Aborted Job not allowed")
		return
	}
	if !j.query && j.rows == nil && len(j.data) > 0 {
		js.prepare(j) // finds the rows, so that they can be handed back as unprocessed
	}
	js.end(j, aborted, "")
	close(j.ended)
	reply.JSON(c.W, http.StatusOK, j.info(short))
}

func (js *Jobs) delete(c *rest.Call, j *job) {
	j.mu.Lock()
	state := j.state
	j.mu.Unlock()
	if state == open || state == inProgress || j.query && state == uploadComplete {
		fail(c.W, http.StatusBadRequest, "API_ERROR", "Error encountered when deleting the job because the job is not terminated")
		return
	}
	js.remove(j.id)
	c.W.WriteHeader(http.StatusNoContent)
}

func (js *Jobs) list(c *rest.Call, queries bool) {
	q := c.R.URL.Query()
	var after int
	if l := q.Get("queryLocator"); l != "" {
		_, n, _ := strings.Cut(l, "-")
		var err error
		if after, err = strconv.Atoi(n); err != nil || after < 0 {
			reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "INVALID_QUERY_LOCATOR", Message: "invalid query locator"})
			return
		}
	}
	want := strings.ToLower(q.Get("jobType"))
	js.mu.Lock()
	var all []*job
	for _, id := range js.order {
		j := js.jobs[id]
		if j == nil || js.db.Now().Sub(j.created) > retention || queries && !j.query || want == "v2ingest" && j.query || want == "v2query" && !j.query || want == "classic" || want == "bigobjectingest" {
			continue
		}
		all = append(all, j)
	}
	js.mu.Unlock()
	after = min(after, len(all))
	end := min(after+listPage, len(all))
	out := struct {
		Done    bool    `json:"done"`
		Records []info  `json:"records"`
		Next    *string `json:"nextRecordsUrl"`
	}{Done: end == len(all), Records: []info{}}
	for _, j := range all[after:end] {
		j.mu.Lock()
		out.Records = append(out.Records, j.info(listed))
		j.mu.Unlock()
	}
	if end < len(all) {
		next := c.Base + "/" + strings.ToLower(strings.Join(c.Path[:2], "/")) + "?queryLocator=" + js.db.FixedID("01g", 1) + "-" + strconv.Itoa(end)
		out.Next = &next
	}
	reply.JSON(c.W, http.StatusOK, out)
}

// page reads locator and maxRecords of a result call; it answers a refusal.
func page(c *rest.Call, total int) (from, to int, ok bool) {
	q := c.R.URL.Query()
	size := pageRows
	if m := q.Get("maxRecords"); m != "" {
		n, err := strconv.Atoi(m)
		if err != nil || n < 1 {
			fail(c.W, http.StatusBadRequest, "API_ERROR", "maxRecords is not a positive number: "+m)
			return 0, 0, false
		}
		size = n
	}
	if l := q.Get("locator"); l != "" && l != "null" {
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(l, "="))
		n, err2 := strconv.Atoi(string(b))
		if err != nil || err2 != nil || n < 0 || n > total {
			fail(c.W, http.StatusBadRequest, "INVALID_QUERY_LOCATOR", "invalid query locator")
			return 0, 0, false
		}
		from = n
	}
	return from, min(from+size, total), true
}

func locator(n int) string { return base64.RawStdEncoding.EncodeToString([]byte(strconv.Itoa(n))) }

// pageHeaders sets what a page of a result file says about itself.
func pageHeaders(c *rest.Call, from, to, total int) {
	h := c.W.Header()
	h.Set("Content-Type", "text/csv; charset=UTF-8")
	h.Set("Sforce-NumberOfRecords", strconv.Itoa(to-from))
	next := "null"
	if to < total {
		next = locator(to)
	}
	h.Set("Sforce-Locator", next)
}
