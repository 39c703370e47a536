package rpc

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

// bufferBytes is how much one direction of an in-memory connection holds before the writer waits.
const bufferBytes = 1 << 20

// MemNet is a network inside the process, on which servers are found by name. Clients may dial a name before, while or
// after a server listens on it: calls wait for it for some seconds, as they would for a connection to a slow host.
type MemNet struct {
	mu    sync.Mutex
	names map[string]*memListener
}

// NewMemNet returns a network without servers.
func NewMemNet() *MemNet { return &MemNet{names: map[string]*memListener{}} }

// Listen takes a name. It panics when a server holds the name already; closing the listener frees it.
func (n *MemNet) Listen(name string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listener(name)
	if l.taken {
		panic("rpc: two servers listen on " + name)
	}
	l.taken = true
	return l
}

// Dial returns a client of the server with the name, built like every other by [Dial].
func (n *MemNet) Dial(name string, o DialOptions) (*grpc.ClientConn, error) {
	dialer := func(ctx context.Context, _ string) (net.Conn, error) {
		n.mu.Lock()
		l := n.listener(name)
		n.mu.Unlock()
		return l.DialContext(ctx)
	}
	o.Extra = append([]grpc.DialOption{grpc.WithContextDialer(dialer)}, o.Extra...)
	return Dial("passthrough:///"+name, o)
}

// listener returns what listens on the name, or makes what will: connections wait in it until they are accepted.
func (n *MemNet) listener(name string) *memListener {
	l, ok := n.names[name]
	if !ok {
		l = &memListener{Listener: bufconn.Listen(bufferBytes), net: n, name: name}
		n.names[name] = l
	}
	return l
}

type memListener struct {
	*bufconn.Listener
	net   *MemNet
	name  string
	taken bool
}

// Close ends the listener and frees its name for the next.
func (l *memListener) Close() error {
	l.net.mu.Lock()
	if l.net.names[l.name] == l {
		delete(l.net.names, l.name)
	}
	l.net.mu.Unlock()
	return l.Listener.Close()
}

// Addr returns the name.
func (l *memListener) Addr() net.Addr { return memAddr(l.name) }

type memAddr string

func (memAddr) Network() string  { return "memory" }
func (a memAddr) String() string { return string(a) }
