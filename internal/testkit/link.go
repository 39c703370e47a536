package testkit

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/catalogsync/catalogsync/internal/bus"
)

// Link is a connection to a server that a test can stall or cut, as a bad network would.
type Link struct {
	server bus.InProcess

	mu      sync.Mutex
	open    chan struct{} // closed unless stalled
	cut     bool
	current *linkConn
}

// NewLink returns a link to the server that works.
func NewLink(server bus.InProcess) *Link {
	l := &Link{server: server, open: make(chan struct{})}
	close(l.open)
	return l
}

// Bus connects over the link. The connection ends with the test; the link must not be stalled then.
func (l *Link) Bus(t testing.TB) *bus.Bus {
	t.Helper()
	t.Cleanup(l.Resume)
	return Connect(t, bus.Options{Server: l})
}

// InProcessConn connects to the server unless the link is cut.
func (l *Link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("the link is cut")
	}
	conn, err := l.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	c := &linkConn{Conn: conn, link: l, closed: make(chan struct{})}
	c.more = sync.NewCond(&c.mu)
	go c.pump()
	l.current = c
	return c, nil
}

// Stall holds back everything in both directions. Nobody notices at first.
func (l *Link) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
		l.open = make(chan struct{})
	default:
	}
}

// Resume lets everything through that was held back.
func (l *Link) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// Cut breaks the connection and refuses new ones until [Link.Mend].
func (l *Link) Cut() {
	l.mu.Lock()
	c := l.current
	l.cut = true
	l.mu.Unlock()
	if c != nil {
		_ = c.Close() // the other side may have closed it
	}
}

// Mend allows connections again.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// wait waits while the link is stalled. It returns false when done is closed before.
func (l *Link) wait(done <-chan struct{}) bool {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	select {
	case <-open:
		return true
	case <-done:
		return false
	}
}

// linkConn takes what is written at once, as the buffers of a network do, and passes it on when the link allows.
type linkConn struct {
	net.Conn
	link   *Link
	once   sync.Once
	closed chan struct{}

	mu    sync.Mutex
	more  *sync.Cond
	queue []byte
	end   bool
}

func (c *linkConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.link.wait(c.closed) {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *linkConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end {
		return 0, net.ErrClosed
	}
	c.queue = append(c.queue, p...)
	c.more.Signal()
	return len(p), nil
}

func (c *linkConn) pump() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.end {
			c.more.Wait()
		}
		batch := c.queue
		c.queue = nil
		ended := c.end
		c.mu.Unlock()
		if ended || !c.link.wait(c.closed) {
			return
		}
		if _, err := c.Conn.Write(batch); err != nil {
			_ = c.Close() // the reader finds out
			return
		}
	}
}

func (c *linkConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		c.mu.Lock()
		c.end = true
		c.more.Signal()
		c.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}
