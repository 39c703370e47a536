package cli

import (
	"google.golang.org/protobuf/proto"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
)

// pages asks for page after page of at most `most` rows until limit rows have come (0: all of them). ask returns how
// many came and the token of the next page; more is called when there are rows beyond the limit.
func pages(limit, most int, ask func(size int, token string) (int, string, error), more func(limit int)) error {
	if limit < 0 {
		return exit.Misuse("--limit is %d; give 0 for all, or a number above", limit)
	}
	for left, token := limit, ""; ; {
		size := most
		if limit > 0 {
			size = min(left, most)
		}
		n, next, err := ask(size, token)
		if err != nil || next == "" {
			return err
		}
		if left -= n; limit > 0 && left <= 0 {
			more(limit)
			return nil
		}
		token = next
	}
}

// list shows rows page by page, so that lists of any length can be read. none is said where there are no rows.
func list[M proto.Message](p *program, limit, most int, none string,
	ask func(size int, token string) ([]M, string, error), text func(view.Style, []M) string,
) error {
	shown := false
	err := pages(limit, most, func(size int, token string) (int, string, error) {
		rows, next, err := ask(size, token)
		if err != nil || len(rows) == 0 {
			return 0, next, err
		}
		shown = true
		return len(rows), next, showAll(p, rows, none, text)
	}, func(limit int) {
		if !p.asJSON {
			p.note("The first %d are shown; --limit 0 shows all.", limit)
		}
	})
	if err == nil && !shown && !p.asJSON {
		p.note("%s", none)
	}
	return err
}
