// Package compose owns the few methods for which the gateway asks more than one service: it fills in the tenant's
// connection where a request names none, brings the org's describes and people to field maps that are checked or tried,
// and puts the status together.
package compose

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// Composer asks the services.
type Composer struct {
	connections authv1.ConnectionServiceClient
	tokens      authv1.TokenServiceClient
	fieldMaps   mapperv1.FieldMapServiceClient
	schedules   schedulerv1.ScheduleServiceClient
	runs        syncv1.RunServiceClient
	objects     syncv1.ObjectServiceClient
	people      directoryv1.DirectoryServiceClient
}

// New returns a composer that calls the services behind the connections.
func New(auth, mapper, scheduler, syncWorker grpc.ClientConnInterface) *Composer {
	return &Composer{
		connections: authv1.NewConnectionServiceClient(auth),
		tokens:      authv1.NewTokenServiceClient(auth),
		fieldMaps:   mapperv1.NewFieldMapServiceClient(mapper),
		schedules:   schedulerv1.NewScheduleServiceClient(scheduler),
		runs:        syncv1.NewRunServiceClient(syncWorker),
		objects:     syncv1.NewObjectServiceClient(syncWorker),
		people:      directoryv1.NewDirectoryServiceClient(syncWorker),
	}
}

// Prepare completes a request before it is forwarded. Requests of most methods stay as they are.
func (c *Composer) Prepare(ctx context.Context, _ string, req proto.Message) error {
	switch r := req.(type) {
	case *schedulerv1.GetScheduleRequest:
		return c.connection(ctx, &r.ConnectionId)
	case *schedulerv1.SetScheduleRequest:
		return c.target(ctx, &r.ConnectionId)
	case *syncv1.DiagnoseRequest:
		return c.doctorCase(ctx, &r.ConnectionId, &r.Case)
	case *syncv1.GetSetupPackageRequest:
		return c.doctorCase(ctx, &r.ConnectionId, &r.Case)
	case *syncv1.ApplySetupRequest:
		return c.doctorCase(ctx, &r.ConnectionId, &r.Case)
	case *syncv1.WhyRequest:
		return c.why(ctx, r)
	case *syncv1.StartRunRequest:
		if r.GetTrigger() == syncv1.RunTrigger_RUN_TRIGGER_SCHEDULE {
			// Scheduled runs are found by their date: a caller could take the place of tonight's.
			return errs.New(errs.Invalid, "invalid_trigger", "trigger schedule is the scheduler's: leave trigger out, or say manual or api")
		}
		return c.target(ctx, &r.ConnectionId)
	case *syncv1.ListRunsRequest:
		if r.GetConnectionId() == "" {
			return nil // runs of all connections
		}
		return c.connection(ctx, &r.ConnectionId)
	}
	return c.fieldMap(ctx, req)
}

// target is connection for what runs write to: not a source, and not one that was unlinked.
func (c *Composer) target(ctx context.Context, id *string) error {
	res, err := c.connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: *id})
	if err != nil {
		return err
	}
	conn := res.GetConnection()
	switch {
	case conn.GetPurpose() == authv1.Purpose_PURPOSE_SOURCE:
		return errs.New(errs.Precondition, "source_is_read_only", "connection %q is a source, which is only read: runs write to the tenant's write target", conn.GetName())
	case conn.GetState() == authv1.ConnectionState_CONNECTION_STATE_UNLINKED:
		return errs.New(errs.Precondition, "unlinked", "connection %q was unlinked: link the org again", conn.GetName())
	}
	*id = conn.GetId()
	return nil
}

// connection makes sure that id is a connection of the caller's tenant, its write target where it is empty.
func (c *Composer) connection(ctx context.Context, id *string) error {
	res, err := c.connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: *id})
	if err != nil {
		return err
	}
	*id = res.GetConnection().GetId()
	return nil
}
