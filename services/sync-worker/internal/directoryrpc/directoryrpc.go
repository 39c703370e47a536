// Package directoryrpc owns the DirectoryService: the directory and the importer as gRPC has them. The tenant is always
// the caller's.
package directoryrpc

import (
	"context"
	"encoding/base64"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

const (
	// maxImports is how many imports a process runs at once; each takes some ten megabytes and, with PostgreSQL, a
	// connection.
	maxImports = 4
	// defaultIdle is how long an import waits for the next part of its file.
	defaultIdle = 2 * time.Minute
)

// Server serves a directory.
type Server struct {
	directoryv1.UnimplementedDirectoryServiceServer
	dir   directory.Directory
	log   *slog.Logger
	slots chan struct{}
	idle  time.Duration
}

// New returns a server of the directory, which stays the caller's to close once the server has stopped.
func New(dir directory.Directory, log *slog.Logger) *Server {
	return &Server{dir: dir, log: log, slots: make(chan struct{}, maxImports), idle: defaultIdle}
}

// ListPeople implements the service.
func (s *Server) ListPeople(ctx context.Context, req *directoryv1.ListPeopleRequest) (*directoryv1.ListPeopleResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	if n := req.GetPageSize(); n < 0 || n > directory.MaxPage {
		return nil, errs.New(errs.Invalid, "page_size", "page_size is %d; ask for 1 to %d people, or 0 for the usual number", n, directory.MaxPage)
	}
	after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, errs.New(errs.Invalid, "page_token", "page_token is none that a page before this one came with; begin again without it")
	}
	people, next, err := s.dir.List(ctx, tenant, directory.ListOptions{
		Subaccount: req.GetSubaccount(), Prefix: req.GetPrefix(), IncludeGone: req.GetIncludeGone(),
		Limit: int(req.GetPageSize()), After: string(after),
	})
	if err != nil {
		return nil, err
	}
	resp := &directoryv1.ListPeopleResponse{
		People: make([]*directoryv1.Person, len(people)), NextPageToken: base64.RawURLEncoding.EncodeToString([]byte(next)),
	}
	for i := range people {
		resp.People[i] = person(&people[i])
	}
	return resp, nil
}

// GetPerson implements the service.
func (s *Server) GetPerson(ctx context.Context, req *directoryv1.GetPersonRequest) (*directoryv1.GetPersonResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	if req.GetId() == "" {
		return nil, errs.New(errs.Invalid, "no_id", "id is missing: name the person by their id in the Catalog")
	}
	p, outcomes, err := s.dir.Get(ctx, tenant, req.GetId())
	if err != nil {
		return nil, err
	}
	resp := &directoryv1.GetPersonResponse{Person: person(&p), Outcomes: make([]*directoryv1.PersonOutcome, len(outcomes))}
	for i, o := range outcomes {
		resp.Outcomes[i] = &directoryv1.PersonOutcome{
			ConnectionId: o.Connection, RunId: o.Run, EndedAt: timestamppb.New(o.EndedAt), Outcome: o.Outcome,
		}
	}
	return resp, nil
}

// ListPersonFields implements the service.
func (s *Server) ListPersonFields(ctx context.Context, _ *directoryv1.ListPersonFieldsRequest) (*directoryv1.ListPersonFieldsResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	fields, err := s.dir.Columns(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return &directoryv1.ListPersonFieldsResponse{Fields: fields}, nil
}

// CountPeople implements the service.
func (s *Server) CountPeople(ctx context.Context, _ *directoryv1.CountPeopleRequest) (*directoryv1.CountPeopleResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.dir.Count(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return &directoryv1.CountPeopleResponse{People: c.People, Gone: c.Gone, BySubaccount: c.BySubaccount}, nil
}

func person(p *directory.Person) *directoryv1.Person {
	return &directoryv1.Person{Id: p.ID, Fields: p.Fields(), Gone: p.Gone, ChangedAt: timestamppb.New(p.ChangedAt)}
}
