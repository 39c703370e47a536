package mapper

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	wire "github.com/catalogsync/catalogsync/services/mapper/internal/rpc"
)

// CheckFieldMap says what a describe has against a field map.
func (s *Service) CheckFieldMap(_ context.Context, req *mapperv1.CheckFieldMapRequest) (*mapperv1.CheckFieldMapResponse, error) {
	m, org := wire.Map(req.GetFieldMap()), fieldmap.Org{Object: wire.Object(req.GetDescribe()), Related: wire.Objects(req.GetRelated())}
	record, person := fieldmap.Reads(m, org)
	return &mapperv1.CheckFieldMapResponse{
		Problems: wire.Problems(fieldmap.Drift(m, org)), RecordFields: record, PersonFields: person,
	}, nil
}

// MatchKeys answers each batch of people with their match keys.
func (s *Service) MatchKeys(stream grpc.BidiStreamingServer[mapperv1.MatchKeysRequest, mapperv1.MatchKeysResponse]) error {
	return answer(stream, fieldmap.Write, func(m *fieldmap.Mapper, req *mapperv1.MatchKeysRequest) (*mapperv1.MatchKeysResponse, error) {
		if req.GetPeople() == nil {
			return nil, errNoBatch()
		}
		return wire.Keys(m, req.GetPeople())
	})
}

// MapPeople answers each batch of people with the values that they should have in Salesforce.
func (s *Service) MapPeople(stream grpc.BidiStreamingServer[mapperv1.MapPeopleRequest, mapperv1.MapPeopleResponse]) error {
	return answer(stream, fieldmap.Write, func(m *fieldmap.Mapper, req *mapperv1.MapPeopleRequest) (*mapperv1.MapPeopleResponse, error) {
		if req.GetBatch() == nil {
			return nil, errNoBatch()
		}
		return wire.People(m, req.GetBatch())
	})
}

// MapRecords answers each batch of records with what the Catalog's people should be by them.
func (s *Service) MapRecords(stream grpc.BidiStreamingServer[mapperv1.MapRecordsRequest, mapperv1.MapRecordsResponse]) error {
	return answer(stream, fieldmap.Import, func(m *fieldmap.Mapper, req *mapperv1.MapRecordsRequest) (*mapperv1.MapRecordsResponse, error) {
		if req.GetRecords() == nil {
			return nil, errNoBatch()
		}
		return wire.Records(m, req.GetRecords())
	})
}

// withHeader is a pointer to a message of a stream, the first of which holds the header.
type withHeader[T any] interface {
	*T
	GetHeader() *mapperv1.MapHeader
}

// answer reads the header of a map of the direction, then answers every further message by one, until the client has
// sent all.
func answer[Req, Resp any, P withHeader[Req]](stream grpc.BidiStreamingServer[Req, Resp], direction fieldmap.Direction, one func(*fieldmap.Mapper, *Req) (*Resp, error)) error {
	req, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return errs.New(errs.Invalid, "no_header", "the stream ended before its header: send the header first")
	}
	if err != nil {
		return err
	}
	header := P(req).GetHeader()
	if header == nil {
		return errs.New(errs.Invalid, "no_header", "the first message is no header: send the header first")
	}
	fm, h := wire.Header(header)
	if (fm.Direction == fieldmap.Import) != (direction == fieldmap.Import) {
		return errs.New(errs.Precondition, "wrong_direction", "the field map maps the other way: MapRecords takes one that imports, MapPeople and MatchKeys one that writes")
	}
	m, problems := fieldmap.Compile(fm, h)
	if len(problems) > 0 {
		return errs.New(errs.Precondition, "field_map_unusable", "%s", sentence("the field map cannot be used", problems))
	}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, err := one(m, req)
		if err != nil {
			return err
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

func errNoBatch() error {
	return errs.New(errs.Invalid, "no_batch", "a message after the header is no batch: send one header, then batches")
}
