package app

import (
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// LogOptions says what is logged and how.
type LogOptions struct {
	Level  slog.Level
	Format string // json or text
}

// RegisterFlags declares the settings.
func (o *LogOptions) RegisterFlags(fs *flag.FlagSet) {
	fs.TextVar(&o.Level, "log-level", o.Level, "least `level` that is logged: debug, info, warn or error")
	fs.StringVar(&o.Format, "log-format", o.Format, "format of the log: json or text")
}

// NewLogger returns a logger that writes to w, with the ids of the trace that the context carries.
func NewLogger(w io.Writer, o LogOptions) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: o.Level}
	var h slog.Handler
	switch o.Format {
	case "json":
		h = slog.NewJSONHandler(w, opts)
	case "text":
		h = slog.NewTextHandler(w, opts)
	default:
		return nil, fmt.Errorf("-log-format %q: give json or text", o.Format)
	}
	return slog.New(telemetry.LogHandler(h)), nil
}
