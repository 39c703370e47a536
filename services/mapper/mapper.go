// Package mapper is the service that owns field maps: it keeps their versions, and maps people by them. What it knows
// of an org comes with each request; it asks nobody.
package mapper

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"

	"google.golang.org/grpc"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// Config are the settings of the service.
type Config struct {
	// MaxPairs is how many pairs a field map may have.
	MaxPairs int
}

// DefaultConfig returns settings that work everywhere.
func DefaultConfig() Config { return Config{MaxPairs: 500} }

// RegisterFlags declares the settings as flags.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.IntVar(&c.MaxPairs, "max-pairs", c.MaxPairs, "pairs that a field map may have")
}

// Validate reports every setting that cannot be used.
func (c Config) Validate() error {
	if c.MaxPairs < 10 || c.MaxPairs > 5000 {
		return fmt.Errorf("-max-pairs is %d; give a number from 10 to 5000", c.MaxPairs)
	}
	return nil
}

// Deps are what the service needs from its process.
type Deps struct {
	Log       *slog.Logger
	Bus       *bus.Bus
	Telemetry telemetry.Providers
}

// Service serves FieldMapService and MapperService.
type Service struct {
	mapperv1.UnimplementedFieldMapServiceServer
	mapperv1.UnimplementedMapperServiceServer
	config   Config
	bus      *bus.Bus
	versions versions
}

// New returns the service. It opens the bucket FIELD_MAPS and starts nothing.
func New(ctx context.Context, c Config, d Deps) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if d.Log == nil || d.Bus == nil {
		return nil, errors.New("mapper: Deps.Log and Deps.Bus are required")
	}
	v, err := openVersions(ctx, d.Bus)
	if err != nil {
		return nil, err
	}
	return &Service{config: c, bus: d.Bus, versions: v}, nil
}

// Register attaches the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	mapperv1.RegisterFieldMapServiceServer(r, s)
	mapperv1.RegisterMapperServiceServer(r, s)
}

// Run blocks until ctx ends. The service has no work of its own.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Health reports why the service cannot work now.
func (s *Service) Health(ctx context.Context) error { return s.bus.Health(ctx) }
