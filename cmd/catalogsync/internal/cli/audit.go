package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
)

// auditPage is how many entries are asked for at once.
const auditPage = 1000

func (p *program) auditCommand() *cobra.Command {
	return holder("audit", "Show who did what", p.auditListCommand(), p.auditExportCommand())
}

// auditQuery is what both commands have in common.
type auditQuery struct {
	action, since, data string
}

func (q *auditQuery) flags(c *cobra.Command) {
	c.Flags().StringVar(&q.action, "action", "", "only actions that begin with this `text`, such as token. or catalogsync.auth.")
	c.Flags().StringVar(&q.since, "since", "", "only entries since this `time`, such as 2026-01-31, 2026-01-31T08:00:00Z or 72h")
	c.Flags().StringVar(&q.data, "data", "", "data `directory` of the services on this machine: show what concerns no tenant, such as rotations of keys")
}

// request returns the request of a page, without its size and token.
func (q *auditQuery) request(now time.Time) (*auditv1.ListAuditEntriesRequest, error) {
	req := &auditv1.ListAuditEntriesRequest{ActionPrefix: q.action}
	if q.since == "" {
		return req, nil
	}
	if d, err := time.ParseDuration(q.since); err == nil && d > 0 {
		req.Since = timestamppb.New(now.Add(-d))
		return req, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, q.since, time.Local); err == nil {
			req.Since = timestamppb.New(at)
			return req, nil
		}
	}
	return nil, exit.Misuse("--since is %q; give a day such as 2026-01-31, a time such as 2026-01-31T08:00:00Z, or how long ago, such as 72h", q.since)
}

// run calls f with what returns pages of entries.
func (q *auditQuery) run(p *program, cmd *cobra.Command, f func(ask func(size int, token string) ([]*auditv1.Entry, string, error)) error) error {
	req, err := q.request(time.Now())
	if err != nil {
		return err
	}
	token, err := p.tokenOrOperators(q.data)
	if err != nil {
		return err
	}
	return p.withClient(cmd.Context(), token, func(ctx context.Context, c *client.Client) error {
		return f(func(size int, token string) ([]*auditv1.Entry, string, error) {
			req.PageSize, req.PageToken = int32(size), token
			res, err := c.Audit.ListAuditEntries(ctx, req)
			return res.GetEntries(), res.GetNextPageToken(), err
		})
	})
}

const auditListHelp = `Show what admins changed, when tokens were got, used and revoked, and what was done with keys: the newest first. An entry is
written before the act, so one may stand for an act that then failed. Nobody can change or delete entries; they go after
400 days.`

func (p *program) auditListCommand() *cobra.Command {
	var q auditQuery
	limit := 50
	c := &cobra.Command{Use: "list", Short: "List who did what, newest first", Long: auditListHelp, Args: args(0, 0)}
	q.flags(c)
	c.Flags().IntVar(&limit, "limit", limit, "`number` of entries to show; 0 for all")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return q.run(p, cmd, func(ask func(int, string) ([]*auditv1.Entry, string, error)) error {
			return list(p, limit, auditPage, "There are no such entries.", ask, view.AuditEntries)
		})
	}
	return c
}

const auditExportHelp = `Write the audit log to standard output, the newest first: as JSON, one object a line, or as CSV. In CSV, values that a
spreadsheet would take for a formula begin with a quotation mark (').`

func (p *program) auditExportCommand() *cobra.Command {
	var q auditQuery
	format := "jsonl"
	c := &cobra.Command{Use: "export", Short: "Write the audit log as JSON lines or CSV", Long: auditExportHelp, Args: args(0, 0)}
	q.flags(c)
	c.Flags().StringVar(&format, "format", format, "`jsonl` or csv")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		asCSV, err := choice("format", format, []string{"jsonl", "csv"}, []bool{false, true})
		if err != nil {
			return err
		}
		return q.run(p, cmd, func(ask func(int, string) ([]*auditv1.Entry, string, error)) error {
			return p.exportAudit(asCSV && !p.asJSON, ask)
		})
	}
	return c
}

func (p *program) exportAudit(asCSV bool, ask func(int, string) ([]*auditv1.Entry, string, error)) error {
	if asCSV {
		if err := p.print(view.AuditCSVHead()); err != nil {
			return err
		}
	}
	return pages(0, auditPage, func(size int, token string) (int, string, error) {
		entries, next, err := ask(size, token)
		if err != nil {
			return 0, "", err
		}
		for _, e := range entries {
			text := string(view.JSON(e))
			if asCSV {
				text = view.AuditCSV(e)
			}
			if err := p.print(text); err != nil {
				return 0, "", err
			}
		}
		return len(entries), next, nil
	}, func(int) {})
}
