package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
)

func (p *program) scheduleCommand() *cobra.Command {
	return holder("schedule", "Show and set when runs start by themselves", p.scheduleShowCommand(), p.scheduleSetCommand())
}

func (p *program) scheduleShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the schedule",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Schedules.GetSchedule(ctx, &schedulerv1.GetScheduleRequest{})
			if err != nil {
				return err
			}
			return p.show(res.GetSchedule(), func(s view.Style) string { return view.Schedule(s, res.GetSchedule()) })
		}),
	}
}

func (p *program) scheduleSetCommand() *cobra.Command {
	at, zone, off, on := "", "", false, false
	c := &cobra.Command{
		Use:   "set",
		Short: "Set the schedule: a time of day, its zone, or off",
		Long:  "Set when a run starts each day. What is not given stays as it is; giving a time or a zone switches the schedule on.",
		Args:  args(0, 0),
	}
	c.Flags().StringVar(&at, "time", "", "local `time` of day, HH:MM or HH:MM:SS")
	c.Flags().StringVar(&zone, "zone", "", "IANA time `zone`, such as Europe/Berlin")
	c.Flags().BoolVar(&off, "off", false, "start no runs")
	c.Flags().BoolVar(&on, "on", false, "start runs again, at the time that was set")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch change := at != "" || zone != "" || on; {
		case off && change:
			return exit.Misuse("--off goes with no other flag")
		case !off && !change:
			return exit.Misuse("nothing is to be set; give --time, --zone, --on or --off")
		}
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			now, err := c.Schedules.GetSchedule(ctx, &schedulerv1.GetScheduleRequest{})
			if err != nil {
				return err
			}
			req := &schedulerv1.SetScheduleRequest{Enabled: !off, Time: now.GetSchedule().GetTime(), Zone: now.GetSchedule().GetZone()}
			if at != "" {
				req.Time = at
			}
			if zone != "" {
				req.Zone = zone
			}
			res, err := c.Schedules.SetSchedule(ctx, req)
			if err != nil {
				return err
			}
			return p.show(res.GetSchedule(), func(s view.Style) string { return view.Schedule(s, res.GetSchedule()) })
		})(cmd, args)
	}
	return c
}
