package rest

import (
	"net/http"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

const (
	updatedWindow = 30 * 24 * time.Hour
	deletedWindow = 15 * 24 * time.Hour
	maxReplicated = 600_000
)

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000+0000") }

// replication answers /sobjects/X/updated and /sobjects/X/deleted.
func (a *API) replication(c *Call, o *schema.Object, deleted bool) {
	q := c.R.URL.Query()
	start, err1 := replicationTime(q.Get("start"))
	end, err2 := replicationTime(q.Get("end"))
	now := a.DB.Now()
	window := updatedWindow
	if deleted {
		window = deletedWindow
	}
	refuse := func(message string) {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "INVALID_REPLICATION_DATE", Message: message})
	}
	switch {
	case err1 != nil || err2 != nil:
		refuse("start and end must be datetimes such as 2026-11-21T00:00:00+00:00")
		return
	case !o.Has('R'):
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "INVALID_TYPE_FOR_OPERATION", Message: "entity type " + o.Name + " is not replicateable"})
		return
	case end.Sub(start) < time.Minute:
		refuse("endDate must be at least one minute greater than startDate")
		return
	case start.Before(now.Add(-window)):
		refuse("startDate is too far back")
		return
	}
	if end.After(now) {
		end = now
	}
	covered := end.Truncate(time.Minute)
	a.DB.RLock()
	defer a.DB.RUnlock()
	t := a.table(o)
	type gone struct {
		ID   string `json:"id"`
		Date string `json:"deletedDate"`
	}
	ids, list := []string{}, []gone{}
	for n := uint32(1); n <= t.Count(); n++ {
		r := t.Row(n)
		at := time.Unix(int64(r.Modstamp), 0)
		if at.Before(start) || at.After(end) {
			continue
		}
		switch {
		case deleted && r.State != store.Live:
			list = append(list, gone{t.ID(n), stamp(at)})
		case !deleted && r.State == store.Live:
			ids = append(ids, t.ID(n))
		}
	}
	switch {
	case len(ids)+len(list) > maxReplicated:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "EXCEEDED_ID_LIMIT", Message: "too many records changed in the time given"})
	case deleted:
		reply.JSON(c.W, http.StatusOK, struct {
			Records  []gone `json:"deletedRecords"`
			Earliest string `json:"earliestDateAvailable"`
			Covered  string `json:"latestDateCovered"`
		}{list, stamp(now.Add(-window).Truncate(time.Minute)), stamp(covered)})
	default:
		reply.JSON(c.W, http.StatusOK, struct {
			IDs     []string `json:"ids"`
			Covered string   `json:"latestDateCovered"`
		}{ids, stamp(covered)})
	}
}

// replicationTime reads a time whose plus sign may have become a space in the URL.
func replicationTime(s string) (time.Time, error) {
	return save.ParseTime(strings.ReplaceAll(s, " ", "+"))
}
