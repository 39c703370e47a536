package view_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
)

func TestAuditEntries(t *testing.T) {
	t.Parallel()
	golden(t, "audit", func(s view.Style) string {
		return view.AuditEntries(s, []*auditv1.Entry{
			{Number: 9, At: at(3600), Tenant: "acme", Actor: "sync-worker", Role: optionsv1.Role_ROLE_INTERNAL, Action: "token.use", Subject: "run_7", Service: "auth"},
			{Number: 3, At: at(0), Tenant: "acme", Actor: hostile, Role: optionsv1.Role_ROLE_OWNER, Action: "/catalogsync.auth.v1.KeyService/DestroyDataKey", Detail: "confirmed", Service: "gateway"},
		})
	})
}

func TestRotated(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]*authv1.RotateKeysResponse{
		"1,200 records are sealed anew by key 42. Deleted: key 7, key 8.\n":       {PrimaryKeyId: 42, Total: 1200, Done: 1200, RetiredKeyIds: []uint32{7, 8}},
		"There was nothing to go on with. Key 42 is in use.\n":                    {PrimaryKeyId: 42},
		"1 record is sealed anew by key 42.\n":                                    {PrimaryKeyId: 42, Total: 1, Done: 1},
		"0 records are sealed anew by key 4294967295. Deleted: key 4294967294.\n": {PrimaryKeyId: 4294967295, RetiredKeyIds: []uint32{4294967294}},
	} {
		if got := view.Rotated(view.Style{}, r); got != want {
			t.Errorf("shown is %q, want %q", got, want)
		}
	}
}

// TestAuditCSVHoldsNoFormula reads back what was written, cell by cell.
func TestAuditCSVHoldsNoFormula(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"plain": "plain", "": "", "a,b\"c": "a,b\"c", "two\nlines": "two\nlines", "  spaced": "  spaced", "x=1": "x=1", "日本": "日本",
	}
	for _, bad := range []string{
		"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "\ufeff=1", "|calc", "%0A=1", "＝1", "＋1", "－1", "＠x",
		`=HYPERLINK("http://x","y")`, "=cmd|' /C calc'!A0", "\x00=1",
	} {
		values[bad] = "'" + bad
	}
	for value, want := range values {
		text := view.AuditCSVHead() + view.AuditCSV(&auditv1.Entry{Number: 1, At: at(0), Tenant: value, Actor: value, Action: value, Subject: value, Detail: value, Service: "auth"})
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != len(rows[0]) || len(rows[0]) != 10 {
			t.Fatalf("value %q: %q, %v", value, rows, err)
		}
		for _, i := range []int{2, 3, 5, 6, 7} {
			// The reader turns the line breaks of CSV into those of Unix.
			if got := rows[1][i]; got != strings.ReplaceAll(want, "\r\n", "\n") {
				t.Errorf("value %q became %q in column %s, want %q", value, got, rows[0][i], want)
			}
		}
	}
}
