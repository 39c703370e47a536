package salesforce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// CreateQueryJob starts a Bulk query; all includes deleted and archived records. The job runs at once. It
// reads only, so a lost answer is repeated: at worst a job runs for nobody and is forgotten after 7 days.
func (c *Client) CreateQueryJob(ctx context.Context, soql string, all bool) (Job, error) {
	operation := "query"
	if all {
		operation = "queryAll"
	}
	body, err := json.Marshal(map[string]string{
		"operation": operation, "query": soql, "contentType": "CSV",
		"columnDelimiter": "COMMA", "lineEnding": "LF",
	})
	if err != nil {
		return Job{}, err
	}
	return c.jobCall(ctx, &request{op: "bulkquery.create", method: http.MethodPost, path: queryJobs, body: body})
}

// QueryJobInfo returns a query job. Processed stays 0 until it is over.
func (c *Client) QueryJobInfo(ctx context.Context, jobID string) (Job, error) {
	return c.jobInfo(ctx, queryJobs, "bulkquery.info", jobID)
}

// AbortQueryJob aborts a query job and returns it; one that is already over is returned as it is.
func (c *Client) AbortQueryJob(ctx context.Context, jobID string) (Job, error) {
	return c.abort(ctx, queryJobs, "bulkquery.abort", jobID)
}

// DeleteQueryJob deletes a query job that is over, with its results. One that does not exist is no error.
func (c *Client) DeleteQueryJob(ctx context.Context, jobID string) error {
	return c.deleteJob(ctx, queryJobs, "bulkquery.delete", jobID)
}

// QueryResults hands out all rows of a query job that is complete, in the order of columns, and returns
// their number. maxRecords bounds the rows of one page; 0 leaves it to Salesforce. One API call a page.
//
// A page that breaks off is asked for again and resumed at the row where it stopped. An error of fn ends
// it and is returned as it is.
func (c *Client) QueryResults(ctx context.Context, jobID string, columns []Column, maxRecords int, fn func(*Record) error) (int64, error) {
	var total int64
	locator := ""
	for {
		next, n, err := c.QueryResultsPage(ctx, jobID, columns, locator, maxRecords, fn)
		total += n
		if err != nil || next == "" {
			return total, err
		}
		locator = next
	}
}

// QueryResultsPage hands out one page of a query job and returns the locator of the next, "" after the
// last, and the number of rows handed out. The first page has the locator "". Locators stay good as long
// as the job exists, so a page can be read again.
func (c *Client) QueryResultsPage(ctx context.Context, jobID string, columns []Column, locator string, maxRecords int, fn func(*Record) error) (next string, n int64, err error) {
	if err := checkJobID(jobID); err != nil {
		return "", 0, err
	}
	rows := newReplay(fn)
	r := &request{op: "bulkquery.results", path: queryJobs + "/" + jobID + "/results", query: pageQuery(locator, maxRecords), accept: "csv"}
	next, err = c.csvRows(ctx, r, columns, rows)
	if err != nil {
		return "", rows.delivered, err
	}
	switch {
	case next == lastLocator:
		return "", rows.delivered, nil
	case next == "" && rows.seen == 0:
		return "", 0, nil
	case next == "":
		return "", rows.delivered, fmt.Errorf("salesforce: bulkquery.results: %w", malformed("rows without Sforce-Locator: it is not said whether more follow"))
	case next == locator:
		return "", rows.delivered, fmt.Errorf("salesforce: bulkquery.results: %w", malformed("a page links to itself"))
	}
	return next, rows.delivered, nil
}
