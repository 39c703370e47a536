package scheduler

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// Config are the settings of the service.
type Config struct {
	// Tick is the longest time between two looks at the clock.
	Tick time.Duration
	// Refresh is the time between two looks at the linked connections and their schedules.
	Refresh time.Duration
	// Retry is the time after which a run that could not be started is tried again, and the longest back-off.
	Retry time.Duration
	// StartTimeout bounds one request for a run.
	StartTimeout time.Duration
	// Parallel is how many runs are requested at once.
	Parallel int
	// Jitter spreads connections with the same time of day over this time, each at a stable place; 0 for none.
	Jitter time.Duration
}

// DefaultConfig returns settings that work everywhere.
func DefaultConfig() Config {
	return Config{Tick: time.Second, Refresh: 5 * time.Second, Retry: time.Minute, StartTimeout: 10 * time.Second, Parallel: 16}
}

// RegisterFlags declares the settings as flags.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.DurationVar(&c.Tick, "tick", c.Tick, "longest time between two looks at the clock")
	fs.DurationVar(&c.Refresh, "refresh", c.Refresh, "time between two looks at the linked connections and their schedules")
	fs.DurationVar(&c.Retry, "retry", c.Retry, "time after which a run that could not be started is tried again")
	fs.DurationVar(&c.StartTimeout, "start-timeout", c.StartTimeout, "longest time that one request for a run may take")
	fs.IntVar(&c.Parallel, "parallel", c.Parallel, "runs that are requested at once")
	fs.DurationVar(&c.Jitter, "jitter", c.Jitter, "spread connections with the same time of day over this time; 0 starts all at once")
}

// maxJitter keeps a run well before the next slot.
const maxJitter = 6 * time.Hour

// Validate reports every setting that cannot be used.
func (c Config) Validate() error {
	var problems []error
	for _, d := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
	}{
		{"tick", c.Tick, time.Millisecond, time.Hour},
		{"refresh", c.Refresh, time.Millisecond, 24 * time.Hour},
		{"retry", c.Retry, time.Millisecond, time.Hour},
		{"start-timeout", c.StartTimeout, time.Millisecond, 5 * time.Minute},
		{"jitter", c.Jitter, 0, maxJitter},
	} {
		if d.value < d.least || d.value > d.most {
			problems = append(problems, fmt.Errorf("-%s is %v; give a duration from %v to %v", d.name, d.value, d.least, d.most))
		}
	}
	if c.Parallel < 1 || c.Parallel > 1000 {
		problems = append(problems, fmt.Errorf("-parallel is %d; give a number from 1 to 1000", c.Parallel))
	}
	return errors.Join(problems...)
}
