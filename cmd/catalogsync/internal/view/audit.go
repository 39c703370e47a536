package view

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
)

// AuditEntries shows entries of the audit log.
func AuditEntries(s Style, entries []*auditv1.Entry) string {
	t := table{columns: []column{
		{title: "TIME", whole: true},
		{title: "WHO"},
		{title: "ROLE", whole: true, drop: 2},
		{title: "ACTION", whole: true},
		{title: "ON"},
		{title: "DETAIL", drop: 3},
		{title: "BY", whole: true, drop: 1},
	}}
	for _, e := range entries {
		t.add(s.Time(e.GetAt()), e.GetActor(), Word(e.GetRole()), Action(e.GetAction()), orDash(e.GetSubject()), e.GetDetail(), e.GetService())
	}
	return t.String(s)
}

// Action is an action as people read it: of an RPC its name.
func Action(action string) string {
	return action[strings.LastIndexByte(action, '/')+1:]
}

// AuditCSVHead is the first line of the audit log as CSV.
func AuditCSVHead() string {
	return "number,at,tenant,actor,role,action,subject,detail,service,trace_id\n"
}

// AuditCSV is an entry as a line of CSV that no spreadsheet takes for a formula.
func AuditCSV(e *auditv1.Entry) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	fields := []string{
		strconv.FormatUint(e.GetNumber(), 10), e.GetAt().AsTime().Format(time.RFC3339Nano), e.GetTenant(), e.GetActor(), Word(e.GetRole()),
		e.GetAction(), e.GetSubject(), e.GetDetail(), e.GetService(), e.GetTraceId(),
	}
	for i, f := range fields {
		fields[i] = harmless(f)
	}
	_ = w.Write(fields) // a strings.Builder takes everything
	w.Flush()
	return b.String()
}

// harmless marks a value as text where a spreadsheet would take it for a formula. What may stand before the sign, and is
// passed over, counts as the sign does.
func harmless(value string) string {
	if rest := strings.TrimLeft(value, " \u00a0\ufeff"); rest != "" && strings.ContainsRune("=+-@\t\r\n\x00|%＝＋－＠", []rune(rest)[0]) {
		return "'" + value
	}
	return value
}

// Rotated shows what a rotation of keys did.
func Rotated(_ Style, r *authv1.RotateKeysResponse) string {
	if len(r.GetRetiredKeyIds()) == 0 && r.GetTotal() == 0 {
		return fmt.Sprintf("There was nothing to go on with. Key %d is in use.\n", r.GetPrimaryKeyId())
	}
	old := make([]string, len(r.GetRetiredKeyIds()))
	for i, id := range r.GetRetiredKeyIds() {
		old[i] = strconv.FormatUint(uint64(id), 10)
	}
	text := fmt.Sprintf("%s sealed anew by key %d.", Plural(r.GetTotal(), "record is", "records are"), r.GetPrimaryKeyId())
	if len(old) > 0 {
		text += fmt.Sprintf(" Deleted: key %s.", strings.Join(old, ", key "))
	}
	return text + "\n"
}
