// Package app owns the life of a process: its arguments and environment, its signals, its log, and how it ends. Only
// this package exits, and only through [Main].
package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/catalogsync/catalogsync/internal/config"
)

// Env is what a process gets from outside. Tests make one themselves.
type Env struct {
	// Name is the name of the program.
	Name string
	// Args are the arguments after the program's name.
	Args []string
	// Environ are the environment variables, as "KEY=value".
	Environ []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Log writes to Stderr. [Env.Parse] replaces it by the one that the flags ask for.
	Log *slog.Logger
}

// FlagSet returns an empty flag set that prints its help to Stdout.
func (e *Env) FlagSet() *flag.FlagSet {
	fs := flag.NewFlagSet(e.Name, flag.ContinueOnError)
	fs.SetOutput(e.Stdout)
	return fs
}

// Parse adds -log-level and -log-format to the flags, fills all of them (see [config.Parse]) and sets Log.
func (e *Env) Parse(fs *flag.FlagSet, envPrefix string, opts ...config.Option) error {
	l := LogOptions{Format: "json"}
	l.RegisterFlags(fs)
	if err := config.Parse(fs, envPrefix, e.Args, e.Environ, opts...); err != nil {
		return err
	}
	log, err := NewLogger(e.Stderr, l)
	if err != nil {
		return err
	}
	e.Log = log
	return nil
}

// Main runs a program and ends the process. The context that setup gets ends with SIGINT or SIGTERM; a second signal
// ends the process at once. An error is printed to stderr as "name: message", and the exit code is then 1, or what the
// error's ExitCode method says. Asking for help is no error, and neither is a context that ended by a signal.
func Main(name string, setup func(ctx context.Context, env *Env) error) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		s := <-signals
		fmt.Fprintf(os.Stderr, "%s: %v again, stopping at once\n", name, s)
		os.Exit(exitCodeOf(s))
	}()
	env := &Env{
		Name: name, Args: os.Args[1:], Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	code := run(ctx, env, setup)
	os.Exit(code)
}

// exitCodeOf is what shells expect of a process that a signal ended.
func exitCodeOf(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}

// run is Main without the process.
func run(ctx context.Context, env *Env, setup func(context.Context, *Env) error) (code int) {
	if env.Log == nil {
		env.Log, _ = NewLogger(env.Stderr, LogOptions{Format: "json"})
	}
	err := setup(ctx, env)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp), ctx.Err() != nil && errors.Is(err, context.Canceled):
		return 0
	}
	_, _ = fmt.Fprintf(env.Stderr, "%s: %v\n", env.Name, err)
	if coded, ok := errors.AsType[exitCoder](err); ok {
		return coded.ExitCode()
	}
	return 1
}

// exitCoder is an error that asks for an exit code.
type exitCoder interface {
	error
	ExitCode() int
}

// Run runs all runners at once and waits for all of them. The first error cancels the context of the others and is
// returned. When ctx ends, runners return nil.
func Run(ctx context.Context, runners ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range runners {
		group.Go(func() error { return r(ctx) })
	}
	return group.Wait()
}
