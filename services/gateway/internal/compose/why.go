package compose

import (
	"context"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// why completes the question about a person. Without a grant the answer lacks the record's present values alone, so that
// a connection which gives no token still has its history told.
func (c *Composer) why(ctx context.Context, r *syncv1.WhyRequest) error {
	if err := c.connection(ctx, &r.ConnectionId); err != nil || r.GetOffline() {
		return err
	}
	grant, err := c.grant(ctx, r.GetConnectionId())
	if errs.KindOf(err) == errs.Precondition {
		return nil
	}
	r.Grant = grant
	return err
}
