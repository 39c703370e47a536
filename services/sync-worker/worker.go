// Package syncworker is the service that carries out runs: it plans, applies and verifies them, keeps their ledger, and
// owns the directory of people. Any number of workers share the work.
//
// It is the only service that moves records. What it may send to Salesforce is decided by the ledger, never by a
// message: a message only calls a worker.
package syncworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/backend"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directoryrpc"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/doctor"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/runrpc"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/why"
)

const scope = "github.com/catalogsync/catalogsync/services/sync-worker"

// Deps are what the service needs.
type Deps struct {
	Log         *slog.Logger
	Bus         *bus.Bus
	Telemetry   telemetry.Providers
	Connections authv1.ConnectionServiceClient
	Tokens      authv1.TokenServiceClient
	FieldMaps   mapperv1.FieldMapServiceClient
	Mapper      mapperv1.MapperServiceClient
}

// Service is one worker.
type Service struct {
	cfg       Config
	log       *slog.Logger
	bus       *bus.Bus
	tel       telemetry.Providers
	ledger    *ledger.Ledger
	directory directory.Directory
	// allocations count what orgs have had
	allocations *allocation.Book
	conductor   *conduct.Conductor
	runner      *stage.Runner
	runs        *runrpc.Runs
	objects     *runrpc.Objects
	doctor      *doctor.Service
	why         *why.Service
	people      *directoryrpc.Server
	nudge       chan struct{}
}

// New opens ledger and directory. It starts nothing and listens nowhere. Close releases what it opened.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sync-worker: %w", err)
	}
	if deps.Log == nil || deps.Bus == nil || deps.Connections == nil || deps.Tokens == nil || deps.FieldMaps == nil || deps.Mapper == nil {
		return nil, errors.New("sync-worker: a log, a bus and clients of auth and mapper are needed")
	}
	if err := deps.Bus.EnsureStreams(ctx, event.Streams(cfg.streams())...); err != nil {
		return nil, fmt.Errorf("sync-worker: %w", err)
	}
	host, _ := os.Hostname()
	led, err := ledger.Open(ctx, deps.Bus, ledger.Options{
		Holder: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), uuid.NewString()[:8]), LeaseTTL: cfg.LeaseTTL,
		Retention: cfg.Retention + 24*time.Hour, MaxBytes: cfg.MaxBytes / 10,
	})
	if err != nil {
		return nil, fmt.Errorf("sync-worker: open the ledger: %w", err)
	}
	allocations, err := allocation.Open(ctx, deps.Bus, cfg.MaxBytes/1000, nil)
	if err != nil {
		return nil, fmt.Errorf("sync-worker: open the counts of API calls: %w", err)
	}
	dir, err := backend.Open(ctx, cfg.Directory)
	if err != nil {
		return nil, fmt.Errorf("sync-worker: open the directory: %w", err)
	}
	tel := deps.Telemetry.OrNoop()
	sealed := rows.NewStore(deps.Bus, deps.Tokens)
	s := &Service{
		cfg: cfg, log: deps.Log, bus: deps.Bus, tel: tel, ledger: led, directory: dir, allocations: allocations,
		conductor: conduct.New(led, deps.Bus, deps.Log, cfg.conducting(allocations)), nudge: make(chan struct{}, 1),
		people: directoryrpc.New(dir, deps.Log),
	}
	settings := stage.Settings{
		Limits: cfg.conducting(allocations).Limits, UnknownWait: cfg.UnknownWait, LookupMax: 2000, APIVersion: cfg.APIVersion,
		MaxFailures: cfg.MaxFailures,
	}
	observer, err := newObserver(tel)
	if err != nil {
		return nil, fmt.Errorf("sync-worker: %w", errors.Join(err, dir.Close()))
	}
	httpClient := salesforce.NewHTTPClient(cfg.policy())
	s.runner = &stage.Runner{
		Log: deps.Log, Bus: sealed, Ledger: led, Directory: dir, Mapper: deps.Mapper, FieldMaps: deps.FieldMaps,
		Tokens: deps.Tokens, HTTP: httpClient, Policy: cfg.policy(), Settings: settings, OnCall: observer.call,
		Allocations: allocations,
	}
	s.runs = &runrpc.Runs{
		Ledger: led, Bus: sealed, Conductor: s.conductor, Connections: deps.Connections, FieldMaps: deps.FieldMaps, Log: deps.Log,
		Propagator: tel.Propagator, Nudge: s.wake,
	}
	s.objects = &runrpc.Objects{
		Connections: deps.Connections, Client: func(connectionID, grant string) (*salesforce.Client, error) {
			return s.client(httpClient, connectionID, grant, deps.Tokens, observer.call)
		},
	}
	s.doctor = &doctor.Service{Client: s.objects.Client, APIVersion: cfg.APIVersion}
	s.why = &why.Service{
		Ledger: led, Directory: dir, Connections: deps.Connections, FieldMaps: deps.FieldMaps, Runs: s.runs, Forget: s.runs.Forget,
		Client: s.objects.Client, Log: deps.Log, Nudge: s.wake,
	}
	return s, nil
}

func (s *Service) client(hc *http.Client, connectionID, grant string, tokens authv1.TokenServiceClient, onCall func(context.Context, salesforce.CallInfo)) (*salesforce.Client, error) {
	return salesforce.New(salesforce.Options{
		HTTP: hc, Policy: s.cfg.policy(), APIVersion: s.cfg.APIVersion, Log: s.log, ClientName: "catalogsync",
		Tokens: stage.NewTokens(tokens, connectionID, grant), OnCall: onCall,
	})
}

// Register attaches RunService, ObjectService, DoctorService, WhyService and DirectoryService.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	syncv1.RegisterRunServiceServer(r, s.runs)
	syncv1.RegisterObjectServiceServer(r, s.objects)
	syncv1.RegisterDoctorServiceServer(r, s.doctor)
	syncv1.RegisterWhyServiceServer(r, s.why)
	directoryv1.RegisterDirectoryServiceServer(r, s.people)
}

// Health reports why the service cannot work now.
func (s *Service) Health(ctx context.Context) error { return s.bus.Health(ctx) }

// Close releases the directory. Call it after Run has returned.
func (s *Service) Close() error { return s.directory.Close() }

// Run works on tasks and conducts runs until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	consume := func(lane event.Lane, slots int) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.bus.Consume(ctx, bus.Consumer{
				Stream: event.StreamWork, Durable: "sync-worker_" + string(lane), Filters: []string{event.WorkFilter(lane)},
				Slots: slots, AckWait: time.Minute,
			}, s.handle)
		}
	}
	// Slots of their own keep small runs from waiting behind large ones.
	return app.Run(ctx, s.sweep, s.consumeUnlinked, consume(event.LaneSmall, max(1, s.cfg.Slots/2)), consume(event.LaneLarge, s.cfg.Slots))
}

// wake makes the sweeper look at once.
func (s *Service) wake() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// sweep conducts all open runs: regularly, when a sleeping task is due, and when somebody asks.
func (s *Service) sweep(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handBack)
			defer cancel()
			if err := s.allocations.Flush(fctx, true); err != nil {
				s.log.WarnContext(fctx, "note API calls", telemetry.Err(err))
			}
			return nil
		case <-timer.C:
		case <-s.nudge:
		}
		if err := s.allocations.Flush(ctx, false); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "note API calls", telemetry.Err(err))
		}
		next, err := s.conductor.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "sweep open runs", telemetry.Err(err))
		}
		wait := s.cfg.Sweep
		if !next.IsZero() {
			wait = min(wait, max(time.Until(next), 0)+time.Millisecond)
		}
		timer.Reset(wait)
	}
}
