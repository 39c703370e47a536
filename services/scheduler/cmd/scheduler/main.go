// Command scheduler runs one scheduler by itself.
package main

import (
	"context"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/services/scheduler"
)

func main() {
	cfg := scheduler.DefaultConfig()
	app.ServiceMain(app.Program{
		Name:     "scheduler",
		Listen:   "127.0.0.1:9003",
		Peers:    map[string]string{"auth": "127.0.0.1:9001", "sync-worker": "127.0.0.1:9004"},
		Flags:    cfg.RegisterFlags,
		Validate: func() error { return cfg.Validate() },
		New: func(ctx context.Context, n *app.Node) (app.Service, error) {
			return scheduler.New(ctx, cfg, scheduler.Deps{
				Log: n.Log, Bus: n.Bus, Telemetry: n.Telemetry,
				Tokens: authv1.NewTokenServiceClient(n.Peer("auth")),
				Runs:   syncv1.NewRunServiceClient(n.Peer("sync-worker")),
			})
		},
	})
}
