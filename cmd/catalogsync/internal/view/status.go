package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
)

// Status shows the integration at a glance, and what to do next where something is missing.
func Status(s Style, st *gatewayv1.GetStatusResponse) string {
	state := st.GetState()
	tone := Good
	switch state {
	case gatewayv1.IntegrationState_INTEGRATION_STATE_NEEDS_RECONNECT:
		tone = Bad
	case gatewayv1.IntegrationState_INTEGRATION_STATE_NOT_LINKED:
		tone = Warn
	}
	conn, run := st.GetConnection(), st.GetLatestRun()
	connection := "none; link an org with `catalogsync link`"
	if conn != nil {
		connection = fmt.Sprintf("%s, org %s at %s", Clean(conn.GetName()), Clean(conn.GetOrgId()), Clean(conn.GetHost()))
	}
	fieldMap := "none; save one with `catalogsync map set`"
	if m := st.GetFieldMap(); m != nil {
		fieldMap = fmt.Sprintf("%s, version %d, %s, %s", Clean(m.GetObject()), m.GetVersion(),
			Plural(int64(len(m.GetPairs())), "pair", "pairs"), matchedBy(m))
	}
	latest := "none; start one with `catalogsync run`"
	if run != nil {
		n := run.GetCounts()
		latest = fmt.Sprintf("%s, %s, %s", Clean(run.GetId()), s.Paint(stateTone(run), stateWords(run)), Plural(n.GetPeople(), "person", "people"))
		if p := Problems(n); p > 0 {
			latest += ", " + s.Paint(Bad, Plural(p, "problem", "problems"))
		}
	}
	return pairs(s, 0,
		[2]string{"integration", s.Paint(tone, Words(state))},
		[2]string{"connection", connection},
		[2]string{"reason", Clean(conn.GetReason())},
		[2]string{"people", counted(st.GetPeople())},
		[2]string{"field map", fieldMap},
		[2]string{"schedule", scheduleWords(s, st.GetSchedule())},
		[2]string{"latest run", latest},
	)
}

func counted(c *directoryv1.CountPeopleResponse) string {
	if c.GetPeople()+c.GetGone() == 0 {
		return "none; import a file with `catalogsync people import FILE`"
	}
	text := Count(c.GetPeople())
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.GetBySubaccount())) {
		parts = append(parts, Clean(orDash(name))+" "+Count(c.GetBySubaccount()[name]))
	}
	if len(parts) > 1 && len(parts) <= 5 {
		text += " (" + strings.Join(parts, ", ") + ")"
	} else if len(parts) > 5 {
		text += " in " + Plural(int64(len(parts)), "subaccount", "subaccounts")
	}
	if c.GetGone() > 0 {
		text += ", and " + Count(c.GetGone()) + " gone"
	}
	return text
}

func matchedBy(m *mapperv1.FieldMap) string {
	if m.GetExternalIdField() == "" {
		return "matched by e-mail"
	}
	return "matched by " + Clean(m.GetExternalIdField())
}

func scheduleWords(s Style, sch *schedulerv1.Schedule) string {
	switch {
	case sch == nil:
		return ""
	case !sch.GetEnabled():
		return "off; runs start by hand only"
	}
	text := fmt.Sprintf("daily at %s %s, next %s", sch.GetTime(), sch.GetZone(), s.Time(sch.GetNextAt()))
	if sch.GetReason() != "" {
		text += "; " + s.Paint(Warn, Clean(sch.GetReason()))
	}
	return text
}

// Schedule shows when runs start by themselves.
func Schedule(s Style, sch *schedulerv1.Schedule) string {
	last := ""
	if sch.GetLastSlot() != "" {
		last = sch.GetLastSlot() + ", run " + sch.GetLastRunId()
	}
	return pairs(s, 0, [2]string{"schedule", scheduleWords(s, sch)}, [2]string{"last", last})
}

// Connection shows the link to an org.
func Connection(s Style, c *authv1.Connection) string {
	tone := Good
	if c.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED {
		tone = Bad
	}
	return s.Paint(Bold, Clean(c.GetName())) + "  " + Clean(c.GetId()) + "\n" + pairs(s, 2,
		[2]string{"state", s.Paint(tone, Words(c.GetState()))},
		[2]string{"reason", Clean(c.GetReason())},
		[2]string{"host", Clean(c.GetHost())},
		[2]string{"org", Clean(c.GetOrgId())},
		[2]string{"signed in", Clean(c.GetUsername())},
		[2]string{"flow", Words(c.GetFlow())},
		[2]string{"linked", timeOrNothing(s, c.GetLinkedAt())},
	)
}

// FieldMap shows what goes where. added are targets that were added because they are mandatory.
func FieldMap(s Style, m *mapperv1.FieldMap, added []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  version %d, %s", s.Paint(Bold, Clean(m.GetObject())), m.GetVersion(), matchedBy(m))
	if m.GetAuthor() != "" {
		fmt.Fprintf(&b, ", saved by %s", Clean(m.GetAuthor()))
	}
	if m.GetSavedAt() != nil {
		fmt.Fprintf(&b, ", %s", s.Time(m.GetSavedAt()))
	}
	b.WriteString("\n\n")
	t := table{columns: []column{{title: "CATALOG"}, {}, {title: "SALESFORCE", whole: true}, {title: "TYPE", drop: 1}, {title: "DEFAULT"}, {}}, indent: 2}
	for _, p := range m.GetPairs() {
		kind := p.GetType()
		if p.GetLength() > 0 {
			kind += fmt.Sprintf("(%d)", p.GetLength())
		}
		note := ""
		if slices.Contains(added, p.GetTarget()) {
			note = "added: mandatory"
		}
		t.addTones(cell{text: p.GetSource()}, cell{"->", Dim}, cell{text: p.GetTarget()}, cell{kind, Dim}, cell{text: p.GetDefaultValue()}, cell{note, Dim})
	}
	b.WriteString(t.String(s))
	return b.String()
}

// Tokens lists API tokens.
func Tokens(s Style, tokens []*gatewayv1.ApiToken) string {
	t := table{columns: []column{
		{title: "ID", whole: true}, {title: "NAME"}, {title: "TENANT"}, {title: "ROLE", whole: true}, {title: "MADE", whole: true, drop: 1}, {title: "ENDS", whole: true},
	}}
	for _, tok := range tokens {
		ends := "never"
		if tok.GetExpiresAt() != nil {
			ends = s.minute(tok.GetExpiresAt())
		}
		t.add(tok.GetId(), tok.GetName(), tok.GetTenant(), Word(tok.GetRole()), s.minute(tok.GetCreatedAt()), ends)
	}
	return t.String(s)
}
