package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/store"
	wire "github.com/catalogsync/catalogsync/services/scheduler/internal/rpc"
	"github.com/catalogsync/catalogsync/services/scheduler/internal/schedule"
	"github.com/catalogsync/catalogsync/services/scheduler/internal/slot"
)

// bucketBytes bounds the bucket. A schedule takes about 400 bytes.
const bucketBytes = 64 << 20

// schedules are what is stored in the bucket SCHEDULES, one key for each connection.
type schedules struct {
	*store.Bucket[schedule.Schedule]
}

func openSchedules(ctx context.Context, b *bus.Bus) (schedules, error) {
	bucket, err := store.Open[schedule.Schedule](ctx, b, store.Config{Bucket: "SCHEDULES", MaxBytes: bucketBytes})
	if err != nil {
		return schedules{}, fmt.Errorf("open the bucket of schedules: %w", err)
	}
	return schedules{bucket}, nil
}

// connection names a linked connection.
type connection struct{ tenant, id string }

func (c connection) key() string { return store.Key(c.tenant, c.id) }

// GetSchedule returns a connection's schedule.
func (s *Service) GetSchedule(ctx context.Context, req *schedulerv1.GetScheduleRequest) (*schedulerv1.GetScheduleResponse, error) {
	c, err := named(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	now := s.now()
	stored, _, err := s.schedules.Get(ctx, c.key())
	if errors.Is(err, store.ErrNotFound) {
		if err := s.mustBeLinked(ctx, c); err != nil {
			return nil, err
		}
		stored, err = schedule.New(c.tenant, c.id, now), nil
	}
	if err != nil {
		return nil, err
	}
	out, err := s.toWire(stored, now)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetScheduleResponse{Schedule: out}, nil
}

// SetSchedule sets a connection's schedule.
func (s *Service) SetSchedule(ctx context.Context, req *schedulerv1.SetScheduleRequest) (*schedulerv1.SetScheduleResponse, error) {
	c, err := named(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	daily, err := slot.Parse(or(req.GetTime(), schedule.DefaultTime), or(req.GetZone(), schedule.DefaultZone))
	if err != nil {
		return nil, errs.New(errs.Invalid, "bad_schedule", "%v", err)
	}
	if _, _, err := s.schedules.Get(ctx, c.key()); errors.Is(err, store.ErrNotFound) {
		if err := s.mustBeLinked(ctx, c); err != nil {
			return nil, err
		}
	}
	now := s.now()
	stored, err := s.schedules.Upsert(ctx, c.key(), func(old schedule.Schedule, found bool) (schedule.Schedule, error) {
		if !found {
			old = schedule.New(c.tenant, c.id, now)
		}
		return old.Set(req.GetEnabled(), daily, now), nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case s.changed <- struct{}{}:
	default: // the loop will look anyway
	}
	out, err := s.toWire(stored, now)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.SetScheduleResponse{Schedule: out}, nil
}

func (s *Service) toWire(stored schedule.Schedule, now time.Time) (*schedulerv1.Schedule, error) {
	daily, err := slot.Parse(stored.Time, stored.Zone)
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "bad_schedule", "the stored schedule of connection %q cannot be read: set it again", stored.Connection)
	}
	return wire.Schedule(stored, daily, now, schedule.Delay(stored.Tenant, stored.Connection, s.config.Jitter)), nil
}

// maxConnectionID bounds the ids that may become part of a key.
const maxConnectionID = 128

// named returns the connection that a request is about.
func named(ctx context.Context, id string) (connection, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return connection{}, err
	}
	if id == "" || len(id) > maxConnectionID {
		return connection{}, errs.New(errs.Invalid, "no_connection", "the request names no connection that could exist: link an org first, or name the connection")
	}
	return connection{tenant, id}, nil
}

func or(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}

// internal returns a context in which this service calls others in the name of a tenant, or of none.
func internal(ctx context.Context, tenant string) context.Context {
	return rpc.WithCaller(ctx, rpc.Caller{Tenant: tenant, Subject: "scheduler", Role: optionsv1.Role_ROLE_INTERNAL})
}

// listTimeout bounds how long the list of linked connections may take.
const listTimeout = 30 * time.Second

// linked calls yield for every linked connection of all tenants, until it returns false.
func (s *Service) linked(ctx context.Context, yield func(connection) bool) error {
	ctx, cancel := context.WithTimeout(internal(ctx, ""), listTimeout)
	defer cancel()
	stream, err := s.tokens.ListLinkedConnections(ctx, &authv1.ListLinkedConnectionsRequest{})
	if err != nil {
		return fmt.Errorf("list linked connections: %w", err)
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list linked connections: %w", err)
		}
		if !yield(connection{resp.GetConnection().GetTenant(), resp.GetConnection().GetId()}) {
			return nil
		}
	}
}

// mustBeLinked returns an error unless the connection is linked.
func (s *Service) mustBeLinked(ctx context.Context, c connection) error {
	found := false
	err := s.linked(ctx, func(other connection) bool {
		found = other == c
		return !found
	})
	if err == nil && !found {
		err = errs.New(errs.NotFound, "no_connection", "there is no linked connection %q: link an org first, or correct the id", c.id)
	}
	return err
}
