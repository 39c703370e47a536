package client

import (
	"context"
	"errors"
	"io"
	"time"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

const (
	// patience is how long a gateway that cannot be reached is tried again: the run goes on without it.
	patience = 30 * time.Second
	// pause is between two tries.
	pause = 500 * time.Millisecond
)

// Follow shows a run whenever it has changed and returns it when it has ended, or when a guard holds it: then it may wait
// for days. When the gateway goes away in between, as
// it does when it is restarted, Follow waits for it to come back.
func (c *Client) Follow(ctx context.Context, runID string, show func(*syncv1.Run)) (*syncv1.Run, error) {
	var last *syncv1.Run
	var lost time.Time // when the gateway went away
	for {
		err := c.watch(ctx, runID, func(r *syncv1.Run) {
			last, lost = r, time.Time{}
			show(r)
		})
		switch {
		case err == nil && rests(last):
			return last, nil
		case ctx.Err() != nil:
			return last, ctx.Err()
		case err != nil && (last == nil || errs.KindOf(err) != errs.Unavailable):
			return last, err
		case lost.IsZero():
			lost = time.Now()
		case err != nil && time.Since(lost) > patience:
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// rests reports whether a run does not go on by itself.
func rests(r *syncv1.Run) bool {
	return r.GetState() >= syncv1.RunState_RUN_STATE_SUCCEEDED || r.GetState() == syncv1.RunState_RUN_STATE_HELD
}

func (c *Client) watch(ctx context.Context, runID string, show func(*syncv1.Run)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Runs.WatchRun(ctx, &syncv1.WatchRunRequest{RunId: runID})
	if err != nil {
		return err
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if show(res.GetRun()); rests(res.GetRun()) {
			return nil
		}
	}
}
