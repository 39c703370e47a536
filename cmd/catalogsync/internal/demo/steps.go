package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/node"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/simulator"
)

// tenant is whom the demo belongs to.
const tenant = "demo"

// start starts the org and the services, and comes in as an admin of the tenant.
func (t *tour) start(ctx context.Context) (err error) {
	began := time.Now()
	o := simulator.Options{Seed: uint64(t.Seed)}
	if t.ExternalID != "" {
		o.ExternalIDFields = []string{t.Object + "." + t.ExternalID}
	}
	if t.Data != "" {
		o.StateFile = t.file("org.json")
	}
	if t.org, err = simulator.Start(o); err != nil {
		return fmt.Errorf("start the Salesforce simulator: %w", err)
	}
	t.before = t.count()
	if t.node, err = t.startNode(ctx); err != nil {
		return err
	}
	if err := t.enter(ctx); err != nil {
		return err
	}
	t.out.step("Start", "five services, NATS and SQLite in this process", time.Since(began))
	holds := "empty"
	if n := t.before.records; n > 0 {
		holds = "with " + view.Plural(n, t.Object, t.Object+"s") + " already"
	}
	t.out.step("Org", "Salesforce simulator at "+t.org.URL+", "+holds, 0)
	return nil
}

func (t *tour) startNode(ctx context.Context) (*node.Node, error) {
	file, err := os.OpenFile(t.file("catalogsync.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	log, err := app.NewLogger(file, app.LogOptions{Format: "text", Level: slog.LevelInfo})
	if err != nil {
		return nil, err
	}
	o := node.DefaultOptions()
	o.Data, o.Log, o.DevOrigins = t.dir, log, []string{t.org.URL}
	if t.Serve { // at the usual addresses, where nobody else is
		if n, err := node.Start(ctx, o); !errors.Is(err, syscall.EADDRINUSE) {
			return n, err
		}
	}
	o.Listen, o.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	return node.Start(ctx, o)
}

// enter makes an API token and connects with it.
func (t *tour) enter(ctx context.Context) error {
	operator, err := client.Dial(client.Options{Server: t.node.Addr(), Token: t.node.OperatorToken()})
	if err != nil {
		return err
	}
	defer func() { _ = operator.Close() }()
	res, err := operator.Tokens.CreateApiToken(ctx, &gatewayv1.CreateApiTokenRequest{
		Name: "demo", Role: optionsv1.Role_ROLE_ADMIN, Tenant: tenant,
	})
	if err != nil {
		return fmt.Errorf("make an API token: %w", err)
	}
	t.token = res.GetSecret()
	if err := os.WriteFile(t.file("demo.token"), []byte(t.token+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the API token: %w", err)
	}
	t.client, err = client.Dial(client.Options{Server: t.node.Addr(), Token: t.token})
	return err
}

func (t *tour) link(ctx context.Context) error {
	res, err := t.client.Connections.LinkConnection(ctx, &authv1.LinkConnectionRequest{
		Name: "Demo org", Host: t.org.URL,
		Credentials: &authv1.LinkConnectionRequest_ClientCredentials{ClientCredentials: &authv1.ClientCredentials{
			ClientId: t.org.ClientID(), ClientSecret: t.org.ClientSecret(),
		}},
	})
	if err != nil {
		return fmt.Errorf("link the org: %w", err)
	}
	// Off until its turn comes: a demo at midnight would see the schedule's usual run.
	if _, err := t.client.Schedules.SetSchedule(ctx, &schedulerv1.SetScheduleRequest{}); err != nil {
		return fmt.Errorf("switch the schedule off: %w", err)
	}
	c := res.GetConnection()
	t.out.step("Link", "org "+c.GetOrgId()+", signed in as "+c.GetUsername(), 0)
	return nil
}

// fields are the Salesforce fields that Catalog fields go into, by object.
var fields = map[string][][2]string{
	"Contact": {
		{"first_name", "FirstName"},
		{"last_name", "LastName"},
		{"email", "Email"},
		{"phone", "Phone"},
		{"mobile_phone", "MobilePhone"},
		{"title", "Title"},
		{"department", "Department"},
		{"street", "MailingStreet"},
		{"city", "MailingCity"},
		{"postal_code", "MailingPostalCode"},
		{"country", "MailingCountry"},
	},
	"Lead": {
		{"first_name", "FirstName"},
		{"last_name", "LastName"},
		{"email", "Email"},
		{"organization", "Company"},
		{"phone", "Phone"},
		{"mobile_phone", "MobilePhone"},
		{"title", "Title"},
		{"street", "Street"},
		{"city", "City"},
		{"postal_code", "PostalCode"},
		{"country", "Country"},
	},
}

func (t *tour) saveMap(ctx context.Context) error {
	m := &mapperv1.FieldMap{Object: t.Object, ExternalIdField: t.ExternalID}
	if t.ExternalID != "" {
		m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: "id", Target: t.ExternalID})
	}
	for _, f := range fields[t.Object] {
		m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: f[0], Target: f[1]})
	}
	res, err := t.client.FieldMaps.SaveFieldMap(ctx, &mapperv1.SaveFieldMapRequest{FieldMap: m})
	if err != nil {
		return fmt.Errorf("save the field map: %w", err)
	}
	matched := "matched by e-mail"
	if t.ExternalID != "" {
		matched = "matched by " + t.ExternalID
	}
	saved := res.GetFieldMap()
	t.out.step("Field map", fmt.Sprintf("%s, version %d, %d pairs, %s", saved.GetObject(), saved.GetVersion(), len(saved.GetPairs()), matched), 0)
	return nil
}

// planned is how many changes of the plan are shown.
const planned = 2

func (t *tour) showPlan(ctx context.Context) error {
	began := time.Now()
	run, err := t.startRun(ctx, syncv1.RunTrigger_RUN_TRIGGER_MANUAL, true)
	if err != nil {
		return err
	}
	progress := t.out.progress()
	t.plan, err = t.client.Follow(ctx, run.GetId(), progress.Stage)
	progress.Clear()
	if err != nil {
		return fmt.Errorf("follow the plan: %w", err)
	}
	if t.plan.GetPlan() == nil {
		return ended(t.plan)
	}
	p, err := t.client.Planned(ctx, t.plan, planned)
	if err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	t.out.step("Plan", "what a run would do", time.Since(began))
	t.out.say("\n" + view.Plan(t.out.style, p) + "Nothing was written.\n\n")
	return nil
}

func (t *tour) startRun(ctx context.Context, trigger syncv1.RunTrigger, planOnly bool) (*syncv1.Run, error) {
	res, err := t.client.Runs.StartRun(ctx, &syncv1.StartRunRequest{Trigger: trigger, PlanOnly: planOnly})
	if err != nil {
		return nil, fmt.Errorf("start a run: %w", err)
	}
	return res.GetRun(), nil
}

func (t *tour) firstRun(ctx context.Context) error {
	run, err := t.startRun(ctx, syncv1.RunTrigger_RUN_TRIGGER_MANUAL, false)
	if err != nil {
		return err
	}
	t.out.step("First run", "applies the plan and reads back what it wrote", 0)
	return t.follow(ctx, run, "FIRST RUN")
}

// follow watches a run to its end and keeps it for the summary.
func (t *tour) follow(ctx context.Context, run *syncv1.Run, title string) error {
	progress := t.out.progress()
	run, err := t.client.Follow(ctx, run.GetId(), progress.Run)
	progress.Clear()
	if err != nil {
		return fmt.Errorf("follow the run: %w", err)
	}
	t.runs = append(t.runs, view.Result{Run: run, Title: title})
	if t.JSON {
		if _, err := t.Stdout.Write(line(run)); err != nil {
			return err
		}
	}
	t.out.say("\n")
	return ended(run)
}

// ended returns an error for a run that did not come to its end. People who could not be brought in step are looked at
// in the summary.
func ended(run *syncv1.Run) error {
	if run.GetState() == syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES {
		return nil
	}
	return client.Verdict(run)
}

// ahead is how far in the future the schedule is set: a schedule knows whole seconds, and needs one to be noticed.
const ahead = 2 * time.Second

// nightlyRun sets the schedule to a moment from now and lets the scheduler start the run.
func (t *tour) nightlyRun(ctx context.Context) error {
	at := time.Now().UTC().Truncate(time.Second).Add(ahead)
	res, err := t.client.Schedules.SetSchedule(ctx, &schedulerv1.SetScheduleRequest{Enabled: true, Time: at.Format(time.TimeOnly), Zone: "UTC"})
	if err != nil {
		return fmt.Errorf("set the schedule: %w", err)
	}
	last := res.GetSchedule().GetLastRunId()
	if next := res.GetSchedule().GetNextAt().AsTime(); next.After(at.Add(time.Minute)) {
		// A demo that uses a data directory again on the same day: its scheduled run of the day has been.
		run, err := t.startRun(ctx, syncv1.RunTrigger_RUN_TRIGGER_API, false)
		if err != nil {
			return err
		}
		t.out.step("Second run", "started by the demo: the schedule's run of "+res.GetSchedule().GetLastSlot()+" has been already", 0)
		return t.follow(ctx, run, "SECOND RUN")
	}
	t.out.step("Nightly run", "due at "+at.Format(time.TimeOnly)+" UTC; the scheduler starts it by itself", 0)
	run, err := t.scheduled(ctx, at, last)
	if err != nil {
		return err
	}
	return t.follow(ctx, run, "NIGHTLY RUN")
}

// scheduled waits for the run that the scheduler starts.
func (t *tour) scheduled(ctx context.Context, at time.Time, last string) (*syncv1.Run, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := t.client.Schedules.GetSchedule(ctx, &schedulerv1.GetScheduleRequest{})
		if err != nil {
			return nil, fmt.Errorf("look at the schedule: %w", err)
		}
		s := res.GetSchedule()
		if id := s.GetLastRunId(); id != last {
			run, err := t.client.Runs.GetRun(ctx, &syncv1.GetRunRequest{RunId: id})
			return run.GetRun(), err
		}
		if time.Since(at) > waits {
			why := ""
			if s.GetReason() != "" {
				why = ": " + strings.TrimSuffix(s.GetReason(), ".")
			}
			return nil, fmt.Errorf("the scheduler has not started the run that was due at %s UTC%s", at.Format(time.TimeOnly), why)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
