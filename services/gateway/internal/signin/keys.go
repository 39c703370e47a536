package signin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// fetchError takes along why keys could not be fetched: the library's verifier tells no error from another.
type fetchError struct{ err error }

type fetchKey struct{}

// keys are the issuer's, fetched when a token names one that is not known.
type keys struct{ *oidc.RemoteKeySet }

// VerifySignature returns the payload of a token that one of the keys signed.
func (k keys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, jwt)
	if err != nil && strings.HasPrefix(err.Error(), "fetching keys ") {
		if f, ok := ctx.Value(fetchKey{}).(*fetchError); ok {
			f.err = err
		}
	}
	return payload, err
}

// recentFor is for how long an answer of the issuer is good: tokens with keys that do not exist cannot make us ask all the
// time.
const recentFor = 5 * time.Second

// recent answers GET requests with what was answered a moment ago.
type recent struct {
	next http.RoundTripper
	now  func() time.Time

	mu      sync.Mutex
	answers map[string]recentAnswer
}

type recentAnswer struct {
	at     time.Time
	status int
	header http.Header
	body   []byte
	err    error
}

func newRecent(next http.RoundTripper) *recent {
	return &recent{next: next, now: time.Now, answers: map[string]recentAnswer{}}
}

// RoundTrip sends the request, unless the same one was answered a moment ago. One is under way at a time.
func (c *recent) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		return c.next.RoundTrip(r)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	url := r.URL.String() // one of two that the issuer names
	a, ok := c.answers[url]
	if !ok || c.now().Sub(a.at) >= recentFor {
		a = c.ask(r)
		if r.Context().Err() == nil { // a caller who went away is no answer
			c.answers[url] = a
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r,
	}, nil
}

func (c *recent) ask(r *http.Request) recentAnswer {
	res, err := c.next.RoundTrip(r)
	if err != nil {
		return recentAnswer{at: c.now(), err: err}
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it is read
	return recentAnswer{at: c.now(), status: res.StatusCode, header: res.Header, body: body, err: err}
}

// CloseIdleConnections closes what is open and not in use.
func (c *recent) CloseIdleConnections() {
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
