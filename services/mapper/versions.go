package mapper

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/mapfile"
	"github.com/catalogsync/catalogsync/internal/store"
)

// stored is one saved version of a connection's field map, as the bucket has it.
type stored struct {
	Tenant     string    `json:"tenant"`
	Connection string    `json:"connection"`
	Number     int       `json:"version"` // from 1
	SavedAt    time.Time `json:"saved_at"`
	Author     string    `json:"author"`
	// FieldMap is the whole version as a mapperv1.FieldMap: what a newer program stored comes back from an older one.
	FieldMap []byte `json:"field_map_proto,omitempty"`
	// First is the field map of a version that was stored when there were no settings but these.
	First *firstMap `json:"field_map,omitempty"`
}

type firstMap struct {
	Object          string
	ExternalIDField string
	Pairs           []struct {
		Source, Target, Default, Type string
		Length                        int32
	}
}

// fieldMap returns the version.
func (v stored) fieldMap() (*mapperv1.FieldMap, error) {
	m := &mapperv1.FieldMap{}
	if v.First == nil {
		if err := proto.Unmarshal(v.FieldMap, m); err != nil {
			return nil, fmt.Errorf("version %d of the field map of connection %s cannot be read: %w", v.Number, v.Connection, err)
		}
		return m, nil
	}
	m.ConnectionId, m.Version, m.Author, m.SavedAt = v.Connection, int32(v.Number), v.Author, timestamppb.New(v.SavedAt)
	m.Object, m.ExternalIdField = v.First.Object, v.First.ExternalIDField
	for _, p := range v.First.Pairs {
		m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: p.Source, Target: p.Target, DefaultValue: p.Default, Type: p.Type, Length: p.Length})
	}
	return m, nil
}

// versions are the field maps in the bucket FIELD_MAPS: one key for each version, which is created once and never
// changed. The numbers of a connection's versions have no gaps, so that creating number n+1 is the compare-and-set.
type versions struct{ bucket *store.Bucket[stored] }

// bucketBytes bounds the bucket. A version takes about 100 bytes a pair.
const bucketBytes = 64 << 20

// maxMapBytes bounds one version: the bucket takes values of 768 KiB, and bytes grow by a third in JSON.
const maxMapBytes = 512 << 10

func openVersions(ctx context.Context, b *bus.Bus) (versions, error) {
	bucket, err := store.Open[stored](ctx, b, store.Config{Bucket: "FIELD_MAPS", History: 1, MaxBytes: bucketBytes})
	if err != nil {
		return versions{}, fmt.Errorf("open the bucket of field maps: %w", err)
	}
	return versions{bucket}, nil
}

func versionKey(tenant, connection string, number int) string {
	return store.Key(tenant, connection, fmt.Sprintf("%08d", number))
}

// at returns the version with the number, nil where there is none.
func (s versions) at(ctx context.Context, tenant, connection string, number int) (*mapperv1.FieldMap, error) {
	v, _, err := s.bucket.Get(ctx, versionKey(tenant, connection, number))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read field map: %w", err)
	}
	return v.fieldMap()
}

// latest returns the version with the greatest number, nil where there is none. It reads single keys, which are never
// behind what was written, and finds the greatest one by halving.
func (s versions) latest(ctx context.Context, tenant, connection string) (latest *mapperv1.FieldMap, err error) {
	low, high := 0, 1 // low exists, or is 0
	for {
		m, err := s.at(ctx, tenant, connection, high)
		if err != nil {
			return nil, err
		}
		if m == nil {
			break
		}
		latest, low, high = m, high, 2*high
	}
	for high-low > 1 {
		middle := (low + high) / 2
		m, err := s.at(ctx, tenant, connection, middle)
		if err != nil {
			return nil, err
		}
		if m != nil {
			latest, low = m, middle
		} else {
			high = middle
		}
	}
	return latest, nil
}

// get returns a version, the latest where number is 0.
func (s versions) get(ctx context.Context, tenant, connection string, number int32) (*mapperv1.FieldMap, error) {
	switch {
	case number < 0:
		return nil, errs.New(errs.Invalid, "bad_version", "there is no version %d: versions start from 1, and 0 asks for the latest", number)
	case number > 0:
		m, err := s.at(ctx, tenant, connection, int(number))
		if err == nil && m == nil {
			err = errs.New(errs.NotFound, "no_field_map", "connection %q has no version %d of a field map: list its versions", connection, number)
		}
		return m, err
	}
	m, err := s.latest(ctx, tenant, connection)
	if err == nil && m == nil {
		err = errs.New(errs.NotFound, "no_field_map", "connection %q has no field map: save one first", connection)
	}
	return m, err
}

// newestFirst yields the versions of a connection from the latest to the first.
func (s versions) newestFirst(ctx context.Context, tenant, connection string) iter.Seq2[*mapperv1.FieldMap, error] {
	return func(yield func(*mapperv1.FieldMap, error) bool) {
		m, err := s.latest(ctx, tenant, connection)
		for n := int(m.GetVersion()); err == nil && m != nil && yield(m, nil) && n > 1; n-- {
			m, err = s.at(ctx, tenant, connection, n-1)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// unchanged returns the latest version where it is the same as m in all but its number, and nil elsewhere. expected is
// the version that the caller has seen, 0 for whatever is latest: somebody may have saved another one since. Saving what
// is latest already is right whatever was expected, so that a save may be repeated.
func unchanged(latest, m *mapperv1.FieldMap, expected int32) (*mapperv1.FieldMap, error) {
	if latest != nil && mapfile.Equal(latest, m) {
		return latest, nil
	}
	if n := latest.GetVersion(); expected > 0 && n != expected {
		who := ""
		if latest.GetAuthor() != "" {
			who = fmt.Sprintf(", saved by %s", latest.GetAuthor())
		}
		return nil, errs.New(errs.Conflict, "newer_version", "version %d of the field map is the latest%s, and the change is of version %d: "+
			"look at what differs, and save again on top of version %d", n, who, expected, n)
	}
	return nil, nil
}

// save stores m as the next version and returns it with its number, or returns the latest version where m is the same.
func (s versions) save(ctx context.Context, tenant string, m *mapperv1.FieldMap, expected int32) (saved *mapperv1.FieldMap, stored bool, err error) {
	for {
		latest, err := s.latest(ctx, tenant, m.GetConnectionId())
		if err != nil {
			return nil, false, err
		}
		if same, err := unchanged(latest, m, expected); err != nil || same != nil {
			return same, false, err
		}
		m.Version, m.SavedAt = latest.GetVersion()+1, timestamppb.Now()
		v, err := pack(tenant, m)
		if err != nil {
			return nil, false, err
		}
		_, err = s.bucket.Create(ctx, versionKey(v.Tenant, v.Connection, v.Number), v)
		if err == nil {
			return m, true, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return nil, false, fmt.Errorf("store field map: %w", err)
		}
		// Somebody else saved that number meanwhile: look again.
	}
}

func pack(tenant string, m *mapperv1.FieldMap) (stored, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return stored{}, fmt.Errorf("store field map: %w", err)
	}
	if len(b) > maxMapBytes {
		return stored{}, errs.New(errs.Invalid, "field_map_too_large", "the field map takes %d KiB and may take %d: shorten its tables or leave some out",
			len(b)>>10, maxMapBytes>>10)
	}
	return stored{
		Tenant: tenant, Connection: m.GetConnectionId(), Number: int(m.GetVersion()), SavedAt: m.GetSavedAt().AsTime(), Author: m.GetAuthor(), FieldMap: b,
	}, nil
}
