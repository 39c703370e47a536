package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/protobuf/proto"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// Columns that a pull needs beside the map's targets.
const (
	fieldID        = "Id"
	fieldEmail     = "Email"
	fieldConverted = "IsConverted"
)

// snapshot is what shapes a run, with what follows from it.
type snapshot struct {
	fieldMap *mapperv1.FieldMap
	describe *salesforcev1.ObjectDescribe
	fields   map[string]*salesforcev1.FieldDescribe
	// person are the Catalog fields that the run reads.
	person []string
	// record are the Salesforce fields that the run reads; Id is first and is also the row's id.
	record []salesforce.Column
	// targets are the map's pairs, in order.
	targets []plan.Column
	// indexes into record; -1 where the object has none.
	external, email, converted int
	// indexes into targets; -1 where the map has none.
	externalTarget, emailTarget int
	// emailSource is the index into person of what the map writes to Email: by it, and not by the Catalog's own e-mail
	// where the two differ, a person's record is looked up and adopted.
	emailSource int
}

func newSnapshot(m *syncv1.RunSnapshot) *snapshot {
	s := &snapshot{
		fieldMap: m.GetFieldMap(), describe: m.GetDescribe(), fields: make(map[string]*salesforcev1.FieldDescribe),
		external: -1, email: -1, converted: -1, externalTarget: -1, emailTarget: -1,
	}
	for _, f := range s.describe.GetFields() {
		s.fields[f.GetName()] = f
	}
	s.person = []string{"id", "email"}
	s.emailSource = 1
	add := func(name string) int {
		if i := slices.IndexFunc(s.record, func(c salesforce.Column) bool { return c.Name == name }); i >= 0 {
			return i
		}
		s.record = append(s.record, salesforce.Column{Name: name, Type: salesforce.FieldType(s.fields[name].GetType())})
		return len(s.record) - 1
	}
	add(fieldID)
	for i, p := range s.fieldMap.GetPairs() {
		if !slices.Contains(s.person, p.GetSource()) && p.GetSource() != "" {
			s.person = append(s.person, p.GetSource())
		}
		s.targets = append(s.targets, plan.Column{
			Field: p.GetTarget(), Type: s.fields[p.GetTarget()].GetType(), Record: add(p.GetTarget()),
		})
		switch p.GetTarget() {
		case s.fieldMap.GetExternalIdField():
			s.externalTarget = i
		case fieldEmail:
			s.emailTarget = i
			if at := slices.Index(s.person, p.GetSource()); at >= 0 {
				s.emailSource = at
			}
		}
	}
	if f := s.fieldMap.GetExternalIdField(); f != "" {
		s.external = add(f)
	}
	if _, ok := s.fields[fieldEmail]; ok {
		s.email = add(fieldEmail)
	}
	if _, ok := s.fields[fieldConverted]; ok {
		s.converted = add(fieldConverted)
	}
	return s
}

// byExternalID reports whether people are matched by an external id.
func (s *snapshot) byExternalID() bool { return s.external >= 0 }

// keyField is the field on which creates are upserted.
func (s *snapshot) keyField() string {
	if s.byExternalID() {
		return s.fieldMap.GetExternalIdField()
	}
	return fieldEmail
}

// uniqueKey reports whether Salesforce itself keeps two records from having the same key. Where it does not, a create
// whose answer was lost is not sent again before Salesforce must have ended it.
func (s *snapshot) uniqueKey() bool { return s.fields[s.keyField()].GetUnique() }

func (s *snapshot) recordNames() []string {
	names := make([]string, len(s.record))
	for i, c := range s.record {
		names[i] = c.Name
	}
	return names
}

func (s *snapshot) targetNames() []string {
	names := make([]string, len(s.targets))
	for i, c := range s.targets {
		names[i] = c.Field
	}
	return names
}

func (s *snapshot) header() *mapperv1.MapHeader {
	return &mapperv1.MapHeader{
		FieldMap: s.fieldMap, Describe: s.describe, PersonColumns: s.person, RecordColumns: s.recordNames(),
	}
}

// foldExternalID folds an external id as the mapper does: Salesforce compares text ids without case unless the field is
// case-sensitive.
func (s *snapshot) foldExternalID(v string) string {
	v = strings.TrimSpace(norm.NFC.String(v))
	if s.fields[s.fieldMap.GetExternalIdField()].GetCaseSensitive() {
		return v
	}
	return strings.ToLower(v)
}

// foldEmail folds an e-mail as the mapper does.
func foldEmail(v string) string { return strings.ToLower(strings.TrimSpace(norm.NFC.String(v))) }

// snapshotPeople copies a range of people out of the directory, by part of their match key.
func (w *work) snapshotPeople(ctx context.Context) error {
	if w.draining() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	keys, err := w.matchKeys(ctx, s)
	if err != nil {
		return err
	}
	defer keys.close()
	out := rows.NewRows(w.pub, rows.KindPeople, s.person, w.run.Parts)
	var people int64
	batch, size := make([]*rowv1.Row, 0, mapBatch), 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		ks, err := keys.next(batch)
		if err != nil {
			return err
		}
		for i, row := range batch {
			key := ks[i].GetEmail()
			if s.byExternalID() {
				key = ks[i].GetExternalId()
			}
			if err := out.Add(ctx, rows.Part(key, w.run.Parts), key, row); err != nil {
				return err
			}
		}
		people += int64(len(batch))
		w.rows.Store(people)
		batch, size = batch[:0], 0
		return nil
	}
	in := w.task.Input
	err = w.Directory.Scan(ctx, w.run.Tenant, directory.Range{From: in.From, To: in.To}, s.person, func(row *rowv1.Row) error {
		batch = append(batch, row)
		if size += proto.Size(row); len(batch) < mapBatch && size < mapBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return fmt.Errorf("copy people: %w", err)
	}
	if err := flush(); err != nil {
		return err
	}
	if err := out.Close(ctx); err != nil {
		return err
	}
	return w.settle(ctx, ledger.Result{Counts: ledger.Counts{People: people}})
}
