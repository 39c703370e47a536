package bulk

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// process runs an ingest job whose upload is complete.
func (js *Jobs) process(j *job) {
	begin := time.Now()
	j.mu.Lock()
	if j.state != uploadComplete {
		j.mu.Unlock()
		return
	}
	j.set(inProgress, js.db.Now())
	j.started = begin
	message := js.prepare(j)
	j.mu.Unlock()
	if message != "" {
		js.finish(j, failed, message)
		return
	}
	limit := -1
	if rule, ok := js.faults.Job(j.operation, j.object.Name); ok {
		limit = rule.Chunks * chunkRows
	}
	w := &worker{Jobs: js, job: j, reader: reader{data: j.data, delim: j.delim}}
	if js.cfg.Contention {
		w.locks = &contender{worker: w}
	}
	for at := 0; at < len(j.rows); at += batchRows {
		if limit >= 0 && at >= limit {
			js.finish(j, failed, "InternalServerError : The batch was retried 20 times and gave up")
			return
		}
		if !js.step(w, at, min(at+batchRows, len(j.rows))) {
			return
		}
	}
	js.finish(j, jobComplete, "")
}

// step saves rows from..to in the time that they take; it gives false when the job or the org ended.
func (js *Jobs) step(w *worker, from, to int) bool {
	j := w.job
	rows := w.read(from, to)
	if w.locks != nil {
		defer w.locks.hold(from, rows)()
	}
	if !js.pace(j, to-from) {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != inProgress {
		return false
	}
	w.save(from, to, rows)
	return true
}

// finish ends a job: what was not processed is set aside, and results lose their order as in a real org.
func (js *Jobs) finish(j *job, state, message string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != inProgress {
		return
	}
	js.end(j, state, message)
}

// end is finish with j.mu held, from any state.
func (js *Jobs) end(j *job, state, message string) {
	now := js.db.Now()
	if now.Before(j.changed) {
		now = j.changed
	}
	j.set(state, now)
	j.message = message
	if !j.started.IsZero() {
		j.took = time.Since(j.started)
	}
	if j.done < len(j.rows) {
		j.rest = append(j.rest[:0], j.rows[j.done:]...)
	}
	js.shuffle(j, len(j.good), func(a, b int) { j.good[a], j.good[b] = j.good[b], j.good[a] })
	js.shuffle(j, len(j.bad), func(a, b int) { j.bad[a], j.bad[b] = j.bad[b], j.bad[a] })
	js.shuffle(j, len(j.rest), func(a, b int) { j.rest[a], j.rest[b] = j.rest[b], j.rest[a] })
}

// prepare reads the header and finds the rows; it gives the message of a job that cannot run. j.mu is held.
func (js *Jobs) prepare(j *job) string {
	if len(j.data) == 0 {
		return ""
	}
	r := reader{data: j.data, delim: j.delim}
	start, bad, ok := r.next()
	if !ok {
		return ""
	}
	line := j.data[start:r.at]
	j.header = bytes.TrimRight(line, "\r\n")
	header := make([]string, len(r.cells))
	for i, c := range r.cells {
		header[i] = string(c.text)
	}
	for {
		start, _, ok := r.next()
		if !ok {
			break
		}
		j.rows = append(j.rows, uint32(start))
	}
	if wrongLineEnding(j.data, j.crlf) {
		name := "LF"
		if j.crlf {
			name = "CRLF"
		}
		return "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is " + name
	}
	if bad || len(line) > maxHeader {
		return "InvalidBatch : The header row is malformed"
	}
	js.db.RLock()
	defer js.db.RUnlock()
	return js.columns(j, header)
}

// columns resolves the header; the first column that is no field fails the whole job.
func (js *Jobs) columns(j *job, header []string) string {
	hasID, hasKey := false, false
	seen := map[string]bool{}
	for _, name := range header {
		low := strings.ToLower(name)
		if seen[low] {
			return "InvalidBatch : Duplicate field name found : " + name
		}
		seen[low] = true
		c := column{name: name, target: save.Column{Name: name}}
		f := j.object.Field(name)
		switch {
		case f != nil && f.Virtual == schema.ID:
			c.isID, hasID = true, true
		case f != nil:
			c.target.Field = f
			if strings.HasPrefix(j.operation, "delete") || j.operation == string(save.HardDelete) {
				return "InvalidBatch : Field name not found : " + name
			}
		default:
			if !js.parentColumn(j, name, &c) {
				return "InvalidBatch : Field name not found : " + name
			}
		}
		if j.key != nil && (f != nil && f.Slot == j.key.Slot || c.isID && j.key.Virtual == schema.ID) {
			c.isKey, hasKey = true, true
		}
		j.columns = append(j.columns, c)
	}
	switch {
	case j.operation == string(save.Upsert) && !hasKey:
		return "InvalidBatch : Field name not found : " + j.key.Name
	case j.operation != string(save.Upsert) && j.operation != string(save.Insert) && !hasID:
		return "InvalidBatch : Field name not found : Id"
	}
	return ""
}

// parentColumn resolves Account.Ext__c, Mother__r.Ext__c and, for polymorphic lookups only, User:Owner.Username.
func (js *Jobs) parentColumn(j *job, name string, c *column) bool {
	path, field, ok := strings.Cut(name, ".")
	if !ok {
		return false
	}
	typ, relationship, typed := strings.Cut(path, ":")
	if !typed {
		relationship = path
	}
	f := j.object.Parent(strings.TrimSuffix(relationship, "__r"))
	if f == nil || typed != (len(f.ReferenceTo) > 1) {
		return false
	}
	if !typed {
		typ = f.ReferenceTo[0]
	}
	parent := js.db.Schema.Object(typ)
	if parent == nil {
		return false
	}
	key := parent.Field(field)
	if key == nil || !key.ExternalID && !key.IDLookup {
		return false
	}
	c.target.Field = f
	if key.Virtual != schema.ID {
		c.target.Parent, c.target.ParentKey = parent, key
	}
	return true
}

// worker turns rows into saves.
type worker struct {
	*Jobs
	job    *job
	reader reader
	rows   []save.Row
	values []save.Value
	cols   []save.Column // columns of the save, those with a field
	at     []int         // their place in the upload
	locks  *contender    // nil: no locks
}

// read gives rows from..to of the job as saves; they hold until the next read.
func (w *worker) read(from, to int) []save.Row {
	j := w.job
	if w.rows == nil {
		for i, c := range j.columns {
			if !c.isID && c.target.Field != nil {
				c.target.Col = i
				w.cols, w.at = append(w.cols, c.target), append(w.at, i)
			}
		}
		w.rows = make([]save.Row, batchRows)
		w.values = make([]save.Value, batchRows*len(w.cols))
	}
	rows := w.rows[:to-from]
	for i := range rows {
		w.reader.at = int(j.rows[from+i])
		_, bad, _ := w.reader.next()
		rows[i] = w.row(i, bad)
	}
	return rows
}

// save saves rows from..to of the job; job.mu is held.
func (w *worker) save(from, to int, rows []save.Row) {
	j := w.job
	begin := time.Now()
	results := w.pipe.Batch(j.caller, j.table, save.Op(j.operation), j.key, rows, false)
	for i, r := range results {
		n := j.rows[from+i]
		if !r.OK() {
			j.bad = append(j.bad, failure{row: n, id: failedID(j, rows[i].ID), text: errorText(r.Errors)})
			continue
		}
		created := r.Created || j.operation == string(save.Insert)
		j.good = append(j.good, success{row: n, serial: r.Serial, created: created})
	}
	j.processed += len(rows)
	j.done = to
	j.active += time.Since(begin)
	j.changed = w.db.Now()
}

func failedID(j *job, id string) string {
	if canonical, ok := store.ValidID(id); ok && j.operation != string(save.Insert) {
		return canonical
	}
	return ""
}

// row reads the cells of the upload's current row: an empty cell leaves the field alone, #N/A empties it.
func (w *worker) row(i int, bad bool) save.Row {
	j := w.job
	if bad || len(w.reader.cells) != len(j.columns) {
		return save.Row{Fault: &save.Error{Code: "CLIENT_INPUT_ERROR", Message: "malformed CSV row: the header has " + strconv.Itoa(len(j.columns)) + " columns and the row " + strconv.Itoa(len(w.reader.cells)) +
			", or a quote stands outside a quoted value"}}
	}
	row := save.Row{Columns: w.cols, Values: w.values[i*len(w.cols) : (i+1)*len(w.cols)]}
	for k := range w.cols {
		c := w.reader.cells[w.at[k]]
		v := &row.Values[k]
		switch {
		case len(c.text) == 0:
			*v = save.Value{Kind: save.Ignore}
		case len(c.text) == 4 && string(c.text) == "#N/A":
			*v = save.Value{Kind: save.Null}
		default:
			*v = save.Value{Kind: save.Text, Text: string(c.text)}
		}
	}
	for k, c := range j.columns {
		text := w.reader.cells[k].text
		if c.isID {
			row.ID = string(text)
		}
		if c.isKey && string(text) != "#N/A" {
			row.Key = string(text)
		}
	}
	return row
}

// errorText is an sf__Error, such as CODE:message:Field1,Field2 -- for one error.
func errorText(errs []save.Error) string {
	var b strings.Builder
	for i, e := range errs {
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(e.Code + ":" + e.Message + ":")
		b.WriteString(strings.Join(e.Fields, ","))
		if len(e.Fields) > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("--")
	}
	return b.String()
}

// run answers a query job.
func (js *Jobs) run(j *job) {
	j.mu.Lock()
	if j.state != uploadComplete {
		j.mu.Unlock()
		return
	}
	j.set(inProgress, js.db.Now())
	j.started = time.Now()
	js.db.RLock()
	found := j.plan.Find()
	snapshot := make([]store.Row, len(found))
	for i, n := range found {
		snapshot[i] = *j.table.Row(n)
	}
	js.db.RUnlock()
	j.mu.Unlock()
	if rate := js.cfg.QueryRate; rate > 0 && !js.wait(j, time.Duration(len(found))*time.Second/time.Duration(rate)) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != inProgress { // aborted meanwhile
		return
	}
	j.found, j.snapshot, j.processed = found, snapshot, len(found)
	j.took = time.Since(j.started)
	j.set(jobComplete, js.db.Now())
}
