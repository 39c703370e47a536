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
		[2]string{"org", orgWords(c)},
		[2]string{"signed in", Clean(c.GetUsername())},
		[2]string{"e-mail", Clean(c.GetUserEmail())},
		[2]string{"flow", Words(c.GetFlow())},
		[2]string{"scopes", Clean(strings.Join(c.GetScopes(), " "))},
		[2]string{"purpose", purposeWords(c)},
		[2]string{"companies", Clean(strings.Join(c.GetCompanyNames(), ", "))},
		[2]string{"linked", timeOrNothing(s, c.GetLinkedAt())},
		[2]string{"unlinked", timeOrNothing(s, c.GetUnlinkedAt())},
	)
}

// orgWords is the org by name and id, as far as they are known.
func orgWords(c *authv1.Connection) string {
	if c.GetOrgName() == "" {
		return Clean(c.GetOrgId())
	}
	return Clean(c.GetOrgName()) + ", " + Clean(c.GetOrgId())
}

func purposeWords(c *authv1.Connection) string {
	switch c.GetPurpose() {
	case authv1.Purpose_PURPOSE_SOURCE:
		return "source, only read"
	case authv1.Purpose_PURPOSE_WRITE_TARGET:
		return "write target"
	}
	return ""
}

// Connections lists connections.
func Connections(s Style, all []*authv1.Connection) string {
	t := table{columns: []column{
		{title: "ID", whole: true},
		{title: "NAME"},
		{title: "STATE", whole: true},
		{title: "PURPOSE", whole: true, drop: 3},
		{title: "ORG", whole: true, drop: 2},
		{title: "HOST", drop: 1},
		{title: "USER", drop: 1},
		{title: "REASON"},
	}}
	for _, c := range all {
		t.add(c.GetId(), orDash(c.GetName()), Words(c.GetState()), orDash(Words(c.GetPurpose())), orDash(c.GetOrgId()), c.GetHost(), orDash(c.GetUsername()), orDash(c.GetReason()))
	}
	return t.String(s)
}

// SigningKeys lists key pairs.
func SigningKeys(s Style, keys []*authv1.SigningKey) string {
	t := table{columns: []column{
		{title: "ID", whole: true}, {title: "MADE", whole: true, drop: 1}, {title: "CERTIFICATE ENDS", whole: true}, {title: "CONNECTION", whole: true}, {title: "SHA-256", drop: 2},
	}}
	for _, k := range keys {
		t.add(k.GetId(), s.minute(k.GetCreatedAt()), s.minute(k.GetExpiresAt()), orDash(k.GetConnectionId()), k.GetFingerprint())
	}
	return t.String(s)
}

// Tokens lists API tokens.
func Tokens(s Style, tokens []*gatewayv1.ApiToken) string {
	t := table{columns: []column{
		{title: "ID", whole: true},
		{title: "NAME"},
		{title: "TENANT"},
		{title: "ROLE", whole: true},
		{title: "MADE", whole: true, drop: 2},
		{title: "BY", drop: 1},
		{title: "LAST USED", whole: true},
		{title: "ENDS", whole: true},
	}}
	for _, tok := range tokens {
		ends := "never"
		if tok.GetExpiresAt() != nil {
			ends = s.minute(tok.GetExpiresAt())
		}
		used := "never"
		if tok.GetLastUsedAt() != nil {
			used = s.minute(tok.GetLastUsedAt())
		}
		t.add(tok.GetId(), tok.GetName(), tok.GetTenant(), Word(tok.GetRole()), s.minute(tok.GetCreatedAt()), tok.GetAuthor(), used, ends)
	}
	return t.String(s)
}
