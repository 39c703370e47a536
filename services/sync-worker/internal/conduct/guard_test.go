package conduct_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Each guard holds just above its limit and lets go at it, by default and as set.
func TestGuard(t *testing.T) {
	t.Parallel()
	later := conduct.Past{People: 1000}
	tests := map[string]struct {
		guards *mapperv1.Guards
		plan   ledger.Plan
		n      ledger.Counts
		past   conduct.Past
		guard  string
		words  string
	}{
		"nothing to do":                 {n: ledger.Counts{People: 1000}, past: later},
		"creates at the default":        {plan: ledger.Plan{Creates: 500}, n: ledger.Counts{People: 1000}, past: later},
		"creates above the default":     {plan: ledger.Plan{Creates: 501}, n: ledger.Counts{People: 1000}, past: later, guard: "creates", words: "create 501 records, which is 50.1 % of the 1000 people; at most 50 %"},
		"creates of the first run":      {plan: ledger.Plan{Creates: 1000}, n: ledger.Counts{People: 1000}, past: conduct.Past{First: true}},
		"creates, all, but few":         {plan: ledger.Plan{Creates: 20}, n: ledger.Counts{People: 20}, past: conduct.Past{People: 20}},
		"creates, one more than few":    {plan: ledger.Plan{Creates: 21}, n: ledger.Counts{People: 21}, past: conduct.Past{People: 20}, guard: "creates"},
		"creates at the number":         {guards: &mapperv1.Guards{Creates: &mapperv1.Brake{Count: 30}}, plan: ledger.Plan{Creates: 30}, n: ledger.Counts{People: 1000}, past: later},
		"creates above the number":      {guards: &mapperv1.Guards{Creates: &mapperv1.Brake{Count: 30}}, plan: ledger.Plan{Creates: 31}, n: ledger.Counts{People: 1000}, past: later, guard: "creates", words: "at most 30 go"},
		"creates without a limit":       {guards: &mapperv1.Guards{Creates: &mapperv1.Brake{Share: -1}}, plan: ledger.Plan{Creates: 1000}, n: ledger.Counts{People: 1000}, past: later},
		"updates have no default":       {plan: ledger.Plan{Updates: 1000}, n: ledger.Counts{People: 1000}, past: later},
		"updates at the share":          {guards: &mapperv1.Guards{Updates: &mapperv1.Brake{Share: 0.1}}, plan: ledger.Plan{Updates: 100}, n: ledger.Counts{People: 1000}, past: later},
		"updates above the share":       {guards: &mapperv1.Guards{Updates: &mapperv1.Brake{Share: 0.1}}, plan: ledger.Plan{Updates: 101}, n: ledger.Counts{People: 1000}, past: later, guard: "updates"},
		"updates of the first run":      {guards: &mapperv1.Guards{Updates: &mapperv1.Brake{Count: 50}}, plan: ledger.Plan{Updates: 51}, n: ledger.Counts{People: 1000}, past: conduct.Past{First: true}, guard: "updates"},
		"clears at the default":         {plan: ledger.Plan{Clears: 100, Values: 1000}, n: ledger.Counts{People: 1000}, past: later},
		"clears above the default":      {plan: ledger.Plan{Clears: 101, Values: 1000}, n: ledger.Counts{People: 1000}, past: later, guard: "clears", words: "clear 101 fields, which is 10.1 % of the 1000 values"},
		"deactivations at the default":  {plan: ledger.Plan{Deactivations: 50}, n: ledger.Counts{People: 1000, Records: 1100, ForeignRecords: 100}, past: later},
		"deactivations above it":        {plan: ledger.Plan{Deactivations: 51}, n: ledger.Counts{People: 1000, Records: 1100, ForeignRecords: 100}, past: later, guard: "deactivations"},
		"every run":                     {guards: &mapperv1.Guards{ApproveEveryRun: true}, n: ledger.Counts{People: 1}, past: later, guard: "incomplete_source", words: "Every run waits"},
		"every run, first":              {guards: &mapperv1.Guards{ApproveEveryRun: true}, n: ledger.Counts{People: 1}, past: conduct.Past{First: true}, guard: "approval"},
		"nobody":                        {past: later, guard: "empty_source"},
		"nobody, the first time":        {past: conduct.Past{First: true}, guard: "empty_source"},
		"nobody, and that is right":     {guards: &mapperv1.Guards{AllowEmptySource: true, LeastPeople: -1}, past: later},
		"nobody is too few as well":     {guards: &mapperv1.Guards{AllowEmptySource: true}, past: later, guard: "incomplete_source"},
		"half of the people":            {n: ledger.Counts{People: 500}, past: later},
		"fewer than half of them":       {n: ledger.Counts{People: 499}, past: later, guard: "incomplete_source", words: "499 people, and held 1000"},
		"fewer than were asked for":     {guards: &mapperv1.Guards{LeastPeople: 0.9}, n: ledger.Counts{People: 899}, past: later, guard: "incomplete_source"},
		"any number of people will do":  {guards: &mapperv1.Guards{LeastPeople: -1}, n: ledger.Counts{People: 1}, past: later},
		"several guards, all are told":  {plan: ledger.Plan{Creates: 600, Clears: 200, Values: 1000}, n: ledger.Counts{People: 1000}, past: later, guard: "creates", words: "clear 200 fields"},
		"a brake on a plan of nobody's": {guards: &mapperv1.Guards{AllowEmptySource: true, LeastPeople: -1}, plan: ledger.Plan{Deactivations: 40, Leavers: 40}, past: later, guard: "deactivations"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.plan.Hash = "abc"
			hold := conduct.Guard(tt.guards, &tt.plan, tt.n, tt.past)
			switch {
			case hold == nil && tt.guard != "":
				t.Errorf("nothing holds, want %s", tt.guard)
			case hold != nil && (hold.Guard != tt.guard || !strings.Contains(hold.Reason, tt.words) || hold.PlanHash != "abc"):
				t.Errorf("held by %+v, want %q with %q", hold, tt.guard, tt.words)
			}
		})
	}
}

func TestAllocationLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		guards *mapperv1.Guards
		want   allocation.Limits
	}{
		{nil, allocation.Limits{Share: 0.2, Stop: 0.8}},
		{&mapperv1.Guards{AllocationShare: 0.5, AllocationStop: 0.9}, allocation.Limits{Share: 0.5, Stop: 0.9}},
		{&mapperv1.Guards{AllocationShare: -1, AllocationStop: -3}, allocation.Limits{Share: -1, Stop: -1}},
		{&mapperv1.Guards{AllocationShare: 7, AllocationStop: 7}, allocation.Limits{Share: 1, Stop: 1}},
	} {
		if diff := cmp.Diff(tt.want, conduct.AllocationLimits(tt.guards)); diff != "" {
			t.Error(diff)
		}
	}
	if h := conduct.HoldHours(nil); h != 72 {
		t.Errorf("a run is held for %d hours", h)
	}
	if h := conduct.HoldHours(&mapperv1.Guards{HoldHours: 5}); h != 5 {
		t.Errorf("a run is held for %d hours", h)
	}
}
