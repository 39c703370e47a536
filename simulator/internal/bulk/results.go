package bulk

import (
	"net/http"

	"github.com/catalogsync/catalogsync/simulator/internal/query"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/rest"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
)

const flushBytes = 256 << 10

// results answers a result file of an ingest job.
func (js *Jobs) results(c *rest.Call, j *job, file string) {
	j.mu.Lock()
	state := j.state
	j.mu.Unlock()
	if state != jobComplete && state != failed && state != aborted { // ended: nothing of the job changes any more
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "InvalidJobState : results are not available while the job is in state "+state)
		return
	}
	total := len(j.good)
	switch file {
	case "failedresults":
		total = len(j.bad)
	case "unprocessedrecords":
		total = len(j.rest)
	}
	from, to, ok := page(c, total)
	if !ok {
		return
	}
	pageHeaders(c, from, to, total)
	r := reader{data: j.data, delim: j.delim}
	b := j.appendHeader(nil, file)
	for i := from; i < to; i++ {
		switch file {
		case "successfulresults":
			s := j.good[i]
			b = append(b, '"')
			b = j.table.AppendID(b, s.serial)
			b = append(b, '"', j.delim, '"')
			if s.created {
				b = append(b, `true"`...)
			} else {
				b = append(b, `false"`...)
			}
			b = j.appendRow(append(b, j.delim), &r, s.row, true)
		case "failedresults":
			f := j.bad[i]
			b = query.AppendCell(b, "", f.id)
			b = append(b, j.delim)
			b = query.AppendCell(b, "", f.text)
			b = j.appendRow(append(b, j.delim), &r, f.row, true)
		default:
			b = j.appendRow(b, &r, j.rest[i], false)
		}
		if len(b) >= flushBytes {
			if _, err := c.W.Write(b); err != nil {
				return
			}
			b = b[:0]
		}
	}
	_, _ = c.W.Write(b)
}

func (j *job) appendHeader(b []byte, file string) []byte {
	switch file {
	case "successfulresults":
		b = append(append(append(b, `"sf__Id"`...), j.delim), `"sf__Created"`...)
	case "failedresults":
		b = append(append(append(b, `"sf__Id"`...), j.delim), `"sf__Error"`...)
	}
	if len(b) > 0 && len(j.header) > 0 {
		b = append(b, j.delim)
	}
	b = append(b, j.header...)
	if len(b) > 0 {
		b = append(b, j.eol()...)
	}
	return b
}

// appendRow echoes an uploaded row: every value quoted, and those of a processed row written as the org wrote them.
func (j *job) appendRow(b []byte, r *reader, row uint32, processed bool) []byte {
	r.at = int(row)
	r.next()
	for i, c := range r.cells {
		if i > 0 {
			b = append(b, j.delim)
		}
		text := string(c.text)
		if processed && i < len(j.columns) && j.columns[i].target.Field != nil {
			text = save.Echo(j.columns[i].target, text)
		}
		b = query.AppendCell(b, "", text)
	}
	return append(b, j.eol()...)
}

// queryResults answers a page of a query job.
func (js *Jobs) queryResults(c *rest.Call, j *job) {
	j.mu.Lock()
	state := j.state
	j.mu.Unlock()
	switch {
	case c.Version != j.version:
		fail(c.W, http.StatusConflict, "API_ERROR", "The job was created with API version "+j.version+"; get its results with the same version")
		return
	case state != jobComplete:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "InvalidJobState : results are not available while the job is in state "+state)
		return
	}
	from, to, ok := page(c, len(j.found))
	if !ok {
		return
	}
	pageHeaders(c, from, to, len(j.found))
	csv := j.plan.CSV(j.delim, j.eol())
	b := csv.AppendHeader(make([]byte, 0, flushBytes+4096))
	for i := from; i < to; {
		js.db.RLock()
		for ; i < to && len(b) < flushBytes; i++ {
			b = csv.AppendRow(b, j.found[i], &j.snapshot[i])
		}
		js.db.RUnlock()
		if _, err := c.W.Write(b); err != nil {
			return
		}
		b = b[:0]
	}
	_, _ = c.W.Write(b)
}

// resultPages answers the URLs of the next five pages.
func (js *Jobs) resultPages(c *rest.Call, j *job) {
	j.mu.Lock()
	state, total := j.state, len(j.found)
	j.mu.Unlock()
	switch {
	case c.Number() < 58:
		reply.NotFound(c.W)
		return
	case state != jobComplete:
		fail(c.W, http.StatusBadRequest, "INVALIDJOBSTATE", "InvalidJobState : results are not available while the job is in state "+state)
		return
	}
	from, _, ok := page(c, total)
	if !ok {
		return
	}
	type one struct {
		URL string `json:"resultUrl"`
	}
	root := c.Base + "/jobs/query/" + j.id
	out := struct {
		Pages []one   `json:"resultPages"`
		Next  *string `json:"nextRecordsUrl"`
		Done  bool    `json:"done"`
	}{Pages: []one{}}
	at := from
	for len(out.Pages) < 5 && (at < total || at == 0 && len(out.Pages) == 0) {
		url := root + "/results"
		if at > 0 {
			url += "?locator=" + locator(at)
		}
		out.Pages = append(out.Pages, one{url})
		at += pageRows
	}
	out.Done = at >= total
	if !out.Done {
		next := root + "/resultPages?locator=" + locator(at)
		out.Next = &next
	}
	reply.JSON(c.W, http.StatusOK, out)
}
