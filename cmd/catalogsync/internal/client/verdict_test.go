package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		state syncv1.RunState
		code  int
		words string
	}{
		{syncv1.RunState_RUN_STATE_SUCCEEDED, 0, ""},
		{syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES, 3, "1 rejected, 2 failed, 3 deferred, 4 different when read back; `catalogsync runs outcomes run1"},
		{syncv1.RunState_RUN_STATE_NEEDS_RECONNECT, 4, "credentials: Because; `catalogsync link`"},
		{syncv1.RunState_RUN_STATE_CANCELLED, 5, "run run1 was cancelled: Because"},
		{syncv1.RunState_RUN_STATE_FAILED, 6, "run run1 failed: Because"},
		{syncv1.RunState_RUN_STATE_HELD, 7, "run run1 is held: Because; `catalogsync approve run1`"},
		{syncv1.RunState_RUN_STATE_RUNNING, 1, "has not ended: it is running: Because"},
	}
	for _, tt := range tests {
		err := client.Verdict(&syncv1.Run{
			Id: "run1", State: tt.state, Reason: "Because.", Counts: &syncv1.Counts{Rejected: 1, Failed: 2, Deferred: 3, Mismatched: 4},
		})
		if tt.code == 0 {
			if err != nil {
				t.Errorf("%v: %v", tt.state, err)
			}
			continue
		}
		if e, ok := errors.AsType[*exit.Error](err); !ok || e.Code != tt.code || !strings.Contains(e.Text, tt.words) {
			t.Errorf("%v: %#v, want %d with %q", tt.state, err, tt.code, tt.words)
		}
	}
}
