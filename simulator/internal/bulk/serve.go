package bulk

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/query"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/rest"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
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
	i := info{ID: j.id, Operation: j.operation, Object: j.object.Name, CreatedByID: j.caller.UserID, CreatedDate: stamp(j.created), Modstamp: stamp(j.changed), State: j.state,
		ExternalID: j.keyName, Concurrency: "Parallel", ContentType: "CSV", APIVersion: version(j.version)}
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

type createBody struct {
	Object      string `json:"object"`
	Operation   string `json:"operation"`
	ExternalID  string `json:"externalIdFieldName"`
	ContentType string `json:"contentType"`
	Delimiter   string `json:"columnDelimiter"`
	LineEnding  string `json:"lineEnding"`
	Assignment  string `json:"assignmentRuleId"`
	Query       string `json:"query"`
	State       string `json:"state"`
}

func readJSON(c *rest.Call, r io.Reader, v any) bool {
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "JSON_PARSER_ERROR", Message: "the job's JSON cannot be read: " + err.Error()})
		return false
	}
	return true
}

// format reads what upload and results look like; it answers a refusal.
func (j *job) format(c *rest.Call, b createBody) bool {
	if b.ContentType != "" && !strings.EqualFold(b.ContentType, "CSV") {
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : Unsupported content type: "+b.ContentType)
		return false
	}
	j.delimName = strings.ToUpper(b.Delimiter)
	if j.delimName == "" {
		j.delimName = "COMMA"
	}
	var ok bool
	if j.delim, ok = delimiters[j.delimName]; !ok {
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : Invalid column delimiter: "+b.Delimiter)
		return false
	}
	switch strings.ToUpper(b.LineEnding) {
	case "", "LF":
	case "CRLF":
		j.crlf = true
	default:
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : Invalid line ending: "+b.LineEnding)
		return false
	}
	return true
}

func (js *Jobs) newJob(c *rest.Call) *job {
	now := js.db.Now()
	caller := c.Caller()
	caller.Bulk, caller.JobID = true, js.db.NewID("750")
	return &job{id: caller.JobID, version: c.Version, base: c.Base, caller: caller, created: now, changed: now, state: open}
}

var operations = map[string]save.Op{"insert": save.Insert, "update": save.Update, "upsert": save.Upsert, "delete": save.Delete, "harddelete": save.HardDelete}

func (js *Jobs) createIngest(c *rest.Call) {
	body, content := io.Reader(c.R.Body), []byte(nil)
	media, params, _ := mime.ParseMediaType(c.R.Header.Get("Content-Type"))
	isMultipart := strings.HasPrefix(media, "multipart/")
	if isMultipart {
		job, csv, err := parts(c.R.Body, params["boundary"])
		if err != nil {
			fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : "+err.Error())
			return
		}
		body, content = bytes.NewReader(job), csv
	}
	var b createBody
	if !readJSON(c, body, &b) {
		return
	}
	j := js.newJob(c)
	if !j.format(c, b) || !js.target(c, j, b) {
		return
	}
	if isMultipart {
		j.data, j.uploaded = content, true
		j.set(uploadComplete, j.created)
		js.add(j)
		i := j.info(create)
		js.start(func() { js.process(j) })
		reply.JSON(c.W, http.StatusOK, i)
		return
	}
	js.add(j)
	reply.JSON(c.W, http.StatusOK, j.info(create))
}

// target reads object, operation and key of an ingest job; it answers a refusal.
func (js *Jobs) target(c *rest.Call, j *job, b createBody) bool {
	js.db.RLock()
	defer js.db.RUnlock()
	op, known := operations[strings.ToLower(b.Operation)]
	o := c.Schema.Object(b.Object)
	switch {
	case b.Object == "":
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : object is required")
		return false
	case !known:
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : Invalid operation: "+b.Operation)
		return false
	case o == nil || !o.Has('T'): // setup objects have no triggers and no Bulk
		fail(c.W, http.StatusBadRequest, "INVALIDENTITY", "Entity '"+b.Object+"' is not supported by the Bulk API.")
		return false
	}
	j.operation, j.object, j.table, j.assignment = string(op), o, js.db.Table(o.Name), b.Assignment
	if op != save.Upsert {
		return true
	}
	if b.ExternalID == "" {
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : External ID was blank for "+o.Name+". An External ID must be specified for upsert.")
		return false
	}
	f := o.Field(b.ExternalID)
	if f == nil || !f.ExternalID && !f.IDLookup {
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : Field name provided, "+b.ExternalID+" does not match an External ID, Salesforce Id, or indexed field for "+o.Name)
		return false
	}
	j.key, j.keyName = f, f.Name
	return true
}

// parts reads the two parts of a multipart create.
func parts(r io.Reader, boundary string) (job, csv []byte, err error) {
	mr := multipart.NewReader(r, boundary)
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(io.LimitReader(p, maxUpload+1))
		if err != nil {
			return nil, nil, err
		}
		switch p.FormName() {
		case "job":
			job = data
		case "content":
			csv = data
		}
	}
	switch {
	case job == nil || csv == nil:
		return nil, nil, errors.New("a multipart request needs the parts job and content")
	case len(csv) > 100_000:
		return nil, nil, errors.New("the content of a multipart request has at most 100,000 characters")
	}
	return job, csv, nil
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

func (js *Jobs) createQuery(c *rest.Call) {
	var b createBody
	if !readJSON(c, c.R.Body, &b) {
		return
	}
	j := js.newJob(c)
	j.query = true
	if !j.format(c, b) {
		return
	}
	switch strings.ToLower(b.Operation) {
	case "query":
		j.operation = "query"
	case "queryall":
		j.operation = "queryAll"
	default:
		fail(c.W, http.StatusBadRequest, "INVALIDJOB", "InvalidJob : Invalid operation: "+b.Operation)
		return
	}
	js.mu.Lock()
	made := js.queries
	js.mu.Unlock()
	if made >= dailyQuery {
		fail(c.W, http.StatusBadRequest, "LIMIT_EXCEEDED", "Max bulk v2 query jobs (10000) per 24 hrs has been reached ("+strconv.Itoa(made+1)+")")
		return
	}
	if err := js.compile(c, j, b.Query); err != nil {
		fail(c.W, http.StatusBadRequest, err.Code, err.Message)
		return
	}
	j.set(uploadComplete, j.created)
	js.add(j)
	js.mu.Lock()
	js.queries++
	js.mu.Unlock()
	i := j.info(create)
	js.start(func() { js.run(j) })
	reply.JSON(c.W, http.StatusOK, i)
}

// compile checks a Bulk query: what REST can and Bulk cannot is refused.
func (js *Jobs) compile(c *rest.Call, j *job, text string) *soql.Error {
	q, err := soql.Parse(text)
	if err != nil {
		return err
	}
	refuse := func(what string) *soql.Error {
		return &soql.Error{Code: "API_ERROR", Message: what + " is not supported in Bulk Query"}
	}
	switch {
	case len(q.GroupBy) > 0:
		return refuse("GROUP BY")
	case q.Offset > 0:
		return refuse("OFFSET")
	case q.CountOnly() || q.Aggregate():
		return refuse("Aggregate Relationship Query")
	}
	for _, it := range q.Select {
		switch {
		case it.Sub != nil:
			return refuse("Aggregate Relationship Query")
		case it.Func == "FIELDS" && !strings.EqualFold(strings.Join(it.Path, "."), "STANDARD"):
			return refuse("FIELDS(" + strings.ToUpper(strings.Join(it.Path, ".")) + ")")
		}
	}
	js.db.RLock()
	defer js.db.RUnlock()
	if o := c.Schema.Object(q.Object); o != nil && !o.Has('T') {
		return &soql.Error{Code: "INVALIDENTITY", Message: "Entity '" + o.Name + "' is not supported by the Bulk API."}
	}
	plan, err := query.Compile(js.db, c.Schema, q, j.operation == "queryAll", time.UTC)
	if err != nil {
		return err
	}
	_, fields, _ := plan.Columns()
	for _, f := range fields {
		if f.Type == "address" || f.Type == "location" {
			return &soql.Error{Code: "FUNCTIONALITY_NOT_ENABLED", Message: "Selecting compound data not supported in Bulk Query"}
		}
	}
	j.plan, j.table, j.object = plan, plan.Table, plan.Table.Object
	return nil
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
