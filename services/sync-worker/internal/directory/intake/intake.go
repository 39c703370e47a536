// Package intake owns what an import does to the people of a tenant, whatever the database: it tells added, changed,
// unchanged and duplicate people apart and knows who was seen.
//
// Unchanged people cost one look-up and no write. Who was seen is kept in two sets of bits by the numbers that the
// tenant's people carry, so that a million people take a quarter of a megabyte.
package intake

import (
	"context"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// Known is what a store knows of a person.
type Known struct {
	// Num numbers the tenant's people from 1; 0 for an unknown person.
	Num int64
	// Hash of the stored record.
	Hash uint64
	// Gone: no longer in the Catalog.
	Gone bool
}

// Row is a person to be written.
type Row struct {
	// Record is complete: it replaces the stored one.
	Record *directory.Record
	// Num of the person.
	Num int64
	// Hash of the record.
	Hash uint64
	// New: the tenant never had this person.
	New bool
}

// Member is a person who is not gone.
type Member struct {
	// ID of the person.
	ID string
	// Num of the person.
	Num int64
}

// Store is the part of a directory that an import needs, bound to one tenant whose import lock it holds.
type Store interface {
	// LastNum returns the highest number given so far.
	LastNum(ctx context.Context) (int64, error)
	// Attributes returns the names of the custom attributes seen so far.
	Attributes(ctx context.Context) ([]string, error)
	// Lookup returns those of the ids that are known.
	Lookup(ctx context.Context, ids []string) (map[string]Known, error)
	// Load returns the stored records of those ids.
	Load(ctx context.Context, ids []string) (map[string]*directory.Record, error)
	// Write adds or replaces people, none of whom is gone then, notes new attributes and the highest number, in one
	// transaction.
	Write(ctx context.Context, rows []Row, attributes []string, lastNum int64) error
	// Members returns at most limit people who are not gone, by id, after that id.
	Members(ctx context.Context, after string, limit int) ([]Member, error)
	// MarkGone marks people gone, in one transaction.
	MarkGone(ctx context.Context, ids []string) error
	// Release gives the import lock back.
	Release() error
}

// Import is an open import. It implements [directory.Import].
type Import struct {
	store      Store
	mode       directory.Mode
	last       int64
	put        bits
	mentioned  bits
	attributes map[string]struct{}
	released   bool
}

// New begins an import on a store that holds the lock. The import releases it, also when New fails.
func New(ctx context.Context, store Store, mode directory.Mode) (*Import, error) {
	m := &Import{store: store, mode: mode, attributes: map[string]struct{}{}}
	names, err := store.Attributes(ctx)
	if err == nil {
		m.last, err = store.LastNum(ctx)
	}
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	for _, name := range names {
		m.attributes[name] = struct{}{}
	}
	return m, nil
}

// Put implements [directory.Import].
func (m *Import) Put(ctx context.Context, records []directory.Record) ([]directory.Result, error) {
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].ID
	}
	known, err := m.store.Lookup(ctx, ids)
	if err != nil {
		return nil, err
	}

	results := make([]directory.Result, len(records))
	hashes := make([]uint64, len(records))
	batch := make(map[string]struct{}, len(records))
	var incomplete []string // delta: changed people, whose other fields stay as they are
	for i := range records {
		id := records[i].ID
		k := known[id]
		if _, twice := batch[id]; twice || m.put.has(k.Num) {
			results[i] = directory.Duplicate
			continue
		}
		batch[id] = struct{}{}
		hashes[i] = records[i].Hash()
		switch {
		case k.Num == 0:
			results[i] = directory.Added
		case k.Hash == hashes[i]:
			results[i] = directory.Unchanged
		default:
			results[i] = directory.Changed
			if m.mode == directory.Delta {
				incomplete = append(incomplete, id)
			}
		}
	}
	stored := map[string]*directory.Record{}
	if len(incomplete) > 0 {
		if stored, err = m.store.Load(ctx, incomplete); err != nil {
			return nil, err
		}
	}

	rows := make([]Row, 0, len(records))
	nums := make([]int64, 0, len(records))
	last := m.last
	for i := range records {
		if results[i] == directory.Duplicate {
			continue
		}
		record := &records[i]
		k := known[record.ID]
		if old := stored[record.ID]; old != nil {
			filled := *record
			filled.Fill(old)
			record, hashes[i] = &filled, filled.Hash()
			if hashes[i] == k.Hash {
				results[i] = directory.Unchanged
			}
		}
		num := k.Num
		if num == 0 {
			last++
			num = last
		}
		nums = append(nums, num)
		if k.Gone {
			results[i] = directory.Added
		}
		if results[i] != directory.Unchanged {
			rows = append(rows, Row{Record: record, Num: num, Hash: hashes[i], New: k.Num == 0})
		}
	}
	if len(rows) > 0 {
		attributes := m.unseen(rows)
		if err := m.store.Write(ctx, rows, attributes, last); err != nil {
			return nil, err
		}
		for _, name := range attributes {
			m.attributes[name] = struct{}{}
		}
	}
	m.last = last
	for _, num := range nums {
		m.put.add(num)
	}
	return results, nil
}

// unseen returns the attributes in rows that the tenant did not have before, each once.
func (m *Import) unseen(rows []Row) []string {
	var names []string
	found := map[string]struct{}{}
	for _, row := range rows {
		for i := range row.Record.Attributes {
			name := row.Record.Attributes[i].Name
			if _, ok := m.attributes[name]; ok {
				continue
			}
			if _, ok := found[name]; !ok {
				found[name] = struct{}{}
				names = append(names, name)
			}
		}
	}
	return names
}

// Mention implements [directory.Import].
func (m *Import) Mention(ctx context.Context, ids []string) error {
	if m.mode != directory.Full || len(ids) == 0 {
		return nil
	}
	known, err := m.store.Lookup(ctx, ids)
	if err != nil {
		return err
	}
	for _, k := range known {
		m.mentioned.add(k.Num)
	}
	return nil
}

// members is how many people are looked at in one go when those who are gone are looked for.
const members = 10_000

// MarkGone implements [directory.Import]. It goes page by page: each mark is right by itself, and an import that is
// killed between two pages is repaired by the next.
func (m *Import) MarkGone(ctx context.Context) (int64, error) {
	if m.mode != directory.Full {
		return 0, errs.New(errs.Internal, "mark_gone_delta", "only a full import marks people gone")
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if int64(m.put.count) == m.last { // everybody there has ever been
		return 0, nil
	}
	var gone int64
	for after := ""; ; {
		page, err := m.store.Members(ctx, after, members)
		if err != nil {
			return gone, err
		}
		var ids []string
		for _, p := range page {
			if !m.put.has(p.Num) && !m.mentioned.has(p.Num) {
				ids = append(ids, p.ID)
			}
		}
		if len(ids) > 0 {
			if err := m.store.MarkGone(ctx, ids); err != nil {
				return gone, err
			}
			gone += int64(len(ids))
		}
		if len(page) < members {
			return gone, nil
		}
		after = page[len(page)-1].ID
	}
}

// Close implements [directory.Import].
func (m *Import) Close() error {
	if m.released {
		return nil
	}
	m.released = true
	return m.store.Release()
}

// bits is a set of small positive numbers.
type bits struct {
	words []uint64
	count int
}

func (b *bits) has(n int64) bool {
	w := int(n / 64)
	return n > 0 && w < len(b.words) && b.words[w]&(1<<(n%64)) != 0
}

func (b *bits) add(n int64) {
	w := int(n / 64)
	if w >= len(b.words) {
		b.words = append(b.words, make([]uint64, w+1-len(b.words)+len(b.words)/4)...)
	}
	if !b.has(n) {
		b.words[w] |= 1 << (n % 64)
		b.count++
	}
}
