// Package rowstest owns data keys for tests that have no auth service.
package rowstest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// Keys gives a data key for every tenant. The zero value is ready; it is safe for concurrent use.
type Keys struct {
	mu        sync.Mutex
	destroyed map[string]int32 // versions up to this one
	// Asked counts the requests.
	Asked int
}

// Store returns the bus with keys of its own.
func Store(b *bus.Bus) *rows.Store { return rows.NewStore(b, &Keys{}) }

// Destroy destroys the tenant's key; from then on it has the next version.
func (k *Keys) Destroy(tenant string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.destroyed == nil {
		k.destroyed = map[string]int32{}
	}
	k.destroyed[tenant]++
}

// GetDataKey returns a key that follows from tenant and version.
func (k *Keys) GetDataKey(_ context.Context, req *authv1.GetDataKeyRequest, _ ...grpc.CallOption) (*authv1.GetDataKeyResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Asked++
	gone, v := k.destroyed[req.GetTenant()], req.GetVersion()
	if v == 0 {
		v = gone + 1
	}
	if v <= gone {
		return nil, errs.New(errs.Precondition, rows.ReasonDestroyed, "the data key of tenant %s was destroyed", req.GetTenant())
	}
	secret := sha256.Sum256(fmt.Append(nil, req.GetTenant(), " ", v))
	return &authv1.GetDataKeyResponse{Version: v, Key: secret[:]}, nil
}
