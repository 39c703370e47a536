package view_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	got := string(view.JSON(writeRun()))
	want := `{"id":"runaebagbafaydqqcikbmga2dq","tenant":"acme","connection_id":"con_1","kind":"write","trigger":"manual","object":"Contact",` +
		`"state":"completed_with_failures","stage":"","reason":"","plan_only":false,"field_map_version":3,` +
		`"counts":{"people":5000,"created":4900,"updated":57,"unchanged":40,"skipped":0,"rejected":2,"failed":1,"superseded":0,"deferred":0,` +
		`"verified":4957,"mismatched":0,"records":0,"foreign_records":12,"leavers":0,"leavers_flagged":0,"deleted":0,"cut":0},` +
		`"plan":{"creates":4901,"updates":57,"unchanged":40,"skipped":0,"rejected":2,"superseded":0,"forecast_api_calls":26,` +
		`"allocation_used":1204,"allocation_max":100000,"hash":"","updates_by_field":{"Department":17,"MailingCity":1,"MailingStreet":1,` +
		`"MobilePhone":17,"Title":50},"rejected_by_code":{"invalid_email":1,"missing_match_key":1},"skipped_by_rule":{},"clears":0,"deactivations":0,"deletes":0,"forecast_by_kind":{},"forecast_seconds":0,"lookup_creates":{},"our_allocation":0,"our_allocation_used":0},"api_calls":27,` +
		`"bulk_job_ids":["750xx000000001AAA","750xx000000002AAA","750xx000000003AAA"],"requested_at":"2026-03-04T23:59:50Z",` +
		`"started_at":"2026-03-04T23:59:51Z","ended_at":"2026-03-04T23:59:56Z","tasks_done":0,"tasks_total":0,"rows_done":0,"rows_total":0,"trace_id":"","notes":[],"undo_run_id":"","undo_delete_created":false,"undone_by":"","author":""}` + "\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Programs read whatever people have typed.
func TestJSONIsJSON(t *testing.T) {
	t.Parallel()
	texts := []string{hostile, `"quoted" \ <tag> & more`, "\x00\u2028", ""}
	for _, text := range texts {
		line := view.JSON(&directoryv1.Person{Id: text, Fields: map[string]string{text: text}})
		if n := strings.Count(string(line), "\n"); n != 1 {
			t.Errorf("%q takes %d lines", text, n)
		}
		var got struct {
			ID     string
			Fields map[string]string
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got.ID != text || got.Fields[text] != text {
			t.Errorf("%q came back as %+v", text, got)
		}
	}
	if got := string(view.JSON(&syncv1.Run{})); strings.Contains(got, "plan\":") || !strings.Contains(got, `"bulk_job_ids":[]`) {
		t.Errorf("an empty run is %s", got)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	tests := []struct{ got, want string }{
		{view.Count(1_234_567), "1,234,567"},
		{view.Plural(1, "person", "people"), "1 person"},
		{view.Plural(0, "person", "people"), "0 people"},
		{view.Share(0, 0), "0 %"},
		{view.Share(0, 10), "0 %"},
		{view.Share(1, 100_000), "under 0.1 %"},
		{view.Share(3, 1000), "0.3 %"},
		{view.Share(61, 100), "61 %"},
		{view.Share(99_999, 100_000), "99 %"},
		{view.Share(5, 5), "100 %"},
		{view.Share(6, 5), "120 %"},
		{view.Duration(-time.Second), "0 s"},
		{view.Duration(421 * time.Millisecond), "0.42 s"},
		{view.Duration(12_340 * time.Millisecond), "12.3 s"},
		{view.Duration(245 * time.Second), "4 min 05 s"},
		{view.Duration(130 * time.Minute), "2 h 10 min"},
		{view.Bytes(-1), "0 B"},
		{view.Bytes(1536), "1.5 KiB"},
		{view.Word(syncv1.RunState_RUN_STATE_NEEDS_RECONNECT), "needs_reconnect"},
		{view.Words(syncv1.RunState_RUN_STATE_NEEDS_RECONNECT), "needs reconnect"},
		{view.Word(syncv1.RunState(0)), ""},
		{view.Word(syncv1.RunState(77)), "77"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	if got := view.Rate(writeRun()); got != 1000 {
		t.Errorf("5,000 people in 5 seconds are %v a second", got)
	}
	if got := view.Rate(&syncv1.Run{StartedAt: at(0)}); got != 0 {
		t.Errorf("a run that has not ended has the rate %v", got)
	}
}

// Nothing that people or Salesforce wrote moves the cursor, colours or hides text.
func FuzzClean(f *testing.F) {
	f.Add(hostile, 5)
	f.Add("e\u0301\u0301", 1)
	f.Add("\xff\xfe", 3)
	f.Fuzz(func(t *testing.T, text string, columns int) {
		clean := view.Clean(text)
		if !utf8.ValidString(clean) && utf8.ValidString(text) {
			t.Errorf("%q became %q, which is no UTF-8", text, clean)
		}
		if strings.ContainsFunc(clean, func(r rune) bool {
			return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' || r == '\u200b'
		}) {
			t.Errorf("%q became %q", text, clean)
		}
		if again := view.Clean(clean); again != clean {
			t.Errorf("%q became %q, and then %q", text, clean, again)
		}
		columns = min(max(columns, 3), 1000)
		if clipped := (view.Style{}).Clip(clean, columns); uniseg.StringWidth(clipped) > columns {
			t.Errorf("%q has %d columns, not %d", clipped, uniseg.StringWidth(clipped), columns)
		}
	})
}
