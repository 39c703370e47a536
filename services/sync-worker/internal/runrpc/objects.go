package runrpc

import (
	"context"
	"errors"
	"time"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// Objects is the ObjectService.
type Objects struct {
	syncv1.UnimplementedObjectServiceServer
	Connections authv1.ConnectionServiceClient
	// Client returns a client of a connection's org; the grant lets it have the access token.
	Client func(connectionID, grant string) (*salesforce.Client, error)
}

// DescribeObject asks the org for the describe of an object.
func (s *Objects) DescribeObject(ctx context.Context, req *syncv1.DescribeObjectRequest) (*syncv1.DescribeObjectResponse, error) {
	res, err := s.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: req.GetConnectionId()})
	if err != nil {
		return nil, err
	}
	if err := salesforce.Identifier(req.GetObject()); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "bad_object", "%q is no API name of an object, such as Contact.", req.GetObject())
	}
	client, err := s.Client(res.GetConnection().GetId(), req.GetGrant())
	if err != nil {
		return nil, err
	}
	d, _, err := client.Describe(ctx, req.GetObject(), time.Time{})
	if e, ok := errors.AsType[*salesforce.Error](err); ok {
		if e.Status == 404 {
			return nil, errs.Wrap(err, errs.NotFound, "no_such_object",
				"The org has no object %s, or the connected user may not see it. Check the API name and the user's permissions.", req.GetObject())
		}
		return nil, errs.Wrap(err, errs.Precondition, "salesforce_refused", "Salesforce refused to describe %s: %s %s", req.GetObject(), e.Code, e.Message)
	}
	if err != nil {
		return nil, err
	}
	return &syncv1.DescribeObjectResponse{Describe: stage.DescribeProto(d)}, nil
}

// ListObjects asks the org for the objects that the connected user may see and query.
func (s *Objects) ListObjects(ctx context.Context, req *syncv1.ListObjectsRequest) (*syncv1.ListObjectsResponse, error) {
	res, err := s.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: req.GetConnectionId()})
	if err != nil {
		return nil, err
	}
	client, err := s.Client(res.GetConnection().GetId(), req.GetGrant())
	if err != nil {
		return nil, err
	}
	objects, err := client.Objects(ctx)
	if e, ok := errors.AsType[*salesforce.Error](err); ok {
		return nil, errs.Wrap(err, errs.Precondition, "salesforce_refused", "Salesforce refused to list the objects: %s %s", e.Code, e.Message)
	}
	if err != nil {
		return nil, err
	}
	out := &syncv1.ListObjectsResponse{}
	for _, o := range objects {
		if o.Queryable {
			out.Objects = append(out.Objects, &syncv1.ObjectSummary{
				Name: o.Name, Label: o.Label, Createable: o.Createable, Updateable: o.Updateable, Custom: o.Custom,
			})
		}
	}
	return out, nil
}
