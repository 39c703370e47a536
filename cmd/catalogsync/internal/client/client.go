// Package client owns the gateway as a caller with an API token sees it: its services, and the two things that take
// more than one call, sending a file of people and following a run to its end.
package client

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/version"
)

// Client holds the public services of a gateway.
type Client struct {
	Connections authv1.ConnectionServiceClient
	People      directoryv1.DirectoryServiceClient
	Tokens      gatewayv1.ApiTokenServiceClient
	Keys        authv1.KeyServiceClient
	Audit       auditv1.AuditServiceClient
	Status      gatewayv1.StatusServiceClient
	FieldMaps   mapperv1.FieldMapServiceClient
	Schedules   schedulerv1.ScheduleServiceClient
	Runs        syncv1.RunServiceClient
	Why         syncv1.WhyServiceClient
	Objects     syncv1.ObjectServiceClient
	Doctor      syncv1.DoctorServiceClient

	conn *grpc.ClientConn
}

// Options say how to reach a gateway.
type Options struct {
	// Server is the address of its gRPC API.
	Server string
	// Token is the API token. It goes with every call.
	Token string
	// Credentials encrypt; nil for none, which only suits addresses on this machine.
	Credentials credentials.TransportCredentials
	// Timeout bounds each call that is not a stream; 0 for the standard of package rpc.
	Timeout time.Duration
}

// Dial returns a client. It connects with the first call.
func Dial(o Options) (*Client, error) {
	conn, err := rpc.Dial(o.Server, rpc.DialOptions{
		Timeout: o.Timeout, Credentials: o.Credentials,
		Extra: []grpc.DialOption{grpc.WithPerRPCCredentials(bearer(o.Token)), grpc.WithUserAgent("catalogsync/" + version.String())},
	})
	if err != nil {
		return nil, err
	}
	return &Client{
		Connections: authv1.NewConnectionServiceClient(conn),
		People:      directoryv1.NewDirectoryServiceClient(conn),
		Tokens:      gatewayv1.NewApiTokenServiceClient(conn),
		Keys:        authv1.NewKeyServiceClient(conn),
		Audit:       auditv1.NewAuditServiceClient(conn),
		Status:      gatewayv1.NewStatusServiceClient(conn),
		FieldMaps:   mapperv1.NewFieldMapServiceClient(conn),
		Schedules:   schedulerv1.NewScheduleServiceClient(conn),
		Runs:        syncv1.NewRunServiceClient(conn),
		Why:         syncv1.NewWhyServiceClient(conn),
		Objects:     syncv1.NewObjectServiceClient(conn),
		Doctor:      syncv1.NewDoctorServiceClient(conn),
		conn:        conn,
	}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// bearer is an API token that goes with every call.
type bearer string

// GetRequestMetadata returns the header with the token.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false: who dials decides about encryption.
func (b bearer) RequireTransportSecurity() bool { return false }

// Format keeps the token out of whatever is printed.
func (b bearer) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }
