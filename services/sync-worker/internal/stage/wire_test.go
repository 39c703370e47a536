package stage_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/simulator"
)

// tokens stands where auth does: it hands out access tokens of the org.
type tokens struct {
	authv1.TokenServiceClient
	org *simulator.Server

	mu      sync.Mutex
	token   string
	refused bool // Salesforce no longer takes the credentials
	gone    bool // an admin has ended the connection
	absent  int  // so many requests for another token are answered with trouble
	again   int  // second refusals that were told
}

func (s *tokens) GetAccessToken(_ context.Context, req *authv1.GetAccessTokenRequest, _ ...grpc.CallOption) (*authv1.GetAccessTokenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.GetRefusedAgain() {
		s.again++
		s.refused = true
	}
	if s.absent > 0 && req.GetRejectedAccessToken() != "" {
		s.absent--
		return nil, errs.New(errs.Unavailable, "salesforce_unreachable", "The org answers HTTP 403 without an OAuth error.")
	}
	if s.gone {
		return nil, errs.New(errs.Precondition, "unlinked", "The connection was unlinked.")
	}
	if s.refused {
		return nil, errs.New(errs.Precondition, "needs_reconnect", "Salesforce refuses the credentials. Link the org again.")
	}
	if s.token == "" || req.GetRejectedAccessToken() == s.token {
		s.token = s.org.AccessToken()
	}
	return &authv1.GetAccessTokenResponse{AccessToken: s.token, InstanceUrl: s.org.URL, OrgId: s.org.OrgID()}, nil
}

func (s *tokens) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = true
}

func (s *tokens) unlink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
}

// wire sees every exchange with the org on its way.
type wire struct {
	next http.RoundTripper

	mu  sync.Mutex
	tap func(*http.Request, http.RoundTripper) (*http.Response, error)
}

// on lets tap stand between worker and org; nil: nobody does.
func (x *wire) on(tap func(*http.Request, http.RoundTripper) (*http.Response, error)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tap = tap
}

func (x *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	x.mu.Lock()
	tap := x.tap
	x.mu.Unlock()
	if tap != nil {
		return tap(r, x.next)
	}
	return x.next.RoundTrip(r)
}

// answer is what an org says, in place of what it said.
func answer(r *http.Request, status int, body string) *http.Response {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header:        http.Header{"Content-Type": {"application/json;charset=UTF-8"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}

// reread takes a request's body and leaves it in place.
func reread(r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	body, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}
