package testkit

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/natsd"
)

const (
	// connectTimeout bounds how long a test waits for its server.
	connectTimeout = 30 * time.Second
	// maxStore is larger than all limits of the system's streams together; no space is taken before it is used.
	maxStore = 1 << 40
)

// Bus returns a bus on a fresh embedded server. Both end with the test.
func Bus(t testing.TB) *bus.Bus {
	t.Helper()
	return NATS(t).Bus(t)
}

// Server is an embedded server that a test can stop and start on the same data. Its clients reconnect by themselves.
type Server struct {
	opts natsd.Options

	mu  sync.Mutex
	srv *natsd.Server // nil when stopped
}

// NATS starts an embedded server that ends with the test. It leaves syncing to the operating system, which loses nothing
// unless the machine stops; change may ask for more.
func NATS(t testing.TB, change ...func(*natsd.Options)) *Server {
	t.Helper()
	s := &Server{opts: natsd.Options{Dir: t.TempDir(), MaxStore: maxStore, Name: "test", NoSync: true, Log: Logger(t)}}
	for _, c := range change {
		c(&s.opts)
	}
	s.Start(t)
	t.Cleanup(s.Stop)
	return s
}

// Bus connects to the server. The connection ends with the test.
func (s *Server) Bus(t testing.TB) *bus.Bus {
	t.Helper()
	return Connect(t, bus.Options{Server: s})
}

// Connect connects to a server, with the test's name and log. The connection ends with the test.
func Connect(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	o.Name = t.Name()
	if o.Log == nil {
		o.Log = Logger(t)
	}
	b, err := bus.Connect(ctx, o)
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

// InProcessConn connects to the server that runs now.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return nil, errors.New("the server is stopped")
	}
	return s.srv.InProcessConn()
}

// Dir returns the data directory.
func (s *Server) Dir() string { return s.opts.Dir }

// Healthz returns what the server says about itself.
func (s *Server) Healthz() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return errors.New("the server is stopped")
	}
	return s.srv.Healthz()
}

// Stop stops the server; the data stays.
func (s *Server) Stop() {
	s.mu.Lock()
	srv := s.srv
	s.srv = nil
	s.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
	}
}

// Start starts the server again.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	srv, err := natsd.Start(s.opts)
	if err != nil {
		t.Fatalf("start NATS: %v", err)
	}
	s.mu.Lock()
	s.srv = srv
	s.mu.Unlock()
}

// Restart stops the server and starts it on the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.Start(t)
}
