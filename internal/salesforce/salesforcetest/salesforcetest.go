// Package salesforcetest connects the Salesforce client with a simulated org and owns the suite of behaviour
// that the client shows against one over real HTTP: Run.
package salesforcetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
)

// Tokens gets access tokens of a simulated org by client credentials and keeps the last one.
type Tokens struct {
	org *simulator.Server
	hc  *http.Client

	mu       sync.Mutex
	current  salesforce.Token
	fetched  int
	rejected int
}

// Token returns the current token.
func (s *Tokens) Token(ctx context.Context) (salesforce.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.AccessToken.IsZero() {
		if err := s.fetch(ctx); err != nil {
			return salesforce.Token{}, err
		}
	}
	return s.current, nil
}

// Reject gets another token unless somebody else already has.
func (s *Tokens) Reject(ctx context.Context, t salesforce.Token) (salesforce.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected++
	if t == s.current {
		if err := s.fetch(ctx); err != nil {
			return salesforce.Token{}, err
		}
	}
	return s.current, nil
}

// Fetched returns how many tokens were asked of the org.
func (s *Tokens) Fetched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

func (s *Tokens) fetch(ctx context.Context) error {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.org.ClientID()}, "client_secret": {s.org.ClientSecret()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.org.URL+"/services/oauth2/token?"+form.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := s.hc.Do(req)
	if err != nil {
		return fmt.Errorf("ask the simulator for a token: %w", err)
	}
	defer resp.Body.Close()
	var reply struct {
		AccessToken string `json:"access_token"`
		InstanceURL string `json:"instance_url"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || reply.AccessToken == "" {
		return fmt.Errorf("the simulator gave no token: status %d, %w", resp.StatusCode, err)
	}
	s.fetched++
	s.current = salesforce.Token{AccessToken: salesforce.NewAccessToken(reply.AccessToken), InstanceURL: reply.InstanceURL}
	return nil
}

// Client is a client of a simulated org that counts its exchanges.
type Client struct {
	*salesforce.Client
	Tokens *Tokens

	mu    sync.Mutex
	calls []salesforce.CallInfo
}

// Calls returns the exchanges that ended since the last call of it.
func (c *Client) Calls() []salesforce.CallInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

// Connect makes a client of org with short pauses between attempts. adjust changes its options.
func Connect(t testing.TB, org *simulator.Server, adjust ...func(*salesforce.Options)) *Client {
	t.Helper()
	policy := salesforce.HostPolicy{AllowDev: []string{org.URL}}
	hc := salesforce.NewHTTPClient(policy)
	t.Cleanup(hc.CloseIdleConnections)
	c := &Client{Tokens: &Tokens{org: org, hc: hc}}
	o := salesforce.Options{
		HTTP: hc, Policy: policy, Tokens: c.Tokens, APIVersion: "67.0", CallOptions: "suite.1",
		RetryBase: time.Millisecond, RetryCap: 10 * time.Millisecond,
		OnCall: func(_ context.Context, i salesforce.CallInfo) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls = append(c.calls, i)
		},
	}
	for _, f := range adjust {
		f(&o)
	}
	client, err := salesforce.New(o)
	if err != nil {
		t.Fatal(err)
	}
	c.Client = client
	return c
}
