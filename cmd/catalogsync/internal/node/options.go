package node

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/gateway"
	syncworker "github.com/catalogsync/catalogsync/services/sync-worker"
)

// Services are the names of the services.
var Services = []string{"gateway", "auth", "mapper", "scheduler", "sync-worker"}

// inner are the services behind the gateway, with the addresses at which they are where they run apart.
var inner = map[string]string{
	"auth": "127.0.0.1:9001", "mapper": "127.0.0.1:9002", "scheduler": "127.0.0.1:9003", "sync-worker": "127.0.0.1:9004",
}

// Options shape a node.
type Options struct {
	// Data is the directory for everything that is kept.
	Data string
	// Targets are the services that run here; all of them where empty.
	Targets []string
	// NATSURL are the addresses of NATS servers to use instead of an embedded one.
	NATSURL string
	// Addrs says, for services that run elsewhere, where; Listens, for services that others call from elsewhere, on which
	// address. Both matter only when not all services run here.
	Addrs, Listens map[string]string
	// Listen is the gateway's gRPC address.
	Listen string
	// HTTPListen is the gateway's address for JSON over HTTP.
	HTTPListen string
	// NATSListen is a loopback address at which other processes reach the embedded NATS server; empty: none can.
	NATSListen string
	// Directory is where people are kept; SQLite in Data where empty.
	Directory string
	// DevOrigins are origins beside Salesforce's own that may be linked and called, such as a simulator's.
	DevOrigins []string
	// AppClientID and AppClientSecret are the installation's own app, for links by consent that name none.
	AppClientID     string
	AppClientSecret config.Secret
	// MaxBytes is what streams and buckets together may take on disk.
	MaxBytes int64
	// Slots is how many tasks are worked on at once.
	Slots int
	// Grace is how long open calls have to finish when the node is stopped.
	Grace time.Duration
	// Gateway is how the gateway is seen from outside, and by which issuer people sign in.
	Gateway gateway.Config
	// Insecure lets services listen, and call others, beyond this machine without encryption.
	Insecure bool

	Log       *slog.Logger
	Telemetry telemetry.Providers
}

const (
	// othersBytes is what NATS keeps for the audit log, dead letters and the buckets of all services but the sync-worker.
	othersBytes = 5 << 29
	// leastBytes leaves the sync-worker something.
	leastBytes = 4 << 30
)

// DefaultOptions returns the settings that nobody has to think about.
func DefaultOptions() Options {
	return Options{
		Data: "catalogsync-data", Listen: "127.0.0.1:8080", HTTPListen: "127.0.0.1:8081", MaxBytes: 16 << 30,
		Slots: syncworker.DefaultConfig().Slots, Grace: 10 * time.Second, Addrs: maps.Clone(inner), Listens: maps.Clone(inner),
		Gateway: gateway.DefaultConfig(),
	}
}

// RegisterFlags declares the settings.
func (o *Options) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.Data, "data", o.Data, "`directory` for everything that is kept; one process at a time may use it")
	fs.Func("target", "`services` to run here, separated by commas, of "+strings.Join(Services, ", ")+"; all where not given", func(v string) error {
		o.Targets = strings.Split(v, ",")
		return nil
	})
	fs.StringVar(&o.NATSURL, "nats-url", o.NATSURL, "`addresses` of NATS servers to use instead of the embedded one, separated by commas")
	for _, name := range slices.Sorted(maps.Keys(inner)) {
		fs.Func(name+"-addr", "`address` of the "+name+" service where it runs elsewhere (default "+inner[name]+")", func(v string) error {
			o.Addrs[name] = v
			return nil
		})
		fs.Func(name+"-listen", "`address` on which others reach the "+name+" service where not all services run here (default "+inner[name]+")", func(v string) error {
			o.Listens[name] = v
			return nil
		})
	}
	fs.StringVar(&o.Listen, "listen", o.Listen, "`address` of the gRPC API")
	fs.StringVar(&o.HTTPListen, "http-listen", o.HTTPListen, "`address` of the API as JSON over HTTP")
	fs.StringVar(&o.NATSListen, "nats-listen", o.NATSListen, "loopback `address` at which other processes reach the embedded NATS server; empty: none can")
	fs.StringVar(&o.Directory, "directory", o.Directory, "`URL` of the store of people, such as postgres://...; SQLite in the data directory where empty")
	fs.StringVar(&o.AppClientID, "app-client-id", o.AppClientID, "consumer `key` of the installation's own app, for link --web without --client-id")
	config.SecretVar(fs, &o.AppClientSecret, "app-client-secret", "consumer secret of that app")
	fs.Func("dev-origin", "for development only: a further `origin` that may be linked, such as http://127.0.0.1:8089 of a simulator; repeatable", func(v string) error {
		o.DevOrigins = append(o.DevOrigins, v)
		return nil
	})
	fs.Int64Var(&o.MaxBytes, "max-bytes", o.MaxBytes, "`bytes` that NATS may take on disk; keep it below the size of the disk")
	fs.IntVar(&o.Slots, "slots", o.Slots, "how many tasks are worked on at once")
	fs.DurationVar(&o.Grace, "shutdown-grace", o.Grace, "`time` that open calls have to finish when the process is stopped")
	fs.BoolVar(&o.Insecure, "insecure", o.Insecure, "listen, and call others, beyond this machine without TLS: for networks that nobody else is in")
	o.Gateway.RegisterPublicFlags(fs)
}

// Validate reports everything that is wrong.
func (o Options) Validate() error {
	var problems []error
	if o.Data == "" {
		problems = append(problems, errors.New("-data is empty: name a directory"))
	}
	if o.MaxBytes < leastBytes {
		problems = append(problems, fmt.Errorf("-max-bytes is %d: give at least %d (4 GiB); they are not taken before they are needed", o.MaxBytes, leastBytes))
	}
	for _, name := range o.Targets {
		if !slices.Contains(Services, name) {
			problems = append(problems, fmt.Errorf("-target: there is no service %q; there are %s", name, strings.Join(Services, ", ")))
		}
	}
	if !o.whole() && o.NATSURL == "" && o.NATSListen == "" {
		problems = append(problems, errors.New("-target: services that run apart share a NATS server; name it with -nats-url, or let others reach this one with -nats-listen"))
	}
	if o.NATSURL != "" && o.NATSListen != "" {
		problems = append(problems, errors.New("-nats-listen is for the embedded NATS server, and -nats-url says not to start one; give one of the two"))
	}
	if !o.whole() && o.runs("sync-worker") && o.Directory == "" {
		problems = append(problems, errors.New("-directory is missing: SQLite is for the all-in-one alone; give postgres://... where services run apart"))
	}
	if o.Slots < 1 {
		problems = append(problems, fmt.Errorf("-slots is %d: give at least 1", o.Slots))
	}
	return errors.Join(append(problems, o.encrypted())...)
}

// encrypted refuses addresses beyond this machine that would be used without TLS, and settings of the gateway that it
// would not take.
func (o Options) encrypted() error {
	var problems []error
	if o.runs("gateway") {
		public := o.Gateway
		public.HTTPListen, public.InsecureHTTP = o.HTTPListen, public.InsecureHTTP || o.Insecure
		problems = append(problems, public.Validate(), rpc.RequireTLS("listen", o.Listen, "-public-cert and -public-key", o.Gateway.PublicCert != "", o.Insecure))
	}
	to := bus.Options{URLs: o.NATSURL}
	if o.NATSURL != "" {
		problems = append(problems, rpc.RequireTLS("nats-url", o.NATSURL, "tls:// addresses", to.Encrypted(), o.Insecure))
	}
	const remedy = "each service a process of its own, with certificates"
	for _, name := range slices.Sorted(maps.Keys(inner)) {
		if o.whole() {
			break
		}
		if o.runs(name) {
			problems = append(problems, rpc.RequireTLS(name+"-listen", o.Listens[name], remedy, false, o.Insecure))
		} else {
			problems = append(problems, rpc.RequireTLS(name+"-addr", o.Addrs[name], remedy, false, o.Insecure))
		}
	}
	return errors.Join(problems...)
}

// runs reports whether a service runs here.
func (o Options) runs(name string) bool {
	return len(o.Targets) == 0 || slices.Contains(o.Targets, name)
}

// whole reports whether all services run here.
func (o Options) whole() bool {
	return !slices.ContainsFunc(Services, func(name string) bool { return !o.runs(name) })
}
