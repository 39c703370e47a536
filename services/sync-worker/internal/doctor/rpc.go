package doctor

import (
	"context"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// Service is the DoctorService. What other services know of the connection comes in the request, filled in by the
// gateway.
type Service struct {
	syncv1.UnimplementedDoctorServiceServer
	// Client returns a client of a connection's org; the grant lets it have the access token.
	Client func(connectionID, grant string) (*salesforce.Client, error)
	// APIVersion is the version of the metadata package, such as 67.0.
	APIVersion string
}

// Diagnose examines the connection.
func (s *Service) Diagnose(ctx context.Context, req *syncv1.DiagnoseRequest) (*syncv1.DiagnoseResponse, error) {
	org, err := s.client(ctx, req.GetCase())
	if err != nil {
		return nil, err
	}
	return Examine(ctx, org, req.GetCase()), nil
}

// GetSetupPackage returns the metadata package. Where sign-in works it holds the rights on the fields of the field map
// too; the package for a first deployment needs no working connection.
func (s *Service) GetSetupPackage(ctx context.Context, req *syncv1.GetSetupPackageRequest) (*syncv1.GetSetupPackageResponse, error) {
	org, err := s.client(ctx, req.GetCase())
	if err != nil {
		return nil, err
	}
	object, err := chosen(req.GetObject(), req.GetCase().GetFieldMap())
	if err != nil {
		return nil, err
	}
	var ds map[string]*salesforce.ObjectDescribe
	if req.GetCase().GetTest().GetOk() {
		ds = Describe(ctx, org, object, req.GetCase().GetFieldMap()) // without the object the package still makes it visible
	}
	zip, files, err := Package(object, s.APIVersion, req.GetCase().GetFieldMap(), ds)
	if err != nil {
		return nil, err
	}
	return &syncv1.GetSetupPackageResponse{Zip: zip, Files: files}, nil
}

// ApplySetup makes the field and the permission set.
func (s *Service) ApplySetup(ctx context.Context, req *syncv1.ApplySetupRequest) (*syncv1.ApplySetupResponse, error) {
	org, err := s.client(ctx, req.GetCase())
	if err != nil {
		return nil, err
	}
	object, err := chosen(req.GetObject(), req.GetCase().GetFieldMap())
	if err != nil {
		return nil, err
	}
	if t := req.GetCase().GetTest(); !t.GetOk() {
		return nil, errs.New(errs.Precondition, "needs_reconnect", "Salesforce gives no access token: %s %s; examine the connection first", t.GetError(), t.GetErrorDescription())
	}
	return &syncv1.ApplySetupResponse{Steps: Apply(ctx, org, object, req.GetCase().GetConnection().GetUserId(), req.GetCase().GetFieldMap())}, nil
}

// client makes sure that the case is whole and belongs to the caller.
func (s *Service) client(ctx context.Context, c *syncv1.DoctorCase) (*salesforce.Client, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	if c.GetConnection().GetId() == "" || c.GetTest() == nil {
		return nil, errs.New(errs.Invalid, "no_case", "the request lacks the connection and its test: call through the gateway, which fills them in")
	}
	if c.GetConnection().GetTenant() != tenant {
		return nil, errs.New(errs.NotFound, "no_such_connection", "tenant %s has no connection %s: list the connections for their ids", tenant, c.GetConnection().GetId())
	}
	return s.Client(c.GetConnection().GetId(), c.GetGrant())
}

func chosen(object string, m *mapperv1.FieldMap) (string, error) {
	if object == "" {
		object = objectOf(m)
	}
	if err := salesforce.Identifier(object); err != nil {
		return "", errs.Wrap(err, errs.Invalid, "bad_object", "%q is no API name of an object, such as Contact.", object)
	}
	return object, nil
}
