package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// explain turns any error of a command into one that says what happened and what to do, with its exit code.
func (p *program) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if coded, ok := errors.AsType[*exit.Error](err); ok {
		return coded
	}
	if ctx.Err() != nil {
		return exit.With(exit.Interrupted, "interrupted")
	}
	e, ok := errors.AsType[*errs.Error](err)
	if !ok {
		return exit.With(exit.Failed, "%v", err)
	}
	text := clean(errs.Message(err))
	switch kind := errs.KindOf(err); {
	case kind == errs.Unavailable && !errs.IsRemote(err):
		return exit.With(exit.Failed, "%s", p.unreachable(e))
	case kind == errs.Unauthenticated:
		return exit.With(exit.Failed, "the gateway at %s does not accept the API token: %s; make a new one with `catalogsync token create`", p.server, text)
	case kind == errs.Denied:
		return exit.With(exit.Failed, "the API token may not do this: %s", text)
	case kind == errs.Internal:
		return exit.With(exit.Failed, "%s; the log of the services says more", text)
	case errs.ReasonOf(err) == "needs_reconnect":
		return exit.With(exit.Reconnect, "%s", text)
	case kind == errs.Invalid:
		return exit.With(exit.Usage, "%s", text)
	}
	if after := errs.RetryAfter(err); after > 0 {
		text += fmt.Sprintf(" (try again in %s)", after)
	}
	return exit.With(exit.Failed, "%s", text)
}

// clean is view.Clean for a text of several lines.
func clean(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = view.Clean(line)
	}
	return strings.Join(lines, "\n")
}

// unreachable explains why there is no answer.
func (p *program) unreachable(e *errs.Error) string {
	if errors.Is(e, context.DeadlineExceeded) || strings.Contains(errs.Message(e), "took too long") {
		return fmt.Sprintf("the gateway at %s did not answer within %s; allow more time with --timeout", p.server, p.timeout)
	}
	why := ""
	if s, ok := status.FromError(e.Err); ok { // the text that gRPC ends with says most
		_, why, _ = strings.Cut(s.Message(), "desc = ")
		why = strings.TrimPrefix(strings.Trim(why, `"`), "transport: Error while dialing: ")
	}
	if why != "" {
		why = " (" + why + ")"
	}
	return fmt.Sprintf("no gateway answers at %s%s; start one with `catalogsync serve`, or name another with --server or CATALOGSYNC_SERVER", p.server, why)
}
