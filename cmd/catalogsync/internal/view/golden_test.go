package view_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// styles are a pipe, a narrow terminal without colours or Unicode, and a usual one.
var styles = map[string]view.Style{
	"pipe":   {},
	"narrow": {Width: 60},
	"color":  {Width: 100, Color: true, Unicode: true, Zone: time.FixedZone("CET", 3600)},
}

func golden(t *testing.T, name string, show func(s view.Style) string) {
	t.Helper()
	for style, s := range styles {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", name+"."+style+".golden")
			got := show(s)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s is not what is shown; go test -update writes it anew:\n%s", file, diff)
			}
		})
	}
}

func at(seconds int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, time.March, 4, 23, 59, 50, 0, time.UTC).Add(time.Duration(seconds) * time.Second))
}

// hostile is what somebody may have typed as their name: colours, a line break, a change of direction, wide letters.
const hostile = "Ann \x1b[31mred\x1b[0m\nnew line \u202e山田"

func writeRun() *syncv1.Run {
	return &syncv1.Run{
		Id: "runaebagbafaydqqcikbmga2dq", Tenant: "acme", ConnectionId: "con_1", Kind: syncv1.RunKind_RUN_KIND_WRITE,
		Trigger: syncv1.RunTrigger_RUN_TRIGGER_MANUAL, Object: "Contact", State: syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES,
		FieldMapVersion: 3, RequestedAt: at(0), StartedAt: at(1), EndedAt: at(6), ApiCalls: 27,
		Counts: &syncv1.Counts{People: 5000, Created: 4900, Updated: 57, Unchanged: 40, Rejected: 2, Failed: 1, Verified: 4957, ForeignRecords: 12},
		Plan: &syncv1.Plan{
			Creates: 4901, Updates: 57, Unchanged: 40, Rejected: 2, ForecastApiCalls: 26, AllocationUsed: 1204, AllocationMax: 100_000,
			UpdatesByField: map[string]int64{"Title": 50, "Department": 17, "MobilePhone": 17, "MailingCity": 1, "MailingStreet": 1},
			RejectedByCode: map[string]int64{"invalid_email": 1, "missing_match_key": 1},
		},
		BulkJobIds: []string{"750xx000000001AAA", "750xx000000002AAA", "750xx000000003AAA"},
	}
}

func nightlyRun() *syncv1.Run {
	return &syncv1.Run{
		Id: "runb2dqqcikbmga2dqebagbafa", Trigger: syncv1.RunTrigger_RUN_TRIGGER_SCHEDULE, Object: "Contact", Kind: syncv1.RunKind_RUN_KIND_WRITE,
		State: syncv1.RunState_RUN_STATE_SUCCEEDED, RequestedAt: at(10), StartedAt: at(10), EndedAt: at(70),
		Counts: &syncv1.Counts{People: 5000, Updated: 50, Unchanged: 4950, Verified: 50}, ApiCalls: 7,
	}
}

func changes() []*syncv1.Change {
	return []*syncv1.Change{
		{PersonId: "P0000017", Action: syncv1.Action_ACTION_UPDATE, RecordId: "003xx000004TmiQAAS", Fields: []*syncv1.FieldChange{
			{Field: "Title", Before: "Engineer", After: "Lead engineer"},
			{Field: "MobilePhone", NullBefore: true, After: "+49 170 5550199"},
			{Field: "MailingStreet", Before: "A street with a name that is longer than any sensible line would be, 17", After: "Short 1"},
			{Field: "Department", Before: "Sales", NullAfter: true},
		}},
		{PersonId: "P0000018", Action: syncv1.Action_ACTION_CREATE, Fields: []*syncv1.FieldChange{
			{Field: "CatalogUserId__c", NullBefore: true, After: "P0000018"},
			{Field: "LastName", NullBefore: true, After: hostile},
		}},
	}
}

func rejected() *syncv1.Outcome {
	return &syncv1.Outcome{
		PersonId: "P0000019", Kind: syncv1.OutcomeKind_OUTCOME_KIND_REJECTED, Code: "invalid_email", Fields: []string{"Email"},
		Message: `"ann.at.example.com" is no e-mail address that Salesforce takes; correct it in the Catalog.`,
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	golden(t, "plan", func(s view.Style) string {
		return view.Plan(s, view.Planned{Run: writeRun(), Changes: changes(), Rejected: []*syncv1.Outcome{rejected()}, More: "--limit 0 shows all"})
	})
}

func TestPlanOfNothing(t *testing.T) {
	t.Parallel()
	golden(t, "plan_nothing", func(s view.Style) string {
		return view.Plan(s, view.Planned{Run: &syncv1.Run{Object: "Lead", Plan: &syncv1.Plan{Unchanged: 1}}})
	})
}

func TestPlanBeyondAllocation(t *testing.T) {
	t.Parallel()
	golden(t, "plan_allocation", func(s view.Style) string {
		return view.Plan(s, view.Planned{Run: &syncv1.Run{Object: "Lead", Plan: &syncv1.Plan{
			Creates: 1_000_000, Skipped: 3, Superseded: 2, ForecastApiCalls: 40, AllocationUsed: 14_990, AllocationMax: 15_000,
		}}})
	})
}

func TestRuns(t *testing.T) {
	t.Parallel()
	golden(t, "runs", func(s view.Style) string {
		planned := writeRun()
		planned.PlanOnly, planned.State = true, syncv1.RunState_RUN_STATE_SUCCEEDED
		planned.Counts = &syncv1.Counts{People: 5000}
		running := nightlyRun()
		running.State, running.Stage, running.EndedAt = syncv1.RunState_RUN_STATE_RUNNING, "apply", nil
		return view.Runs(s, []*syncv1.Run{running, writeRun(), planned})
	})
}

func TestRun(t *testing.T) {
	t.Parallel()
	golden(t, "run", func(s view.Style) string { return view.Run(s, writeRun()) })
}

func TestRunThatOnlyPlans(t *testing.T) {
	t.Parallel()
	golden(t, "run_plan", func(s view.Style) string {
		planned := writeRun()
		planned.PlanOnly, planned.State = true, syncv1.RunState_RUN_STATE_SUCCEEDED
		return view.Run(s, planned)
	})
}

func TestRunThatWaits(t *testing.T) {
	t.Parallel()
	golden(t, "run_waits", func(s view.Style) string {
		return view.Run(s, &syncv1.Run{
			Id: "run1", Object: "Lead", Kind: syncv1.RunKind_RUN_KIND_WRITE, State: syncv1.RunState_RUN_STATE_REQUESTED, RequestedAt: at(0),
			Reason: "Another run is writing to Lead of this org; this one begins when that one has ended, and nobody has to do anything.",
		})
	})
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	golden(t, "outcomes", func(s view.Style) string {
		return view.Outcomes(s, []*syncv1.Outcome{
			{PersonId: "P0000001", Kind: syncv1.OutcomeKind_OUTCOME_KIND_CREATED, RecordId: "003xx000004TmiQAAS"},
			rejected(),
			{
				PersonId: "P0000020", Kind: syncv1.OutcomeKind_OUTCOME_KIND_FAILED, Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION",
				Message: "Managers have no title\nhere", BulkJobId: "750xx000000001AAA",
			},
		})
	})
}

func TestSummary(t *testing.T) {
	t.Parallel()
	golden(t, "summary", func(s view.Style) string {
		return view.Summary(s, []view.Result{{Run: writeRun(), Title: "FIRST RUN"}, {Run: nightlyRun(), Title: "NIGHTLY RUN"}})
	})
}

func TestPeople(t *testing.T) {
	t.Parallel()
	golden(t, "people", func(s view.Style) string {
		return view.People(s, []*directoryv1.Person{
			{Id: "P0000001", ChangedAt: at(0), Fields: map[string]string{
				"email": "ana.maria.hernandez.gonzalez@students.example.org", "first_name": "Ana María", "last_name": "Hernández", "subaccount": "North Campus",
			}},
			{Id: "P0000002", ChangedAt: at(1), Gone: true, Fields: map[string]string{"last_name": hostile}},
		})
	})
}

func TestPerson(t *testing.T) {
	t.Parallel()
	golden(t, "person", func(s view.Style) string {
		o := rejected()
		return view.Person(s, &directoryv1.Person{Id: "P0000019", ChangedAt: at(0), Gone: true, Fields: map[string]string{
			"attributes.cohort": "2026-spring", "last_name": hostile, "email": "ann.at.example.com", "first_name": "Ann",
		}}, []*directoryv1.PersonOutcome{{RunId: "run1", EndedAt: at(60), Outcome: o}}) +
			view.Person(s, &directoryv1.Person{Id: "P0000020"}, nil)
	})
}

func TestImported(t *testing.T) {
	t.Parallel()
	golden(t, "imported", func(s view.Style) string {
		return view.Imported(s, &directoryv1.ImportSummary{Lines: 5000, Added: 4000, Changed: 20, Unchanged: 978, Gone: 5, Rejected: 2}) +
			view.Imported(s, &directoryv1.ImportSummary{Lines: 1, Rejected: 1, GoneWithheld: "not a single line could be taken"}) +
			view.LineError(&directoryv1.LineError{Line: 17, Column: "email", Value: "a\x1b[2J", Message: "it is no e-mail address"}) + "\n" +
			view.LineError(&directoryv1.LineError{Line: 18, Message: "the line has 3 columns, the header has 4"}) + "\n"
	})
}

func connection() *authv1.Connection {
	return &authv1.Connection{
		Id: "con_1", Name: "Salesforce", State: authv1.ConnectionState_CONNECTION_STATE_LINKED, Flow: authv1.Flow_FLOW_CLIENT_CREDENTIALS,
		Host: "https://acme.my.salesforce.com", OrgId: "00Dxx0000001gPLEAY", Username: "integration@acme.example", LinkedAt: at(0),
	}
}

func fieldMap() *mapperv1.FieldMap {
	return &mapperv1.FieldMap{
		Object: "Contact", ExternalIdField: "CatalogUserId__c", Version: 3, Author: "laptop", SavedAt: at(0), Pairs: []*mapperv1.Pair{
			{Source: "first_name", Target: "FirstName", Type: "string", Length: 40},
			{Source: "title", Target: "Title", Type: "string", Length: 128, DefaultValue: "Member"},
			{Source: "id", Target: "CatalogUserId__c", Type: "string", Length: 255},
		},
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	golden(t, "status", func(s view.Style) string {
		refused := connection()
		refused.State, refused.Reason = authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT, "Salesforce says invalid_client: the consumer secret has changed."
		return view.Status(s, &gatewayv1.GetStatusResponse{
			State: gatewayv1.IntegrationState_INTEGRATION_STATE_LINKED, Connection: connection(), LatestRun: writeRun(), FieldMap: fieldMap(),
			Schedule: &schedulerv1.Schedule{Enabled: true, Time: "00:00", Zone: "UTC", NextAt: at(10)},
			People:   &directoryv1.CountPeopleResponse{People: 5000, Gone: 3, BySubaccount: map[string]int64{"North": 2400, "South": 2600}},
		}) + "\n" + view.Status(s, &gatewayv1.GetStatusResponse{
			State: gatewayv1.IntegrationState_INTEGRATION_STATE_NEEDS_RECONNECT, Connection: refused,
			Schedule: &schedulerv1.Schedule{},
		}) + "\n" + view.Status(s, &gatewayv1.GetStatusResponse{State: gatewayv1.IntegrationState_INTEGRATION_STATE_NOT_LINKED})
	})
}

func TestConnection(t *testing.T) {
	t.Parallel()
	golden(t, "connection", func(s view.Style) string { return view.Connection(s, connection()) })
}

func TestConnections(t *testing.T) {
	t.Parallel()
	golden(t, "connections", func(s view.Style) string {
		source := connection()
		source.Id, source.Name, source.Purpose, source.CompanyNames = "con_2", "North", authv1.Purpose_PURPOSE_SOURCE, []string{"Acme North", "Acme"}
		source.State, source.Reason, source.OrgName = authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT, "Salesforce says no.", "north.my.salesforce.com"
		source.UserEmail, source.Scopes, source.UnlinkedAt = "ops@acme.example", []string{"api", "id"}, at(5)
		awaited := &authv1.Connection{Id: "lnk_1", State: authv1.ConnectionState_CONNECTION_STATE_LINKING, Host: "https://login.salesforce.com", Purpose: authv1.Purpose_PURPOSE_WRITE_TARGET}
		return view.Connections(s, []*authv1.Connection{connection(), source, awaited}) + "\n" + view.Connection(s, source) + "\n" +
			view.SigningKeys(s, []*authv1.SigningKey{
				{Id: "key_1", CreatedAt: at(0), ExpiresAt: at(10), ConnectionId: "con_1", Fingerprint: "00ff"}, {Id: "key_2", CreatedAt: at(1), ExpiresAt: at(11)},
			})
	})
}

func TestFieldMap(t *testing.T) {
	t.Parallel()
	golden(t, "fieldmap", func(s view.Style) string { return view.FieldMap(s, fieldMap(), []string{"FirstName"}) })
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	golden(t, "schedule", func(s view.Style) string {
		return view.Schedule(s, &schedulerv1.Schedule{
			Enabled: true, Time: "02:30", Zone: "Europe/Berlin", NextAt: at(10), LastSlot: "2026-03-04", LastRunId: "run1",
			Reason: "The org cannot be reached.",
		})
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	golden(t, "tokens", func(s view.Style) string {
		return view.Tokens(s, []*gatewayv1.ApiToken{
			{Id: "tok_1", Name: "laptop", Tenant: "acme", Role: optionsv1.Role_ROLE_ADMIN, Author: "operator", CreatedAt: at(0), LastUsedAt: at(1800)},
			{Id: "tok_2", Name: "dashboard of the whole department", Tenant: "acme", Role: optionsv1.Role_ROLE_VIEWER, Author: "laptop", CreatedAt: at(0), ExpiresAt: at(3600)},
		})
	})
}
