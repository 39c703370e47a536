package compose

import (
	"context"

	"golang.org/x/sync/errgroup"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// Status serves StatusService.
type Status struct {
	gatewayv1.UnimplementedStatusServiceServer
	Composer *Composer
}

// GetStatus asks all services for what concerns the caller's tenant.
func (s *Status) GetStatus(ctx context.Context, _ *gatewayv1.GetStatusRequest) (*gatewayv1.GetStatusResponse, error) {
	c := s.Composer
	res := &gatewayv1.GetStatusResponse{State: gatewayv1.IntegrationState_INTEGRATION_STATE_NOT_LINKED}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		res.People, err = c.people.CountPeople(ctx, &directoryv1.CountPeopleRequest{})
		return err
	})
	g.Go(func() error { return s.connected(ctx, res) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return res, nil
}

// connected fills in what there is once an org is linked.
func (s *Status) connected(ctx context.Context, res *gatewayv1.GetStatusResponse) error {
	c := s.Composer
	conn, err := c.connections.GetConnection(ctx, &authv1.GetConnectionRequest{})
	if err != nil {
		return absent(err)
	}
	res.Connection = conn.GetConnection()
	id := res.GetConnection().GetId()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		runs, err := c.runs.ListRuns(ctx, &syncv1.ListRunsRequest{ConnectionId: id, PageSize: 1})
		if len(runs.GetRuns()) > 0 {
			res.LatestRun = runs.GetRuns()[0]
		}
		return err
	})
	g.Go(func() error {
		schedule, err := c.schedules.GetSchedule(ctx, &schedulerv1.GetScheduleRequest{ConnectionId: id})
		res.Schedule = schedule.GetSchedule()
		return absent(err)
	})
	g.Go(func() error {
		fieldMap, err := c.fieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: id})
		res.FieldMap = fieldMap.GetFieldMap()
		return absent(err)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	res.State = state(res.GetConnection(), res.GetLatestRun())
	return nil
}

// absent makes nothing of an error that says that there is nothing.
func absent(err error) error {
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	return err
}

func state(c *authv1.Connection, latest *syncv1.Run) gatewayv1.IntegrationState {
	switch c.GetState() {
	case authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT:
		return gatewayv1.IntegrationState_INTEGRATION_STATE_NEEDS_RECONNECT
	case authv1.ConnectionState_CONNECTION_STATE_LINKED:
	default:
		return gatewayv1.IntegrationState_INTEGRATION_STATE_NOT_LINKED
	}
	switch latest.GetState() {
	case syncv1.RunState_RUN_STATE_REQUESTED, syncv1.RunState_RUN_STATE_RUNNING, syncv1.RunState_RUN_STATE_HELD, syncv1.RunState_RUN_STATE_CANCELLING:
		return gatewayv1.IntegrationState_INTEGRATION_STATE_RUNNING
	default:
		return gatewayv1.IntegrationState_INTEGRATION_STATE_LINKED
	}
}
