package mapper

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	wire "github.com/catalogsync/catalogsync/services/mapper/internal/rpc"
)

// TryFieldMap maps people by a field map that need not be saved, as if nobody had a record.
func (s *Service) TryFieldMap(ctx context.Context, req *mapperv1.TryFieldMapRequest) (*mapperv1.TryFieldMapResponse, error) {
	if _, _, err := scope(ctx, req.GetFieldMap().GetConnectionId()); err != nil {
		return nil, err
	}
	columns := req.GetPeople().GetColumns()
	attributes := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return !strings.HasPrefix(c, fieldmap.Attribute) })
	checked, err := s.check(req.GetFieldMap(), org{req.GetDescribe(), req.GetRelated(), attributes})
	if err != nil {
		return nil, err
	}
	if checked.m.GetDirection() == mapperv1.Direction_DIRECTION_IMPORT {
		return nil, errs.New(errs.Invalid, "import_map", "the field map imports: it maps Salesforce's records, and cannot be tried on the Catalog's people")
	}
	if len(checked.against) > 0 {
		return nil, errs.New(errs.Invalid, "invalid_field_map", "%s", sentence("the field map cannot be tried", checked.against))
	}
	m, problems := fieldmap.Compile(wire.Header(&mapperv1.MapHeader{
		FieldMap: checked.m, Describe: req.GetDescribe(), PersonColumns: columns, Now: timestamppb.Now(),
	}))
	if len(problems) > 0 {
		return nil, errs.New(errs.Invalid, "invalid_field_map", "%s", sentence("the field map cannot be tried", problems))
	}
	batch, resp := &mapperv1.PeopleAndRecords{}, &mapperv1.TryFieldMapResponse{Targets: m.Targets()}
	for _, person := range req.GetPeople().GetRows() {
		batch.Rows = append(batch.Rows, &mapperv1.PersonAndRecord{Person: person})
		resp.PersonIds = append(resp.PersonIds, person.GetId())
	}
	mapped, err := wire.People(m, batch)
	if err != nil {
		return nil, err
	}
	resp.People = mapped.GetPeople()
	return resp, nil
}
