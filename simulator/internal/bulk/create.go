package bulk

import (
	"bytes"
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
	return &job{id: caller.JobID, version: c.Version, base: c.Base, caller: caller, created: now, changed: now, state: open, ended: make(chan struct{})}
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
