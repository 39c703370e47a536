package compose

import (
	"context"

	"golang.org/x/sync/errgroup"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// doctorCase fills in what auth and mapper know of a connection. auth tries the credentials anew, so that the doctor
// sees what Salesforce says to them now; that they are refused is part of the case and no error.
func (c *Composer) doctorCase(ctx context.Context, id *string, to **syncv1.DoctorCase) error {
	if err := c.connection(ctx, id); err != nil {
		return err
	}
	dc := &syncv1.DoctorCase{}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		test, err := c.connections.TestConnection(ctx, &authv1.TestConnectionRequest{ConnectionId: *id})
		if err != nil {
			return err
		}
		dc.Test, dc.Connection = test, test.GetConnection()
		if !test.GetOk() {
			return nil
		}
		dc.Grant, err = c.grant(ctx, *id)
		return err
	})
	g.Go(func() error {
		res, err := c.fieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: *id})
		if errs.KindOf(err) == errs.NotFound {
			return nil // before the first save
		}
		dc.FieldMap = res.GetFieldMap()
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	*to = dc
	return nil
}

// grant lets a worker have the connection's access token for the request that is being forwarded.
func (c *Composer) grant(ctx context.Context, connection string) (string, error) {
	res, err := c.tokens.CreateGrant(ctx, &authv1.CreateGrantRequest{ConnectionId: connection})
	return res.GetGrant(), err
}
