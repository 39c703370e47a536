package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// logger hands what the server says to slog. Its notices are the banner and the recovery of each stream, which nobody
// acts on: they are debug output here.
type logger struct {
	log *slog.Logger

	mu  sync.Mutex
	err error // the last fatal message
}

func newLogger(log *slog.Logger) *logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &logger{log: log.With(slog.String("component", "nats"))}
}

func (l *logger) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, fmt.Sprintf(format, v...)) //nolint:sloglint // the server gives formatted text only
	}
}

// fatal returns the last fatal message as an error, or nil.
func (l *logger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *logger) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l *logger) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *logger) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }

// Fatalf is called when the server gives up starting; it does not end the process.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	l.err = fmt.Errorf(format, v...)
	l.mu.Unlock()
	l.write(slog.LevelError, format, v)
}
