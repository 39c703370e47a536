package rpc

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const (
	healthTimeout = 2 * time.Second
	watchInterval = 5 * time.Second
)

// healthServer answers the standard health protocol by asking the service at the time of the question.
type healthServer struct {
	healthpb.UnimplementedHealthServer
	server *grpc.Server
	check  func(context.Context) error // nil: always healthy
	log    *slog.Logger
}

func (h *healthServer) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !h.serves(req.GetService()) {
		return nil, status.Errorf(codes.NotFound, "no service %q here", req.GetService())
	}
	return &healthpb.HealthCheckResponse{Status: h.status(ctx)}, nil
}

// Watch sends the status, and then every change of it.
func (h *healthServer) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_UNKNOWN
	for {
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if h.serves(req.GetService()) {
			now = h.status(stream.Context())
		}
		if now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-tick.C:
		}
	}
}

// serves reports whether the name is that of a registered service, or the empty one that means the whole server.
func (h *healthServer) serves(name string) bool {
	if name == "" {
		return true
	}
	_, ok := h.server.GetServiceInfo()[name]
	return ok
}

func (h *healthServer) status(ctx context.Context) healthpb.HealthCheckResponse_ServingStatus {
	if h.check == nil {
		return healthpb.HealthCheckResponse_SERVING
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := h.check(ctx); err != nil {
		h.log.WarnContext(ctx, "not healthy", telemetry.Err(err))
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

// CheckHealth asks the server behind conn whether it can work. The error is Unavailable, reason "not_serving", when it
// says no.
func CheckHealth(ctx context.Context, conn grpc.ClientConnInterface) error {
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if s := resp.GetStatus(); s != healthpb.HealthCheckResponse_SERVING {
		return errs.New(errs.Unavailable, "not_serving", "the server says that it is %s; its log says why", s)
	}
	return nil
}
