// Package natsd owns the embedded NATS server: JetStream on one data directory, which this process holds alone.
//
// Every message that the server acknowledges is on disk: it syncs before it answers. No other package imports the
// server, so binaries that talk to a NATS cluster do not carry it.
package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// readyTimeout is how long a server may take to recover its streams and accept clients.
	readyTimeout = 60 * time.Second
	// readyPoll is how often it is looked whether the server has given up.
	readyPoll = 100 * time.Millisecond
)

// maxMemory is what JetStream may keep in memory, in bytes. All streams are on disk; only the state of short-lived
// readers is in memory.
const maxMemory = 64 << 20

// Options says where and how the server runs.
type Options struct {
	// Dir is the data directory. It is created when missing and held by a lock while the server runs. It must be on a
	// local file system: locks and syncs on network file systems promise less.
	Dir string
	// Listen is the loopback address on which other processes reach the server, such as "127.0.0.1:4222"; port 0 takes a
	// free one. Empty means that only this process reaches it. There is no authentication, therefore no other address
	// is accepted.
	Listen string
	// MaxStore is what all streams together may take on disk, in bytes. Streams reserve their limits from it. It must be
	// below the size of the disk: a disk that is really full stops the server until it is restarted.
	MaxStore int64
	// Name is the server's name in logs and in monitoring; "embedded" when empty.
	Name string
	// Log receives what the server says; nothing is logged when nil.
	Log *slog.Logger
	// NoSync leaves it to the operating system when data reaches the disk. Acknowledged messages are lost when the
	// machine stops. For tests only.
	NoSync bool
}

// Server is a running server. It implements [nats.InProcessConnProvider].
type Server struct {
	srv  *server.Server
	lock *os.File
}

// Version returns the version of the server that is linked in, such as "2.15.2".
func Version() string { return server.VERSION }

// Start starts a server and returns when it accepts clients and has recovered its streams. It fails when the directory
// cannot be written or another process holds it.
func Start(o Options) (*Server, error) {
	opts, err := o.server()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up the embedded NATS server in %s: %w", o.Dir, err), lock.Close())
	}
	log := newLogger(o.Log)
	srv.SetLoggerV2(log, false, false, false)
	s := &Server{srv: srv, lock: lock}
	srv.Start()
	if err := s.waitReady(log); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("start the embedded NATS server in %s: %w", o.Dir, err)
	}
	return s, nil
}

// server translates the options into the library's.
func (o Options) server() (*server.Options, error) {
	if o.Dir == "" {
		return nil, errors.New("the embedded NATS server needs a data directory")
	}
	if o.MaxStore <= 0 {
		return nil, fmt.Errorf("the embedded NATS server in %s needs a limit for its storage in bytes, below the size of the disk", o.Dir)
	}
	name := o.Name
	if name == "" {
		name = "embedded"
	}
	opts := &server.Options{
		ServerName:         name,
		DontListen:         o.Listen == "",
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           o.Dir,
		JetStreamMaxMemory: maxMemory,
		JetStreamMaxStore:  o.MaxStore,
		SyncAlways:         !o.NoSync,
	}
	if o.Listen == "" {
		return opts, nil
	}
	addr, err := net.ResolveTCPAddr("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("the address %q of the embedded NATS server: %w", o.Listen, err)
	}
	if !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("the embedded NATS server has no authentication and listens on loopback only, not on %q; "+
			"run a NATS cluster for services on several machines", o.Listen)
	}
	opts.Host, opts.Port = addr.IP.String(), addr.Port
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

// waitReady waits until clients can connect and JetStream has its streams.
func (s *Server) waitReady(log *logger) error {
	for end := time.Now().Add(readyTimeout); !s.srv.ReadyForConnections(readyPoll); {
		if err := log.fatal(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("not ready after %s", readyTimeout)
		}
	}
	if !s.srv.JetStreamEnabled() {
		return errors.Join(errors.New("JetStream did not start"), log.fatal())
	}
	return nil
}

// InProcessConn returns a connection that does not leave the process.
func (s *Server) InProcessConn() (net.Conn, error) { return s.srv.InProcessConn() }

// ClientOption makes a client connect within the process, whatever URL it was given.
func (s *Server) ClientOption() nats.Option { return nats.InProcessServer(s) }

// URL returns the address for clients in other processes; empty when the server does not listen.
func (s *Server) URL() string {
	if addr, ok := s.srv.Addr().(*net.TCPAddr); ok {
		return "nats://" + addr.String()
	}
	return ""
}

// Healthz returns nil while the server can serve and store. After a failed write to the disk it returns an error until
// the server is started anew.
func (s *Server) Healthz() error {
	if h := s.srv.Healthz(nil); h.StatusCode != 200 {
		if h.Error == "" {
			h.Error = h.Status
		}
		return fmt.Errorf("embedded NATS server: %s", h.Error)
	}
	return nil
}

// Shutdown stops the server, waits until its data is on disk and gives the directory free. Clients are to be closed
// before. It may be called more than once.
func (s *Server) Shutdown() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	_ = s.lock.Close() // gives the lock free; a second call finds it closed
}

// lockName is the file in the data directory whose lock says that a process uses it.
const lockName = "LOCK"

// lockDir takes the directory for this process. The server itself takes no lock, and two servers on one directory
// silently lose each other's messages.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := flock(f); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, errTaken) {
			return nil, fmt.Errorf("data directory %s: another process uses it; stop that process or choose another directory", dir)
		}
		return nil, fmt.Errorf("data directory %s: lock %s: %w", dir, lockName, err)
	}
	return f, nil
}
