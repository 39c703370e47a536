package mapper

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/mapfile"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	wire "github.com/catalogsync/catalogsync/services/mapper/internal/rpc"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// maxConnectionID bounds the ids that may become part of a key, in bytes, and maxNote the notes, in characters.
const maxConnectionID, maxNote = 128, 1000

// maxListBytes is what a list of versions may take: a message has a limit. Older versions are still there by number.
const maxListBytes = 3 << 20

// SaveFieldMap checks a field map and stores it as the next version.
func (s *Service) SaveFieldMap(ctx context.Context, req *mapperv1.SaveFieldMapRequest) (*mapperv1.SaveFieldMapResponse, error) {
	tenant, connection, err := scope(ctx, req.GetFieldMap().GetConnectionId())
	if err != nil {
		return nil, err
	}
	if req.GetExpectedVersion() < 0 {
		return nil, errs.New(errs.Invalid, "bad_version", "expected_version is %d: give the version that the change was made on, or 0 for whatever is latest", req.GetExpectedVersion())
	}
	checked, err := s.check(req.GetFieldMap(), org{req.GetDescribe(), req.GetRelated(), req.GetAttributes()})
	if err != nil {
		return nil, err
	}
	if len(checked.against) > 0 {
		return nil, errs.New(errs.Invalid, "invalid_field_map", "%s", sentence("the field map cannot be saved", checked.against))
	}
	caller, _ := rpc.CallerFrom(ctx)
	m := checked.m
	m.ConnectionId, m.Author = connection, caller.Subject
	if m.Note, err = note(req.GetFieldMap().GetNote()); err != nil {
		return nil, err
	}
	resp := &mapperv1.SaveFieldMapResponse{Added: checked.added, Notes: wire.Problems(checked.notes)}
	if !req.GetValidateOnly() {
		var stored bool
		resp.FieldMap, stored, err = s.versions.save(ctx, tenant, m, req.GetExpectedVersion())
		resp.Unchanged = !stored
		return resp, err
	}
	latest, err := s.versions.latest(ctx, tenant, connection)
	if err != nil {
		return nil, err
	}
	if resp.FieldMap, err = unchanged(latest, m, req.GetExpectedVersion()); resp.GetFieldMap() == nil {
		m.Author = ""
		resp.FieldMap = m
	} else {
		resp.Unchanged = true
	}
	return resp, err
}

// org is what a request says of the org and of the Catalog.
type org struct {
	describe   *salesforcev1.ObjectDescribe
	related    []*salesforcev1.ObjectDescribe
	attributes []string
}

// checked is a field map that was looked at.
type checked struct {
	m       *mapperv1.FieldMap // complete, without identity
	added   []string           // targets that were added
	against []values.Problem   // what stands against saving it
	notes   []values.Problem   // what does not
}

// check completes a field map and says what there is to say of it.
func (s *Service) check(m *mapperv1.FieldMap, o org) (checked, error) {
	if o.describe == nil {
		return checked{}, errs.New(errs.Invalid, "no_describe", "the request has no describe of the object: call through the gateway, which fills it in")
	}
	if mapfile.Unknown(m) {
		return checked{}, errs.New(errs.Invalid, "unknown_setting", "the field map has settings that this version of the mapper does not know: bring the services up to date, or leave them out")
	}
	object := wire.Object(o.describe)
	complete, added := fieldmap.Complete(wire.Map(m), object)
	c := checked{m: wire.FieldMap(complete), added: added}
	problems := fieldmap.Check(complete, fieldmap.Org{
		Object: object, Related: wire.Objects(o.related), Attributes: o.attributes, MaxPairs: s.config.MaxPairs,
	})
	for _, p := range problems {
		if p.Scope == values.ScopePerson || p.Scope == values.ScopeNote {
			c.notes = append(c.notes, p)
		} else {
			c.against = append(c.against, p)
		}
	}
	return c, nil
}

// GetFieldMap returns one version, the latest where none is named.
func (s *Service) GetFieldMap(ctx context.Context, req *mapperv1.GetFieldMapRequest) (*mapperv1.GetFieldMapResponse, error) {
	tenant, connection, err := scope(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	m, err := s.versions.get(ctx, tenant, connection, req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &mapperv1.GetFieldMapResponse{FieldMap: m}, nil
}

// ListFieldMaps returns the versions, newest first, as many as fit into a message.
func (s *Service) ListFieldMaps(ctx context.Context, req *mapperv1.ListFieldMapsRequest) (*mapperv1.ListFieldMapsResponse, error) {
	tenant, connection, err := scope(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	resp, bytes := &mapperv1.ListFieldMapsResponse{}, 0
	for m, err := range s.versions.newestFirst(ctx, tenant, connection) {
		if err != nil {
			return nil, err
		}
		if bytes += proto.Size(m); bytes > maxListBytes {
			break
		}
		resp.FieldMaps = append(resp.FieldMaps, m)
	}
	return resp, nil
}

// DiffFieldMaps says in which settings two versions differ: the latest from the one before it where none is named.
func (s *Service) DiffFieldMaps(ctx context.Context, req *mapperv1.DiffFieldMapsRequest) (*mapperv1.DiffFieldMapsResponse, error) {
	tenant, connection, err := scope(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	to, err := s.versions.get(ctx, tenant, connection, req.GetTo())
	if err != nil {
		return nil, err
	}
	resp := &mapperv1.DiffFieldMapsResponse{To: to}
	before := req.GetFrom()
	if before == 0 {
		before = to.GetVersion() - 1
	}
	if before != 0 { // and before the first there was nothing
		if resp.From, err = s.versions.get(ctx, tenant, connection, before); err != nil {
			return nil, err
		}
	}
	resp.Differences = mapfile.Diff(resp.GetFrom(), to)
	return resp, nil
}

// RollbackFieldMap saves an older version as the next one, if it still fits the org.
func (s *Service) RollbackFieldMap(ctx context.Context, req *mapperv1.RollbackFieldMapRequest) (*mapperv1.RollbackFieldMapResponse, error) {
	tenant, connection, err := scope(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	if req.GetVersion() == 0 {
		return nil, errs.New(errs.Invalid, "bad_version", "the request names no version to go back to: list the versions and name one")
	}
	old, err := s.versions.get(ctx, tenant, connection, req.GetVersion())
	if err != nil {
		return nil, err
	}
	checked, err := s.check(old, org{req.GetDescribe(), req.GetRelated(), req.GetAttributes()})
	if err != nil {
		return nil, err
	}
	if len(checked.against) > 0 {
		return nil, errs.New(errs.Precondition, "version_unusable", "%s",
			sentence(fmt.Sprintf("version %d no longer fits the org: export it, mend it and save it", req.GetVersion()), checked.against))
	}
	caller, _ := rpc.CallerFrom(ctx)
	m := checked.m
	m.ConnectionId, m.Author, m.RolledBackTo = connection, caller.Subject, req.GetVersion()
	if m.Note, err = note(req.GetNote()); err != nil {
		return nil, err
	}
	saved, _, err := s.versions.save(ctx, tenant, m, 0)
	return &mapperv1.RollbackFieldMapResponse{FieldMap: saved}, err
}

// scope returns for whom and about which connection a request is.
func scope(ctx context.Context, connection string) (tenant, id string, err error) {
	if tenant, err = rpc.TenantFrom(ctx); err != nil {
		return "", "", err
	}
	if connection == "" || len(connection) > maxConnectionID {
		return "", "", errs.New(errs.Invalid, "no_connection", "the request names no connection that could exist: link an org first, or name the connection")
	}
	return tenant, connection, nil
}

func note(text string) (string, error) {
	text = strings.TrimSpace(text)
	if n := utf8.RuneCountInString(text); n > maxNote {
		return "", errs.New(errs.Invalid, "note_too_long", "the note has %d characters and may have %d: shorten it", n, maxNote)
	}
	return text, nil
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
		if p.Repair != "" && !strings.Contains(text, p.Repair) {
			text += " (" + p.Repair + ")"
		}
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
