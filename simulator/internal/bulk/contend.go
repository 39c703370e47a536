package bulk

import (
	"strconv"

	"github.com/catalogsync/catalogsync/simulator/internal/save"
)

// contender holds the locks of an ingest job's rows. A real org saves the 10,000-row chunks of a job at the same time:
// where two of them come to children of one parent together, the later one cannot lock it. Here chunks are saved one
// after another, so that what happens depends on the rows alone: the batch at the same place of an earlier chunk counts
// as being saved together.
type contender struct {
	worker *worker
	steps  []map[string]string // holders of the parents of the batches so far, by place in their chunk
}

// hold locks the parents of the next batch for the time of its saving, and gives what lets go of them.
func (c *contender) hold(at int, rows []save.Row) (release func()) {
	j, pipe := c.worker.job, c.worker.pipe
	holder := j.id + "/" + strconv.Itoa(at/chunkRows)
	step := at % chunkRows / batchRows
	for len(c.steps) <= step {
		c.steps = append(c.steps, map[string]string{})
	}
	others := c.steps[step]
	ids := pipe.Parents(j.table, save.Op(j.operation), j.key, rows)
	byHolder := map[string][]string{}
	for _, id := range ids {
		if other, ok := others[id]; ok {
			byHolder[other] = append(byHolder[other], id)
		}
	}
	for other, list := range byHolder {
		pipe.Hold(other, list)
	}
	pipe.Hold(holder, ids)
	for _, id := range ids {
		if _, ok := others[id]; !ok {
			others[id] = holder
		}
	}
	j.caller.Holder = holder
	return func() {
		pipe.Release(holder, ids)
		for other, list := range byHolder {
			pipe.Release(other, list)
		}
	}
}
