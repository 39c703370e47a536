// Command auth runs the auth service by itself.
package main

import (
	"context"

	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/services/auth"
)

func main() {
	cfg := auth.DefaultConfig()
	app.ServiceMain(app.Program{
		Name:     "auth",
		Listen:   "127.0.0.1:9001",
		Flags:    cfg.RegisterFlags,
		Validate: func() error { return cfg.Validate() },
		New: func(ctx context.Context, n *app.Node) (app.Service, error) {
			return auth.New(ctx, cfg, auth.Deps{Log: n.Log, Bus: n.Bus, Telemetry: n.Telemetry})
		},
	})
}
