// Command gateway runs the gateway by itself.
package main

import (
	"context"

	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/services/gateway"
)

func main() {
	cfg := gateway.DefaultConfig()
	app.ServiceMain(app.Program{
		Name:   "gateway",
		Listen: "127.0.0.1:8080",
		Peers: map[string]string{
			"auth": "127.0.0.1:9001", "mapper": "127.0.0.1:9002", "scheduler": "127.0.0.1:9003", "sync-worker": "127.0.0.1:9004",
		},
		Flags:     cfg.RegisterFlags,
		Validate:  func() error { return cfg.Validate() },
		Encrypted: func() bool { return cfg.PublicCert != "" },
		New: func(ctx context.Context, n *app.Node) (app.Service, error) {
			return gateway.New(ctx, cfg, gateway.Deps{
				Log: n.Log, Bus: n.Bus, Telemetry: n.Telemetry,
				Auth: n.Peer("auth"), Mapper: n.Peer("mapper"), Scheduler: n.Peer("scheduler"), SyncWorker: n.Peer("sync-worker"),
			})
		},
	})
}
