package salesforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// MaxUpload is the size of an upload in bytes that a job takes: Salesforce allows 150 MB after its own
// encoding, which can add half.
const MaxUpload = 100_000_000

// IngestSpec says what an ingest job is to do.
type IngestSpec struct {
	Object          string
	Operation       string // update, upsert, delete. Inserts are not offered: a lost answer would make duplicates
	ExternalIDField string // key of an upsert: an external id, an idLookup field such as Email, or Id
}

// CreateIngestJob opens a job. It has no effect on records. When the answer is lost the job may exist,
// Open and empty: IngestJobs finds it.
func (c *Client) CreateIngestJob(ctx context.Context, s IngestSpec) (Job, error) {
	if err := Identifier(s.Object); err != nil {
		return Job{}, err
	}
	switch s.Operation {
	case "upsert":
		if err := Identifier(s.ExternalIDField); err != nil {
			return Job{}, fmt.Errorf("key of an upsert: %w", err)
		}
	case "update", "delete":
		if s.ExternalIDField != "" {
			return Job{}, fmt.Errorf("salesforce: %s goes by Id, not by %s", s.Operation, s.ExternalIDField)
		}
	default:
		return Job{}, fmt.Errorf("salesforce: operation %q is none of update, upsert, delete", s.Operation)
	}
	body, err := json.Marshal(struct {
		Object          string `json:"object"`
		Operation       string `json:"operation"`
		ExternalIDField string `json:"externalIdFieldName,omitempty"`
		ContentType     string `json:"contentType"`
		LineEnding      string `json:"lineEnding"`
		ColumnDelimiter string `json:"columnDelimiter"`
	}{s.Object, s.Operation, s.ExternalIDField, "CSV", "LF", "COMMA"})
	if err != nil {
		return Job{}, err
	}
	return c.jobCall(ctx, &request{op: "ingest.create", method: http.MethodPost, path: ingestJobs, body: body, write: true})
}

// UploadCSV sends the rows of a job, which write produces; use a CSVWriter. Exactly one request is made and
// it is never repeated: a second upload makes the job unusable.
//
// An upload has no effect on records. After an *UnknownOutcomeError, or an error of write, abort the job
// and make another. After an *Error with ActionRefresh the job is untouched and UploadCSV may be called
// again. write is called once at most and has returned when UploadCSV returns; an error of its own is
// given back as it is.
func (c *Client) UploadCSV(ctx context.Context, jobID string, write func(io.Writer) error) error {
	if err := checkJobID(jobID); err != nil {
		return err
	}
	var up *csvUpload
	r := &request{
		op: "ingest.upload", method: http.MethodPut, path: ingestJobs + "/" + jobID + "/batches",
		header: map[string]string{"Content-Type": "text/csv; charset=UTF-8"}, accept: "none", write: true, once: true,
		stream: func() upload { up = newCSVUpload(write); return up },
	}
	resp, err := c.do(ctx, r)
	if up != nil && up.err != nil && !errors.Is(up.err, io.ErrClosedPipe) {
		if resp != nil {
			resp.close(up.err)
		}
		return fmt.Errorf("salesforce: ingest.upload: rows: %w", up.err)
	}
	if err != nil {
		return err
	}
	resp.close(nil)
	if up.err != nil {
		return &UnknownOutcomeError{Op: r.op, Err: errors.New("the answer came before all rows were sent")}
	}
	return nil
}

// csvUpload is the body of the upload: what write writes, as the network takes it.
type csvUpload struct {
	*io.PipeReader
	done chan struct{}
	err  error // of write, once done is closed
}

func newCSVUpload(write func(io.Writer) error) *csvUpload {
	pr, pw := io.Pipe()
	u := &csvUpload{PipeReader: pr, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		u.err = write(&bounded{w: pw, left: MaxUpload})
		_ = pw.CloseWithError(u.err)
	}()
	return u
}

func (u *csvUpload) wait() error {
	<-u.done
	return u.err
}

// bounded refuses what Salesforce would refuse after all of it was sent.
type bounded struct {
	w    io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	b.left -= int64(len(p))
	if b.left < 0 {
		return 0, ErrUploadFull
	}
	return b.w.Write(p)
}

// CloseJob tells Salesforce to process the uploaded rows. This is the call that changes the org, so it is
// sent exactly once: hold a valid lease and give ctx a deadline within it.
//
// An *UnknownOutcomeError means that the job may be running: ask JobInfo. An *Error means that it was not
// closed; with ActionRefresh another token is ready and CloseJob may be called again.
func (c *Client) CloseJob(ctx context.Context, jobID string) (Job, error) {
	if err := checkJobID(jobID); err != nil {
		return Job{}, err
	}
	return c.jobCall(ctx, &request{
		op: "ingest.close", method: http.MethodPatch, path: ingestJobs + "/" + jobID,
		body: []byte(`{"state":"UploadComplete"}`), write: true, once: true,
	})
}

// AbortJob aborts an ingest job and returns it. A job that is already over is returned as it is: look at
// its State. Rows saved before stay saved.
func (c *Client) AbortJob(ctx context.Context, jobID string) (Job, error) {
	return c.abort(ctx, ingestJobs, "ingest.abort", jobID)
}

// JobInfo returns an ingest job with its counters.
func (c *Client) JobInfo(ctx context.Context, jobID string) (Job, error) {
	return c.jobInfo(ctx, ingestJobs, "ingest.info", jobID)
}

// DeleteJob deletes an ingest job that is over, with its results. A job that does not exist is no error.
func (c *Client) DeleteJob(ctx context.Context, jobID string) error {
	return c.deleteJob(ctx, ingestJobs, "ingest.delete", jobID)
}

// IngestJobs lists the org's Bulk 2.0 ingest jobs, those of other integrations included, in no order. Tell
// our own by CreatedByID. Counters are missing here.
func (c *Client) IngestJobs(ctx context.Context, fn func(Job) error) error {
	return c.jobs(ctx, ingestJobs, "ingest.list", "V2Ingest", fn)
}
