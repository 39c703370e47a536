package connection

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// Credentials whose connection did not come to be would stay for ever: unlinking erases those of connections.
func TestLinksThatFailLeaveNoCredentials(t *testing.T) {
	t.Parallel()
	s, first, creds := linkedByConsent(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 12 { // they meet, and half of them want the same org
		wg.Go(func() {
			c := Connection{Tenant: "acme", Name: fmt.Sprint("Source ", i), Purpose: Source, Flow: WebServer, OrgID: fmt.Sprintf("00D5g0000000%02dEAK", i%6)}
			if _, err := s.Link(ctx, c, creds, Terms{}); err != nil && errs.KindOf(err) != errs.Conflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, err := s.Link(ctx, Connection{Tenant: "acme", Flow: WebServer, OrgID: "00D5g000009ZzZzEAK"}, creds, Terms{})
	if errs.ReasonOf(err) != "other_org_linked" {
		t.Errorf("another org: %v", err)
	}
	all, err := s.List(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, c := range all {
		named[c.ID] = true
		if got := refreshToken(t, s, c); got != "refresh-1" {
			t.Errorf("connection %s has the refresh token %q", c.Name, got)
		}
	}
	if len(all) != 7 || !named[first.ID] {
		t.Errorf("%d connections", len(all))
	}
	entries, err := s.credentials.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if id, _, _ := strings.Cut(e.Key, "."); !named[id] {
			t.Errorf("credentials %s belong to no connection", e.Key)
		}
	}
}
