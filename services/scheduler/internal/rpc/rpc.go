// Package rpc owns how schedules look on the wire, and nothing else.
package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	"github.com/catalogsync/catalogsync/services/scheduler/internal/schedule"
	"github.com/catalogsync/catalogsync/services/scheduler/internal/slot"
)

// Schedule returns a schedule for the wire, as it stands at the time now.
func Schedule(s schedule.Schedule, d slot.Daily, now time.Time, delay time.Duration) *schedulerv1.Schedule {
	out := &schedulerv1.Schedule{
		ConnectionId: s.Connection, Enabled: s.Enabled, Time: s.Time, Zone: s.Zone,
		LastSlot: s.LastSlot, LastRunId: s.LastRunID, Reason: s.Reason,
	}
	if next, ok := s.Next(d, now, delay); ok {
		out.NextAt = timestamppb.New(next)
	}
	return out
}
