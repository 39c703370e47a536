package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/gateway/internal/httpapi"
	"github.com/catalogsync/catalogsync/services/gateway/internal/oauthpage"
	"github.com/catalogsync/catalogsync/services/gateway/internal/signin"
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
	web, err := s.listenHTTP(ctx)
	if err != nil {
		return err
	}
	options := httpapi.Options{
		Conn: conn, Telemetry: s.deps.Telemetry, Ready: s.ready, PublicURL: s.cfg.publicURL(web.Addr().String()),
		Limits: httpapi.Limits{BodyBytes: s.cfg.MaxBodyBytes, FileBytes: s.cfg.MaxFileBytes, Stall: s.cfg.Stall},
		Pages:  map[string]http.Handler{},
	}
	s.origin.Store(options.PublicURL)
	consent := &oauthpage.Pages{Auth: authv1.NewConnectionServiceClient(s.deps.Auth), PublicURL: options.PublicURL, Log: s.deps.Log}
	maps.Copy(options.Pages, consent.Handlers())
	if s.issuer != nil {
		pages := &signin.Pages{
			Issuer: s.issuer, Sessions: s.control.Sessions, Audit: s.recordSignIn, PublicURL: options.PublicURL, Log: s.deps.Log,
		}
		maps.Copy(options.Pages, pages.Handlers())
		options.Session = pages.Session
	}
	handler, err := httpapi.New(ctx, options)
	if err != nil {
		return errors.Join(fmt.Errorf("HTTP API: %w", err), web.Close())
	}
	lis := net.Listen("gateway")
	return app.Run(ctx,
		func(ctx context.Context) error { return rpc.Serve(ctx, server, lis, s.cfg.ShutdownGrace) },
		func(ctx context.Context) error { return s.serveHTTP(ctx, web, handler) },
		s.control.Tokens.Run,
	)
}

// listenHTTP returns what the HTTP server listens on, which is encrypted where a certificate is set.
func (s *Service) listenHTTP(ctx context.Context) (net.Listener, error) {
	conf, err := s.publicTLS()
	if err != nil {
		return nil, err
	}
	lis := s.deps.HTTP
	if lis == nil {
		if lis, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.HTTPListen); err != nil {
			return nil, fmt.Errorf("-http-listen: %w", err)
		}
	}
	// The limits are below TLS: a handshake takes a place too.
	lis = s.Limit(lis)
	if conf != nil {
		lis = tls.NewListener(lis, conf)
	}
	return lis, nil
}

// publicTLS is how connections from outside are encrypted; nil where no certificate is set for them.
func (s *Service) publicTLS() (*tls.Config, error) {
	if s.cfg.PublicCert == "" {
		return nil, nil
	}
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(s.cfg.PublicCert, s.cfg.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("-public-cert and -public-key: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: load, NextProtos: []string{"h2", "http/1.1"}}, nil
}

func (s *Service) serveHTTP(ctx context.Context, lis net.Listener, handler http.Handler) error {
	server := httpapi.Server(handler, s.cfg.Stall)
	server.ErrorLog = slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelWarn)
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
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
