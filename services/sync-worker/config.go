package syncworker

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
)

// Config is what can be set.
type Config struct {
	// Directory is where people are kept: postgres://... or, in the all-in-one only, sqlite:PATH.
	Directory string
	// OneProcess says that this worker is the only process on the directory and the bus: only then may people be in SQLite.
	OneProcess bool
	// Slots is how many tasks this worker works on at once.
	Slots int
	// LeaseTTL is how long a task stays with a worker that says nothing.
	LeaseTTL time.Duration
	// Sweep is how often open runs are looked through for what is missing.
	Sweep time.Duration
	// UnknownWait is how long Salesforce may be at work on a call whose answer was lost.
	UnknownWait time.Duration
	// MaxRunAge ends runs that have not ended by themselves.
	MaxRunAge time.Duration
	// MaxFailures is how many attempts of one task may fail before its run ends.
	MaxFailures int
	// APIVersion of Salesforce's API.
	APIVersion string
	// AllowGovernment admits Salesforce's military cloud and China.
	AllowGovernment bool
	// DevOrigins are origins beside Salesforce's own that may be called, such as a simulator's; separated by commas.
	DevOrigins string
	// Retention of outcomes and planned changes.
	Retention time.Duration
	// MaxBytes is what streams and ledger together may take on the bus's disk.
	MaxBytes int64
}

// DefaultConfig returns the settings that nobody has to think about. The directory has no default.
func DefaultConfig() Config {
	return Config{
		Slots: 4, LeaseTTL: 6 * time.Second, Sweep: time.Second, UnknownWait: 10*time.Minute + 30*time.Second, MaxRunAge: 48 * time.Hour,
		MaxFailures: 12, APIVersion: "67.0", Retention: 90 * 24 * time.Hour, MaxBytes: 16 << 30,
	}
}

// RegisterFlags declares the settings.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Directory, "directory", c.Directory, "`URL` of the store of people: postgres://... ; the all-in-one takes sqlite:PATH as well")
	fs.IntVar(&c.Slots, "slots", c.Slots, "how many tasks this worker works on at once")
	fs.DurationVar(&c.LeaseTTL, "lease-ttl", c.LeaseTTL, "how long a task stays with a worker that says nothing; the same for all workers")
	fs.DurationVar(&c.Sweep, "sweep", c.Sweep, "how often open runs are looked through for what is missing")
	fs.DurationVar(&c.UnknownWait, "unknown-wait", c.UnknownWait, "how long Salesforce may be at work on a call whose answer was lost; it ends any request after 10m, and clocks of workers may differ a little")
	fs.DurationVar(&c.MaxRunAge, "max-run-age", c.MaxRunAge, "when a run that has not ended is ended; the time for which it is held does not count, that for which it waits for API calls does")
	fs.IntVar(&c.MaxFailures, "max-failures", c.MaxFailures, "how many attempts of one task may fail before its run ends")
	fs.StringVar(&c.APIVersion, "api-version", c.APIVersion, "Salesforce API `version`")
	fs.BoolVar(&c.AllowGovernment, "allow-government-hosts", c.AllowGovernment, "admit orgs at .my.salesforce.mil and .my.sfcrmproducts.cn")
	fs.StringVar(&c.DevOrigins, "dev-origins", c.DevOrigins, "for development only: further `origins` that may be called, separated by commas, such as http://127.0.0.1:8089 of a simulator")
	fs.DurationVar(&c.Retention, "retention", c.Retention, "how long outcomes and planned changes are kept")
	fs.Int64Var(&c.MaxBytes, "max-bytes", c.MaxBytes, "`bytes` that streams and ledger together may take on the disk of the bus")
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	bad(c.Directory != "", "-directory is missing: name the database of people, such as postgres://catalogsync@127.0.0.1/catalogsync")
	bad(c.OneProcess || !strings.HasPrefix(c.Directory, "sqlite:"), "-directory is %q: SQLite is for the all-in-one alone; give postgres://... where services run apart", c.Directory)
	bad(c.Slots > 0, "-slots is %d: give at least 1", c.Slots)
	bad(c.LeaseTTL >= time.Second, "-lease-ttl is %s: give at least 1s", c.LeaseTTL)
	bad(c.Sweep > 0 && c.Sweep <= c.LeaseTTL, "-sweep is %s: give more than 0 and at most -lease-ttl (%s)", c.Sweep, c.LeaseTTL)
	bad(c.MaxRunAge > 0, "-max-run-age is %s: give more than 0", c.MaxRunAge)
	bad(c.MaxFailures > 0, "-max-failures is %d: give at least 1", c.MaxFailures)
	bad(c.Retention > 0, "-retention is %s: give more than 0", c.Retention)
	bad(c.MaxBytes >= 64<<20, "-max-bytes is %d: give at least %d (64 MiB)", c.MaxBytes, 64<<20)
	for _, origin := range c.devOrigins() {
		_, err := c.policy().Check(origin)
		bad(err == nil, "-dev-origins: %q is no origin such as http://127.0.0.1:8089", origin)
	}
	return errors.Join(problems...)
}

func (c Config) policy() salesforce.HostPolicy {
	return salesforce.HostPolicy{AllowDev: c.devOrigins(), AllowGov: c.AllowGovernment}
}

func (c Config) devOrigins() []string {
	return strings.FieldsFunc(c.DevOrigins, func(r rune) bool { return r == ',' || r == ' ' })
}

// streams get nine tenths of what the bus may hold, the ledger the rest.
func (c Config) streams() event.Retention {
	return event.Retention{Outcomes: c.Retention, MaxBytes: c.MaxBytes / 10 * 9}
}

func (c Config) conducting(allocations *allocation.Book) conduct.Options {
	return conduct.Options{
		Limits: conduct.DefaultLimits(), InFlight: 8, MaxAge: c.MaxRunAge, SmallRun: 2000, Allocations: allocations,
	}
}
