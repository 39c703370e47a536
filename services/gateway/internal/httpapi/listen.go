package httpapi

import (
	"net"
	"net/netip"
	"sync"
)

// LimitListener bounds the connections that are open at once: to total by not accepting more, to perAddress by closing
// what one client opens beyond. Unlike that of x/net it leaves connections able to close one direction, without which
// a client may lose the answer to a request that was refused.
func LimitListener(l net.Listener, total, perAddress int) net.Listener {
	return &limitListener{
		Listener: l, slots: make(chan struct{}, total), closed: make(chan struct{}),
		perAddress: perAddress, open: map[netip.Addr]int{},
	}
}

type limitListener struct {
	net.Listener
	slots      chan struct{}
	closed     chan struct{}
	closeOnce  sync.Once
	perAddress int

	mu   sync.Mutex
	open map[netip.Addr]int
}

// Accept waits for a slot and then for a connection.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		addr := addrOf(c)
		if l.enter(addr) {
			return &limitedConn{Conn: c, release: sync.OnceFunc(func() {
				l.leave(addr)
				<-l.slots
			})}, nil
		}
		_ = c.Close() // the client has enough
	}
}

// Close ends the listener, and a wait for a slot.
func (l *limitListener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *limitListener) enter(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[addr] >= l.perAddress {
		return false
	}
	l.open[addr]++
	return true
}

func (l *limitListener) leave(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[addr]--; l.open[addr] == 0 {
		delete(l.open, addr)
	}
}

// addrOf is the address of the client; the zero one for connections that know none.
func addrOf(c net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close closes the connection and frees its slot.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// CloseWrite ends the sending direction.
func (c *limitedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}
