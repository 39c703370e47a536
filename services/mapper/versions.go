package mapper

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
)

// version is one saved version of a connection's field map.
type version struct {
	Tenant     string       `json:"tenant"`
	Connection string       `json:"connection"`
	Number     int          `json:"version"` // from 1
	SavedAt    time.Time    `json:"saved_at"`
	Author     string       `json:"author"`
	Map        fieldmap.Map `json:"field_map"`
}

// versions are the field maps in the bucket FIELD_MAPS: one key for each version, which is created once and never
// changed. The numbers of a connection's versions have no gaps, so that creating number n+1 is the compare-and-set.
type versions struct{ bucket *store.Bucket[version] }

// bucketBytes bounds the bucket. A version takes about 100 bytes a pair.
const bucketBytes = 64 << 20

func openVersions(ctx context.Context, b *bus.Bus) (versions, error) {
	bucket, err := store.Open[version](ctx, b, store.Config{Bucket: "FIELD_MAPS", History: 1, MaxBytes: bucketBytes})
	if err != nil {
		return versions{}, fmt.Errorf("open the bucket of field maps: %w", err)
	}
	return versions{bucket}, nil
}

func versionKey(tenant, connection string, number int) string {
	return store.Key(tenant, connection, fmt.Sprintf("%08d", number))
}

// at returns the version with the number.
func (s versions) at(ctx context.Context, tenant, connection string, number int) (v version, found bool, err error) {
	v, _, err = s.bucket.Get(ctx, versionKey(tenant, connection, number))
	if errors.Is(err, store.ErrNotFound) {
		return version{}, false, nil
	}
	if err != nil {
		return version{}, false, fmt.Errorf("read field map: %w", err)
	}
	return v, true, nil
}

// latest returns the version with the greatest number; found is false where there is none. It reads single keys, which
// are never behind what was written, and finds the greatest one by halving.
func (s versions) latest(ctx context.Context, tenant, connection string) (latest version, found bool, err error) {
	low, high := 0, 1 // low exists, or is 0
	for {
		v, ok, err := s.at(ctx, tenant, connection, high)
		if err != nil {
			return version{}, false, err
		}
		if !ok {
			break
		}
		latest, low, high = v, high, 2*high
	}
	for high-low > 1 {
		middle := (low + high) / 2
		v, ok, err := s.at(ctx, tenant, connection, middle)
		if err != nil {
			return version{}, false, err
		}
		if ok {
			latest, low = v, middle
		} else {
			high = middle
		}
	}
	return latest, low > 0, nil
}

// get returns a version, the latest where number is 0.
func (s versions) get(ctx context.Context, tenant, connection string, number int) (version, error) {
	if number > 0 {
		v, found, err := s.at(ctx, tenant, connection, number)
		if err == nil && !found {
			err = errs.New(errs.NotFound, "no_field_map", "connection %q has no version %d of a field map: list its versions", connection, number)
		}
		return v, err
	}
	v, found, err := s.latest(ctx, tenant, connection)
	if err == nil && !found {
		err = errs.New(errs.NotFound, "no_field_map", "connection %q has no field map: save one first", connection)
	}
	return v, err
}

// newestFirst yields the versions of a connection from the latest to the first.
func (s versions) newestFirst(ctx context.Context, tenant, connection string) iter.Seq2[version, error] {
	return func(yield func(version, error) bool) {
		v, found, err := s.latest(ctx, tenant, connection)
		for n := v.Number; err == nil && found && yield(v, nil) && n > 1; n-- {
			v, found, err = s.at(ctx, tenant, connection, n-1)
		}
		if err != nil {
			yield(version{}, err)
		}
	}
}

// save stores v as the next version and returns it with its number, or returns the latest version where v means the
// same.
func (s versions) save(ctx context.Context, v version) (version, error) {
	for {
		latest, found, err := s.latest(ctx, v.Tenant, v.Connection)
		if err != nil {
			return version{}, err
		}
		if found && latest.Map.Equal(v.Map) {
			return latest, nil
		}
		v.Number = latest.Number + 1
		_, err = s.bucket.Create(ctx, versionKey(v.Tenant, v.Connection, v.Number), v)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return version{}, fmt.Errorf("store field map: %w", err)
		}
		// Somebody else saved that number meanwhile: look again.
	}
}
