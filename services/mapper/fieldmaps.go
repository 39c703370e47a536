package mapper

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	wire "github.com/catalogsync/catalogsync/services/mapper/internal/rpc"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// maxConnectionID bounds the ids that may become part of a key.
const maxConnectionID = 128

// maxListBytes is what a list of versions may take: a message has a limit. Older versions are still there by number.
const maxListBytes = 3 << 20

// SaveFieldMap checks a field map and stores it as the next version.
func (s *Service) SaveFieldMap(ctx context.Context, req *mapperv1.SaveFieldMapRequest) (*mapperv1.SaveFieldMapResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	connection, err := connectionID(req.GetFieldMap().GetConnectionId())
	if err != nil {
		return nil, err
	}
	if req.GetDescribe() == nil {
		return nil, errs.New(errs.Invalid, "no_describe", "the request has no describe of the object: call through the gateway, which fills it in")
	}
	object := wire.Object(req.GetDescribe())
	m, added := fieldmap.Complete(wire.Map(req.GetFieldMap()), object)
	if problems := fieldmap.Check(m, fieldmap.Org{
		Object: object, Related: wire.Objects(req.GetRelated()), Attributes: req.GetAttributes(), MaxPairs: s.config.MaxPairs,
	}); len(problems) > 0 {
		return nil, errs.New(errs.Invalid, "invalid_field_map", "%s", sentence("the field map cannot be saved", problems))
	}
	caller, _ := rpc.CallerFrom(ctx)
	v := version{Tenant: tenant, Connection: connection, SavedAt: time.Now().UTC(), Author: caller.Subject, Map: m}
	if !req.GetValidateOnly() {
		if v, err = s.versions.save(ctx, v); err != nil {
			return nil, err
		}
	} else {
		v.SavedAt, v.Author = time.Time{}, ""
	}
	return &mapperv1.SaveFieldMapResponse{FieldMap: toWire(v), Added: added}, nil
}

// GetFieldMap returns one version, the latest where none is named.
func (s *Service) GetFieldMap(ctx context.Context, req *mapperv1.GetFieldMapRequest) (*mapperv1.GetFieldMapResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	connection, err := connectionID(req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	if req.GetVersion() < 0 {
		return nil, errs.New(errs.Invalid, "bad_version", "there is no version %d: versions start from 1, and 0 asks for the latest", req.GetVersion())
	}
	v, err := s.versions.get(ctx, tenant, connection, int(req.GetVersion()))
	if err != nil {
		return nil, err
	}
	return &mapperv1.GetFieldMapResponse{FieldMap: toWire(v)}, nil
}

// ListFieldMaps returns the versions, newest first, as many as fit into a message.
func (s *Service) ListFieldMaps(ctx context.Context, req *mapperv1.ListFieldMapsRequest) (*mapperv1.ListFieldMapsResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	connection, err := connectionID(req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	resp, bytes := &mapperv1.ListFieldMapsResponse{}, 0
	for v, err := range s.versions.newestFirst(ctx, tenant, connection) {
		if err != nil {
			return nil, err
		}
		m := toWire(v)
		if bytes += proto.Size(m); bytes > maxListBytes {
			break
		}
		resp.FieldMaps = append(resp.FieldMaps, m)
	}
	return resp, nil
}

// connectionID refuses ids that no connection can have.
func connectionID(id string) (string, error) {
	if id == "" || len(id) > maxConnectionID {
		return "", errs.New(errs.Invalid, "no_connection", "the request names no connection that could exist: link an org first, or name the connection")
	}
	return id, nil
}

// fullTexts is how many bytes of problems are told in full, and briefTexts how many in all: an error travels in headers,
// of which many clients take 8 KiB, and it is in them twice.
const fullTexts, briefTexts = 2400, 3200

// sentence lists problems, one a line: those that do not fit by field and code alone.
func sentence(what string, problems []values.Problem) string {
	var b strings.Builder
	b.WriteString(what)
	for i, p := range problems {
		text := p.Message
		if b.Len()+len(text) > fullTexts {
			text = p.Field + ": " + p.Code
		}
		if b.Len()+len(text) > briefTexts {
			fmt.Fprintf(&b, "\n- and %d more", len(problems)-i)
			break
		}
		b.WriteString("\n- " + text)
	}
	return b.String()
}

func toWire(v version) *mapperv1.FieldMap {
	m := &mapperv1.FieldMap{
		ConnectionId: v.Connection, Version: int32(v.Number), Object: v.Map.Object, ExternalIdField: v.Map.ExternalIDField,
		Pairs: wire.Pairs(v.Map.Pairs), Author: v.Author,
	}
	if !v.SavedAt.IsZero() {
		m.SavedAt = timestamppb.New(v.SavedAt)
	}
	return m
}
