package view

import (
	"fmt"
	"strings"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Diagnosis shows what was examined: who is connected where, then the findings, worst first, each with why it matters
// and what mends it, then the latest sign-ins.
func Diagnosis(s Style, d *syncv1.DiagnoseResponse) string {
	var b strings.Builder
	org, user := d.GetOrg(), d.GetUser()
	if org != nil {
		kind := "production"
		if org.GetSandbox() {
			kind = "sandbox"
		}
		b.WriteString(pairs(s, 0,
			[2]string{"org", fmt.Sprintf("%s, %s, %s, %s", Clean(org.GetName()), Clean(org.GetId()), Clean(org.GetEdition()), kind)},
			[2]string{"user", fmt.Sprintf("%s, e-mail %s, profile %s, licence %s", Clean(user.GetUsername()), Clean(orDash(user.GetEmail())), Clean(orDash(user.GetProfile())), Clean(orDash(user.GetLicense())))},
			[2]string{"permission sets", Clean(orDash(strings.Join(user.GetPermissionSets(), ", ")))},
			[2]string{"API calls", fmt.Sprintf("%s of %s used in 24 hours", Count(d.GetAllocationUsed()), Count(d.GetAllocationMax()))},
		))
		b.WriteString("\n")
	}
	b.WriteString(Findings(s, d.GetFindings()))
	if len(d.GetLogins()) > 0 {
		b.WriteString("\n" + s.Paint(Bold, "Latest sign-ins") + "\n")
		t := table{columns: []column{{title: "WHEN", whole: true}, {title: "STATUS"}, {title: "APP"}, {title: "TYPE", drop: 1}, {title: "ADDRESS"}}, indent: 2}
		for _, l := range d.GetLogins() {
			tone := Plain
			if l.GetStatus() != "Success" {
				tone = Bad
			}
			t.addTones(cell{text: s.minute(l.GetAt())}, cell{l.GetStatus(), tone}, cell{text: l.GetApplication()}, cell{l.GetType(), Dim}, cell{text: l.GetSourceIp()})
		}
		b.WriteString(t.String(s))
	}
	return b.String()
}

// Findings shows findings one below the other.
func Findings(s Style, findings []*syncv1.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		mark, tone := "ok", Good
		switch f.GetSeverity() {
		case syncv1.Severity_SEVERITY_ERROR:
			mark, tone = "ERROR", Bad
		case syncv1.Severity_SEVERITY_WARNING:
			mark, tone = "warn", Warn
		case syncv1.Severity_SEVERITY_UNKNOWN:
			mark, tone = "?", Warn
		}
		fmt.Fprintf(&b, "%s  %s\n", s.Paint(tone, pad(mark, 5, false)), Clean(f.GetWhat()))
		if f.GetSeverity() == syncv1.Severity_SEVERITY_OK {
			continue
		}
		for _, line := range [][2]string{{"why", f.GetWhy()}, {"mend", f.GetMend()}, {"said", f.GetSalesforce()}} {
			if line[1] == "" {
				continue
			}
			width := 0
			if s.Width > 40 {
				width = s.Width - 13
			}
			for i, part := range wrap(Clean(line[1]), width) {
				title := pad(line[0], 4, false)
				if i > 0 {
					title = "    "
				}
				fmt.Fprintf(&b, "       %s  %s\n", s.Paint(Dim, title), part)
			}
		}
	}
	return b.String()
}
