package salesforce

import (
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// progress reads the body from the network, keeps the clock from running out and remembers how it failed.
type progress struct{ ex *exchange }

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.ex.body.Read(b)
	p.ex.received += int64(n)
	if n > 0 {
		p.ex.watch.Reset(p.ex.c.opt.IdleTimeout)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = p.ex.transportError(err)
		p.ex.readErr = err
	}
	return n, err
}

// watchedBody is an upload: as long as bytes leave it moves, and once all have left the reply is due.
type watchedBody struct {
	io.ReadCloser
	ex *exchange
}

func (w *watchedBody) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.ex.sent.Add(int64(n))
	if err == io.EOF {
		w.ex.moving.Store(false)
		w.ex.watch.Reset(w.ex.header)
	} else if n > 0 {
		w.ex.watch.Reset(w.ex.c.opt.IdleTimeout)
	}
	return n, err
}

// lazyGzip opens the stream at the first read, so that an empty body is no fault.
type lazyGzip struct {
	src io.Reader
	z   *gzip.Reader
}

func (l *lazyGzip) Read(b []byte) (int, error) {
	if l.z == nil {
		z, err := gzip.NewReader(l.src)
		if err != nil {
			return 0, err
		}
		l.z = z
	}
	return l.z.Read(b)
}

// limited fails when more than the allowed number of bytes comes, where io.LimitReader would pretend that
// the reply had ended.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	l.left -= int64(n)
	if l.left < 0 {
		return n, ErrTooLarge
	}
	return n, err
}
