package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/gateway/internal/httpapi"
)

// Run serves HTTP until ctx ends. What comes in by HTTP goes through a gRPC server of its own in memory, which is built
// like the public one: the same rules hold.
func (s *Service) Run(ctx context.Context) (err error) {
	server := rpc.NewServer(rpc.ServerOptions{
		Log: s.deps.Log, Telemetry: s.deps.Telemetry, Authenticate: s.Authenticate, Health: s.Health, Stopping: ctx.Done(),
	})
	s.Register(server)
	net := rpc.NewMemNet()
	conn, err := net.Dial("gateway", rpc.DialOptions{Telemetry: s.deps.Telemetry})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	handler, err := httpapi.New(ctx, httpapi.Options{
		Conn: conn, Telemetry: s.deps.Telemetry, Ready: s.ready,
		Limits: httpapi.Limits{BodyBytes: s.cfg.MaxBodyBytes, FileBytes: s.cfg.MaxFileBytes, Stall: s.cfg.Stall},
	})
	if err != nil {
		return fmt.Errorf("HTTP API: %w", err)
	}
	lis := net.Listen("gateway")
	return app.Run(ctx,
		func(ctx context.Context) error { return rpc.Serve(ctx, server, lis, s.cfg.ShutdownGrace) },
		func(ctx context.Context) error { return s.serveHTTP(ctx, handler) },
	)
}

func (s *Service) serveHTTP(ctx context.Context, handler http.Handler) error {
	lis := s.deps.HTTP
	if lis == nil {
		var err error
		if lis, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.HTTPListen); err != nil {
			return fmt.Errorf("-http-listen: %w", err)
		}
	}
	server := httpapi.Server(handler, s.cfg.Stall)
	server.ErrorLog = slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelWarn)
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(httpapi.LimitListener(lis, s.cfg.MaxConnections, s.cfg.MaxConnectionsPerAddress))
	}()
	s.deps.Log.InfoContext(ctx, "serving HTTP", slog.String(telemetry.KeyAddr, lis.Addr().String()))
	select {
	case err := <-served:
		return fmt.Errorf("HTTP server: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownGrace)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // what is still open has had its time
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("HTTP server: %w", err)
	}
	return nil
}

// readyTimeout bounds how long one part may take to say that it works.
const readyTimeout = 2 * time.Second

// ready asks the bus and all services whether they work.
func (s *Service) ready(ctx context.Context) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	checks := map[string]func(context.Context) error{"nats": s.deps.Bus.Health}
	for name, conn := range map[string]grpc.ClientConnInterface{
		"auth": s.deps.Auth, "mapper": s.deps.Mapper, "scheduler": s.deps.Scheduler, "sync-worker": s.deps.SyncWorker,
	} {
		checks[name] = func(ctx context.Context) error { return rpc.CheckHealth(ctx, conn) }
	}
	var (
		mu       sync.Mutex
		wg       sync.WaitGroup
		problems = map[string]error{}
	)
	for name, check := range checks {
		wg.Go(func() {
			if err := check(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems[name] = err
			}
		})
	}
	wg.Wait()
	return problems
}
