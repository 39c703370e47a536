package rows

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

const (
	// keyTTL is how long a data key is kept in memory, and so how long a destroyed one may still open what it sealed.
	keyTTL = 10 * time.Minute
	// maxKeys bounds the keys in memory.
	maxKeys = 4096
	// overhead is what sealing adds to a message: nonce and tag.
	overhead = 12 + 16
)

// KeySource gives the tenants' data keys: it is the TokenService.
type KeySource interface {
	GetDataKey(ctx context.Context, req *authv1.GetDataKeyRequest, opts ...grpc.CallOption) (*authv1.GetDataKeyResponse, error)
}

// Store is the bus with the keys that seal what rests on it. It is safe for concurrent use.
type Store struct {
	*bus.Bus
	source KeySource
	flight singleflight.Group

	mu   sync.Mutex
	keys map[keyName]key
}

type keyName struct {
	tenant  string
	version int32
}

// key is a data key ready for use.
type key struct {
	version int32
	aead    cipher.AEAD
	until   time.Time
}

// NewStore returns a store whose keys the source gives.
func NewStore(b *bus.Bus, source KeySource) *Store {
	return &Store{Bus: b, source: source, keys: map[keyName]key{}}
}

// key returns a version of the tenant's key, from memory where it is there; version 0 is the present one, for which auth
// is always asked: it may have been destroyed.
func (s *Store) key(ctx context.Context, tenant string, version int32) (key, error) {
	s.mu.Lock()
	k, ok := s.keys[keyName{tenant, version}]
	s.mu.Unlock()
	if ok && version > 0 && time.Now().Before(k.until) {
		return k, nil
	}
	got := s.flight.DoChan(fmt.Sprint(version, " ", tenant), func() (any, error) {
		// For all who wait, whoever goes away.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return s.fetch(ctx, tenant, version)
	})
	select {
	case r := <-got:
		if r.Err != nil {
			return key{}, r.Err
		}
		return r.Val.(key), nil
	case <-ctx.Done():
		return key{}, fmt.Errorf("get the data key of tenant %s: %w", tenant, context.Cause(ctx))
	}
}

func (s *Store) fetch(ctx context.Context, tenant string, version int32) (key, error) {
	ctx = rpc.WithCaller(ctx, rpc.Caller{Tenant: tenant, Subject: "sync-worker", Role: optionsv1.Role_ROLE_INTERNAL})
	res, err := s.source.GetDataKey(ctx, &authv1.GetDataKeyRequest{Tenant: tenant, Version: version})
	if err != nil {
		return key{}, fmt.Errorf("get the data key of tenant %s: %w", tenant, err)
	}
	block, err := aes.NewCipher(res.GetKey())
	if err != nil {
		return key{}, fmt.Errorf("use the data key of tenant %s: %w", tenant, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, fmt.Errorf("use the data key of tenant %s: %w", tenant, err)
	}
	now := time.Now()
	k := key{version: res.GetVersion(), aead: aead, until: now.Add(keyTTL)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, have := range s.keys {
		if len(s.keys) >= maxKeys || now.After(have.until) {
			delete(s.keys, name)
		}
	}
	s.keys[keyName{tenant, k.version}] = k
	return k, nil
}

// seal returns an eventv1.Sealed, encoded by hand since its content is large. subject is where it will rest: it opens
// nowhere else.
func (k key) seal(plain []byte, subject string) []byte {
	b := make([]byte, 0, 16+overhead+len(plain))
	b = protowire.AppendTag(b, fieldSealedVersion, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(k.version))
	b = protowire.AppendTag(b, fieldSealedSealed, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(overhead+len(plain)))
	return k.aead.Seal(b, nil, plain, []byte(subject))
}

const (
	fieldSealedVersion = 1
	fieldSealedSealed  = 2
)

// open opens a sealed message that rests on the subject.
func (s *Store) open(ctx context.Context, tenant, subject string, data []byte) ([]byte, error) {
	m := &eventv1.Sealed{}
	if err := proto.Unmarshal(data, m); err != nil || m.GetKeyVersion() < 1 {
		return nil, fmt.Errorf("%w: %s is not sealed", ErrCorrupt, subject)
	}
	k, err := s.key(ctx, tenant, m.GetKeyVersion())
	if errs.ReasonOf(err) == ReasonDestroyed {
		return nil, errs.Wrap(err, errs.Precondition, ReasonDestroyed, "the people, changes and outcomes of this run cannot be read any more: they were destroyed with the data key of tenant %s", tenant)
	}
	if err != nil {
		return nil, err
	}
	plain, err := k.aead.Open(nil, nil, m.GetSealed(), []byte(subject))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: it was not sealed for this place with the tenant's key", ErrCorrupt, subject)
	}
	return plain, nil
}

// ReasonDestroyed is the reason of the error, of kind Precondition, when the key that sealed something was destroyed.
const ReasonDestroyed = "data_key_destroyed"
