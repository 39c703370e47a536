package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

const (
	// sharesBucket holds the current access token of each connection, sealed, for the other auth processes.
	sharesBucket = "ACCESS_TOKENS"
	// shareTTL is how long it is kept. It is less than the two hours after which a session without use ends by default,
	// and bounds what a stolen copy of the store holds together with the keys.
	shareTTL = time.Hour
	// sharePurpose is in the label of the sealed token: it opens as nothing else.
	sharePurpose = "access_token"
)

// share is a sealed access token and what it belongs to.
type share struct {
	// Epoch is the turn that brought it, and its version in the label.
	Epoch uint64 `json:"epoch"`
	// Version is that of the credentials that it was got with.
	Version int64  `json:"version"`
	Sealed  []byte `json:"sealed"`
}

// bearer is what is sealed.
type bearer struct {
	AccessToken string `json:"access_token"`
	InstanceURL string `json:"instance_url"`
	OrgID       string `json:"org_id"`
}

// shares are the access tokens that all auth processes have in common.
type shares struct {
	bucket *store.Bucket[share]
	vault  *vault.Vault
}

func openShares(ctx context.Context, b *bus.Bus, v *vault.Vault) (*shares, error) {
	bucket, err := store.Open[share](ctx, b, store.Config{Bucket: sharesBucket, History: 1, MaxBytes: 64 << 20, TTL: shareTTL})
	if err != nil {
		return nil, err
	}
	return &shares{bucket, v}, nil
}

func shareLabel(c connection.Connection, epoch uint64) vault.Label {
	return vault.Label{Purpose: sharePurpose, Tenant: c.Tenant, Connection: c.ID, Version: int64(epoch)}
}

// put shares the token that a turn brought, unless a later one is there.
func (s *shares) put(ctx context.Context, c connection.Connection, epoch uint64, g Grant) error {
	plain, err := json.Marshal(bearer{AccessToken: g.AccessToken.Expose(), InstanceURL: g.InstanceURL, OrgID: g.OrgID})
	if err != nil {
		return fmt.Errorf("encode the access token of connection %s: %w", c.ID, err)
	}
	box, err := s.vault.Seal(plain, shareLabel(c, epoch))
	if err != nil {
		return err
	}
	_, err = s.bucket.Upsert(ctx, store.Key(c.ID), func(have share, _ bool) (share, error) {
		if have.Epoch > epoch {
			return share{}, store.NoChange
		}
		return share{Epoch: epoch, Version: c.CredentialVersion, Sealed: box}, nil
	})
	if err != nil {
		return fmt.Errorf("share the access token of connection %s: %w", c.ID, err)
	}
	return nil
}

// get returns the token that the turn brought, for the connection's present credentials; false when it is not there any
// more, or not to be opened.
func (s *shares) get(ctx context.Context, c connection.Connection, epoch uint64) (Grant, bool, error) {
	have, _, err := s.bucket.Get(ctx, store.Key(c.ID))
	if errors.Is(err, store.ErrNotFound) {
		return Grant{}, false, nil
	}
	if err != nil {
		return Grant{}, false, fmt.Errorf("read the access token of connection %s: %w", c.ID, err)
	}
	if have.Epoch != epoch || have.Version != c.CredentialVersion {
		return Grant{}, false, nil
	}
	plain, err := s.vault.Open(have.Sealed, shareLabel(c, epoch))
	if err != nil {
		return Grant{}, false, nil //nolint:nilerr // as good as none: sealed by a key that is gone, or tampered with
	}
	var b bearer
	if err := json.Unmarshal(plain, &b); err != nil {
		return Grant{}, false, fmt.Errorf("decode the access token of connection %s", c.ID) // the cause would quote it
	}
	return Grant{AccessToken: config.NewSecret(b.AccessToken), InstanceURL: b.InstanceURL, OrgID: b.OrgID}, true, nil
}

// erase takes the token away.
func (s *shares) erase(ctx context.Context, id string) error {
	if err := s.bucket.Delete(ctx, store.Key(id), 0); err != nil {
		return fmt.Errorf("erase the access token of connection %s: %w", id, err)
	}
	return nil
}
