// Command mapper runs the mapper service by itself.
package main

import (
	"context"

	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/services/mapper"
)

func main() {
	cfg := mapper.DefaultConfig()
	app.ServiceMain(app.Program{
		Name:     "mapper",
		Listen:   "127.0.0.1:9002",
		Flags:    cfg.RegisterFlags,
		Validate: func() error { return cfg.Validate() },
		New: func(ctx context.Context, n *app.Node) (app.Service, error) {
			return mapper.New(ctx, cfg, mapper.Deps{Log: n.Log, Bus: n.Bus, Telemetry: n.Telemetry})
		},
	})
}
