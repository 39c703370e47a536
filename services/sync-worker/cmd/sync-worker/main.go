// Command sync-worker runs one sync-worker by itself.
package main

import (
	"context"
	"math"
	"runtime/debug"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	syncworker "github.com/catalogsync/catalogsync/services/sync-worker"
)

// memoryLimit is what the garbage collector holds the process to, in bytes, where GOMEMLIMIT does not say. A worker
// keeps below 256 MiB whatever the size of a run; what is alive at once is well below this limit.
const memoryLimit = 192 << 20

func main() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(memoryLimit)
	}
	cfg := syncworker.DefaultConfig()
	app.ServiceMain(app.Program{
		Name:     "sync-worker",
		Listen:   "127.0.0.1:9004",
		Peers:    map[string]string{"auth": "127.0.0.1:9001", "mapper": "127.0.0.1:9002"},
		Flags:    cfg.RegisterFlags,
		Validate: func() error { return cfg.Validate() },
		New: func(ctx context.Context, n *app.Node) (app.Service, error) {
			return syncworker.New(ctx, cfg, syncworker.Deps{
				Log: n.Log, Bus: n.Bus, Telemetry: n.Telemetry,
				Connections: authv1.NewConnectionServiceClient(n.Peer("auth")),
				Tokens:      authv1.NewTokenServiceClient(n.Peer("auth")),
				FieldMaps:   mapperv1.NewFieldMapServiceClient(n.Peer("mapper")),
				Mapper:      mapperv1.NewMapperServiceClient(n.Peer("mapper")),
			})
		},
	})
}
