package client

import (
	"strings"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Verdict turns the state of a run that has ended into an error with its exit code; nil for one that succeeded.
func Verdict(run *syncv1.Run) error {
	reason := strings.TrimSuffix(view.Clean(run.GetReason()), ".")
	if reason != "" {
		reason = ": " + reason
	}
	switch run.GetState() {
	case syncv1.RunState_RUN_STATE_SUCCEEDED:
		return nil
	case syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES:
		return exit.With(exit.Partly, "not everybody is in step: %s; `catalogsync runs outcomes %s --kind problems` says who and why",
			problems(run.GetCounts()), run.GetId())
	case syncv1.RunState_RUN_STATE_NEEDS_RECONNECT:
		return exit.With(exit.Reconnect, "Salesforce refuses the credentials%s; `catalogsync link` links the org again", reason)
	case syncv1.RunState_RUN_STATE_CANCELLED:
		return exit.With(exit.Cancelled, "run %s was cancelled%s", run.GetId(), reason)
	case syncv1.RunState_RUN_STATE_FAILED:
		return exit.With(exit.RunFailed, "run %s failed%s", run.GetId(), reason)
	}
	if r := run; r.GetState() == syncv1.RunState_RUN_STATE_HELD {
		return exit.With(exit.Held, "run %s is held%s; `catalogsync approve %s` shows its plan and lets it go on, `catalogsync reject %s -m NOTE` ends it",
			r.GetId(), reason, r.GetId(), r.GetId())
	}
	return exit.With(exit.Failed, "run %s has not ended: it is %s%s", run.GetId(), view.Words(run.GetState()), reason)
}

func problems(n *syncv1.Counts) string {
	var parts []string
	for _, c := range []struct {
		n    int64
		word string
	}{{n.GetRejected(), "rejected"}, {n.GetFailed(), "failed"}, {n.GetDeferred(), "deferred"}, {n.GetMismatched(), "different when read back"}} {
		if c.n > 0 {
			parts = append(parts, view.Count(c.n)+" "+c.word)
		}
	}
	return strings.Join(parts, ", ")
}
