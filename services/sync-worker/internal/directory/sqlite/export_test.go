package sqlite

import (
	"context"
	"fmt"
)

// LimitPages makes the database full at that many pages.
func (d *Directory) LimitPages(ctx context.Context, n int) error {
	_, err := d.write.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}
