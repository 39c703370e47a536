package audit

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
)

const (
	// defaultPage and maxPage are how many entries a page has.
	defaultPage, maxPage = 100, 1000
	// firstWindow is how many places of the log are looked through at first, from the end. The next windows are each twice
	// as long, so that the entries of a tenant that does little are found in few steps.
	firstWindow = 1024
)

// Query asks for a page of a tenant's entries.
type Query struct {
	// Tenant is whose entries; empty for those of the installation.
	Tenant string
	// ActionPrefix keeps those whose action begins like this.
	ActionPrefix string
	// Since keeps those at or after this time; zero for all.
	Since time.Time
	// PageSize is how many at most; 100 where 0, 1000 at most.
	PageSize int
	// PageToken is what the page before returned; empty for the first.
	PageToken string
}

// List returns a page of entries, newest first, and the token of the next; the token is empty at the end. Entries that
// are written meanwhile do not move the pages. It holds a page in memory, however long the log is.
func (l *Log) List(ctx context.Context, q Query) (page []*auditv1.Entry, next string, err error) {
	size := min(max(q.PageSize, 0), maxPage)
	if size == 0 {
		size = defaultPage
	}
	end, err := l.end(ctx, q.PageToken)
	if err != nil {
		return nil, "", err
	}
	// A stream is read forwards only: so window by window from the end, keeping the last entries of each. One more than
	// the page has tells whether there is a next one.
	for window := uint64(firstWindow); end > 1 && len(page) <= size; window *= 2 {
		first := max(end, window+1) - window
		entries, over, err := l.window(ctx, q, first, end, size+1-len(page))
		if err != nil {
			return nil, "", err
		}
		slices.Reverse(entries)
		page = append(page, entries...)
		if end = first; over {
			break
		}
	}
	if len(page) > size {
		page = page[:size]
		next = strconv.FormatUint(page[size-1].GetNumber(), 10)
	}
	return page, next, nil
}

// end is the place before which a page ends.
func (l *Log) end(ctx context.Context, token string) (uint64, error) {
	if token == "" {
		last, err := l.bus.LastSeq(ctx, event.StreamAudit)
		return last + 1, err
	}
	end, err := strconv.ParseUint(token, 10, 63)
	if err != nil {
		return 0, errs.New(errs.Invalid, "bad_page_token", "page_token is not one that was returned: leave it out to begin at the newest entry")
	}
	return end, nil
}

// window returns the last n wanted entries of the places from first up to end, which is excluded, oldest first. over says
// that everything before them is too old.
func (l *Log) window(ctx context.Context, q Query, first, end uint64, n int) (last []*auditv1.Entry, over bool, err error) {
	for m, err := range l.bus.Read(ctx, event.StreamAudit, event.AuditOfTenant(q.Tenant), first-1) {
		if err != nil {
			return nil, false, err
		}
		if m.Seq >= end {
			break
		}
		if m.Time.Before(q.Since) {
			over = true
			continue
		}
		e := &auditv1.Entry{}
		if err := m.Unmarshal(e); err != nil {
			return nil, false, errs.Wrap(err, errs.Internal, "audit_unreadable", "entry %d of the audit log cannot be read", m.Seq)
		}
		e.Number, e.At = m.Seq, timestamppb.New(m.Time)
		if !strings.HasPrefix(e.GetAction(), q.ActionPrefix) {
			continue
		}
		if last = append(last, e); len(last) >= 2*n { // cut seldom, so that it costs little
			last = slices.Delete(last, 0, len(last)-n)
		}
	}
	return last[max(0, len(last)-n):], over, nil
}
