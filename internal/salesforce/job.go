package salesforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// JobState is where a Bulk job stands.
type JobState string

// The states, in order. A query job is born UploadComplete.
const (
	JobOpen           JobState = "Open"
	JobUploadComplete JobState = "UploadComplete"
	JobInProgress     JobState = "InProgress"
	JobComplete       JobState = "JobComplete" // finished, perhaps with every row failed
	JobFailed         JobState = "Failed"      // rows already saved stay saved
	JobAborted        JobState = "Aborted"     // the same
)

// Terminal reports whether the state is final.
func (s JobState) Terminal() bool { return s == JobComplete || s == JobFailed || s == JobAborted }

// Job is a Bulk API 2.0 job, of ingest or of query.
type Job struct {
	ID              string
	Operation       string // insert, update, upsert, delete, query, queryAll
	Object          string
	ExternalIDField string
	State           JobState
	Type            string // V2Ingest, V2Query; empty in the replies to create and close
	CreatedByID     string
	Created         time.Time // Salesforce's clock
	Modified        time.Time // the same
	// Processed includes the failed rows. Both are 0 before the upload.
	Processed, Failed int64
	Retries           int
	ProcessingTime    time.Duration
	Message           string // why it failed, for example "InvalidBatch : Field name not found : X"
}

// UnmarshalJSON reads a job as the API writes it.
func (j *Job) UnmarshalJSON(b []byte) error {
	var w struct {
		ID                     string   `json:"id"`
		Operation              string   `json:"operation"`
		Object                 string   `json:"object"`
		ExternalIDFieldName    string   `json:"externalIdFieldName"`
		State                  JobState `json:"state"`
		JobType                string   `json:"jobType"`
		CreatedByID            string   `json:"createdById"`
		CreatedDate            string   `json:"createdDate"`
		SystemModstamp         string   `json:"systemModstamp"`
		NumberRecordsProcessed int64    `json:"numberRecordsProcessed"`
		NumberRecordsFailed    int64    `json:"numberRecordsFailed"`
		Retries                int      `json:"retries"`
		TotalProcessingTime    int64    `json:"totalProcessingTime"`
		ErrorMessage           string   `json:"errorMessage"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*j = Job{
		ID: w.ID, Operation: w.Operation, Object: w.Object, ExternalIDField: w.ExternalIDFieldName, State: w.State,
		Type: w.JobType, CreatedByID: w.CreatedByID, Processed: w.NumberRecordsProcessed, Failed: w.NumberRecordsFailed,
		Retries: w.Retries, ProcessingTime: time.Duration(w.TotalProcessingTime) * time.Millisecond, Message: cut(w.ErrorMessage),
	}
	// The dates serve to find orphans; a job without them is still a job.
	j.Created, _ = parseTime(w.CreatedDate)
	j.Modified, _ = parseTime(w.SystemModstamp)
	return nil
}

// Err returns why a job did not finish: nil for JobComplete and for jobs that still run, an *Error for
// Failed and Aborted, with the code that the job's message begins with.
func (j *Job) Err() error {
	switch j.State {
	case JobFailed:
		code, message, ok := strings.Cut(j.Message, " : ")
		if !ok || strings.ContainsAny(code, " \n") {
			code, message = CodeNone, j.Message
		}
		return &Error{Op: "job " + j.ID, Code: code, Message: message, Action: ClassifyRequest(http.StatusBadRequest, code, message), MayHaveApplied: true}
	case JobAborted:
		return &Error{Op: "job " + j.ID, Code: "ABORTED", Message: "the job was aborted", Action: ActionJob, MayHaveApplied: true}
	}
	return nil
}

// The two kinds of job differ in their path only.
const (
	ingestJobs = "jobs/ingest"
	queryJobs  = "jobs/query"
)

func checkJobID(id string) error {
	if _, err := ID18(id); err != nil {
		return fmt.Errorf("salesforce: %q is no Bulk job id", cut(id))
	}
	return nil
}

// jobCall sends r and reads a job from the reply.
func (c *Client) jobCall(ctx context.Context, r *request) (Job, error) {
	var j Job
	if !r.write {
		err := c.readInto(ctx, r, &j)
		if err == nil {
			err = j.check(r.op)
		}
		return j, err
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return Job{}, err
	}
	d := newJSONReader(resp.body)
	err = d.value(&j)
	if err == nil {
		err = d.end()
	}
	if broken := resp.broken(err); broken != nil {
		err = broken
	}
	resp.close(err)
	if err == nil {
		err = j.check(r.op)
	}
	if err != nil {
		return Job{}, &UnknownOutcomeError{Op: r.op, Err: err}
	}
	return j, nil
}

func (j *Job) check(op string) error {
	if checkJobID(j.ID) != nil || j.State == "" {
		return fmt.Errorf("salesforce: %s: %w", op, malformed("a job without id or state"))
	}
	return nil
}

func (c *Client) jobInfo(ctx context.Context, kind, op, id string) (Job, error) {
	if err := checkJobID(id); err != nil {
		return Job{}, err
	}
	return c.jobCall(ctx, &request{op: op, path: kind + "/" + id})
}

// abort is repeated like a read: a second one changes nothing. A job that is over is looked at instead.
func (c *Client) abort(ctx context.Context, kind, op, id string) (Job, error) {
	if err := checkJobID(id); err != nil {
		return Job{}, err
	}
	j, err := c.jobCall(ctx, &request{op: op, method: http.MethodPatch, path: kind + "/" + id, body: []byte(`{"state":"Aborted"}`)})
	if e, ok := errors.AsType[*Error](err); ok && foldCode(e.Code) == "INVALIDJOBSTATE" {
		return c.jobInfo(ctx, kind, op, id)
	}
	return j, err
}

// delete is repeated like a read. A job that is not there is deleted.
func (c *Client) deleteJob(ctx context.Context, kind, op, id string) error {
	if err := checkJobID(id); err != nil {
		return err
	}
	resp, err := c.do(ctx, &request{op: op, method: http.MethodDelete, path: kind + "/" + id, accept: "none"})
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound {
		return nil
	}
	if err == nil {
		resp.close(nil)
	}
	return err
}

// jobs lists the jobs of a kind.
func (c *Client) jobs(ctx context.Context, kind, op, jobType string, fn func(Job) error) error {
	r := &request{op: op, path: kind, query: url.Values{"jobType": {jobType}}}
	for {
		var list struct {
			Records []Job  `json:"records"`
			Next    string `json:"nextRecordsUrl"` // null on the last page
		}
		if err := c.readInto(ctx, r, &list); err != nil {
			return err
		}
		for _, j := range list.Records {
			if err := fn(j); err != nil {
				return err
			}
		}
		if list.Next == "" {
			return nil
		}
		if list.Next == r.link {
			return fmt.Errorf("salesforce: %s: %w", op, malformed("a page links to itself"))
		}
		r = &request{op: op, link: list.Next}
	}
}
