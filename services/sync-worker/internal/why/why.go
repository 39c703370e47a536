// Package why owns the answer to "why is this person (not) in Salesforce?": who the person is, what each run did, what
// Salesforce answered, and what the next run would do.
//
// What the next run would do is not guessed: a run that only plans is made for this one person. It takes the same way
// as every run, so that its decisions are those of the next one. It is listed nowhere and forgotten afterwards.
package why

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Service is the WhyService.
type Service struct {
	syncv1.UnimplementedWhyServiceServer
	Ledger      *ledger.Ledger
	Directory   directory.Directory
	Connections authv1.ConnectionServiceClient
	FieldMaps   mapperv1.FieldMapServiceClient
	// Runs reads what the run for one person planned.
	Runs syncv1.RunServiceServer
	// Forget takes a run for one person away.
	Forget func(ctx context.Context, run ledger.Run) error
	// Client returns a client of a connection's org; the grant lets it have the access token.
	Client func(connectionID, grant string) (*salesforce.Client, error)
	Log    *slog.Logger
	// Nudge makes the sweeper look at once.
	Nudge func()
}

const (
	// maxPeople is how many people of one e-mail are answered for.
	maxPeople = 5
	// maxHistory is how many outcomes of a person are told.
	maxHistory = 20
	// patience is how long the run for one person may take.
	patience = 20 * time.Second
	// lookEvery is how often it is looked at.
	lookEvery = 20 * time.Millisecond
)

// Why answers for everybody whom the request names.
func (s *Service) Why(ctx context.Context, req *syncv1.WhyRequest) (*syncv1.WhyResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(req.GetPerson())
	if name == "" {
		return nil, errs.New(errs.Invalid, "no_person_named", "Name the person: an id of the Catalog, an e-mail, or the id of a record in Salesforce.")
	}
	res, err := s.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{ConnectionId: req.GetConnectionId()})
	if err != nil {
		return nil, err
	}
	conn := res.GetConnection()
	people, err := s.find(ctx, tenant, conn.GetId(), name)
	if err != nil {
		return nil, err
	}
	answer := &syncv1.WhyResponse{}
	for _, p := range people {
		one, err := s.person(ctx, tenant, conn, p, req)
		if err != nil {
			return nil, err
		}
		answer.People = append(answer.People, one)
	}
	return answer, nil
}

// find looks for people by id, by e-mail, and by the record that was theirs last.
func (s *Service) find(ctx context.Context, tenant, connection, name string) ([]directory.Person, error) {
	if p, _, err := s.Directory.Get(ctx, tenant, name); err == nil {
		return []directory.Person{p}, nil
	} else if errs.KindOf(err) != errs.NotFound {
		return nil, err
	}
	if strings.Contains(name, "@") {
		page, _, err := s.Directory.List(ctx, tenant, directory.ListOptions{Prefix: name, IncludeGone: true})
		if err != nil {
			return nil, err
		}
		var same []directory.Person
		for _, p := range page {
			if mail, _ := p.Value(directory.Email); strings.EqualFold(strings.TrimSpace(mail), name) && len(same) < maxPeople {
				same = append(same, p)
			}
		}
		if len(same) > 0 {
			return same, nil
		}
	} else if record, err := salesforce.ID18(name); err == nil {
		person, err := s.Directory.PersonOfRecord(ctx, tenant, connection, record)
		if err != nil {
			return nil, err
		}
		if person != "" {
			p, _, err := s.Directory.Get(ctx, tenant, person)
			return []directory.Person{p}, err
		}
	}
	return nil, errs.New(errs.NotFound, "no_person",
		"Nobody in the Catalog has the id, the e-mail or the Salesforce record %q. Ids are compared with their letter case; list the people to see who is there.", name)
}

func (s *Service) person(ctx context.Context, tenant string, conn *authv1.Connection, p directory.Person, req *syncv1.WhyRequest) (*syncv1.PersonAnswer, error) {
	a := &syncv1.PersonAnswer{PersonId: p.ID, InCatalog: !p.Gone, Person: fields(p)}
	history, err := s.Directory.History(ctx, tenant, conn.GetId(), p.ID, maxHistory)
	if err != nil {
		return nil, err
	}
	for _, h := range history {
		a.History = append(a.History, &syncv1.PersonOutcome{RunId: h.Run, At: timestamppb.New(h.EndedAt), Outcome: h.Outcome})
	}
	record, err := s.Directory.KnownRecords(ctx, tenant, conn.GetId(), []string{p.ID})
	if err != nil {
		return nil, err
	}
	recordID := record[p.ID]
	switch {
	case req.GetOffline():
	case conn.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED:
		a.NextProblem = fmt.Sprintf("The connection %q is %s, so no run can begin.", conn.GetName(), word(conn.GetState()))
	case p.Gone:
		a.NextProblem = "The person is gone from the Catalog. Runs count the record as a leaver's and change it only where the field map flags leavers."
	default:
		a.Next, a.NextProblem = s.forecast(ctx, tenant, conn, p.ID)
	}
	if id := a.GetNext().GetChange().GetRecordId(); id != "" {
		recordID = id
	} else if id := a.GetNext().GetOutcome().GetRecordId(); id != "" {
		recordID = id
	}
	if recordID != "" {
		a.RecordUrl = conn.GetInstanceUrl() + "/" + recordID
		if !req.GetOffline() && conn.GetState() == authv1.ConnectionState_CONNECTION_STATE_LINKED {
			a.Record = s.record(ctx, conn.GetId(), recordID, req.GetGrant())
		}
	}
	a.Summary = summary(a, recordID)
	return a, nil
}

// fields are what is known of a person, by Catalog field.
func fields(p directory.Person) map[string]string {
	out := map[string]string{"id": p.ID}
	for f := range directory.Field(directory.NumFields) {
		if v, presence := p.Value(f); presence == directory.Present && v != "" {
			out[f.String()] = v
		}
	}
	for _, attr := range p.Attributes {
		if !attr.Null && attr.Value != "" {
			out["attributes."+attr.Name] = attr.Value
		}
	}
	return out
}

// forecast makes a run that plans for the person alone, waits for it, and reads what it decided. What keeps it from an
// answer is told in words: the rest of the answer stands without it.
func (s *Service) forecast(ctx context.Context, tenant string, conn *authv1.Connection, person string) (*syncv1.PersonForecast, string) {
	fm, err := s.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: conn.GetId()})
	if errs.KindOf(err) == errs.NotFound {
		return nil, "No field map was saved yet, so no run can begin."
	}
	if err != nil {
		return nil, errs.Message(err)
	}
	m := fm.GetFieldMap()
	request := "why-" + uuid.NewString()
	run, _, err := s.Ledger.CreateRun(ctx, ledger.Run{
		ID: ledger.RunID(tenant, conn.GetId(), "write", request), Tenant: tenant, ConnectionID: conn.GetId(), Kind: "write", Trigger: "api",
		RequestID: request, PlanOnly: true, Person: person, State: ledger.RunRequested, OrgID: conn.GetOrgId(), Object: m.GetObject(),
		FieldMapVersion: m.GetVersion(), ExternalIDField: m.GetExternalIdField(), RequestedAt: time.Now().UTC(),
	})
	if err != nil {
		return nil, errs.Message(err)
	}
	defer func() {
		// Also when the caller has left: what was made for this answer alone must not stay.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if err := s.Forget(ctx, run); err != nil {
			s.Log.WarnContext(ctx, "run for one person not forgotten", slog.String("run", run.ID), slog.Any("err", err))
		}
	}()
	if run, err = s.wait(ctx, run); err != nil {
		return nil, errs.Message(err)
	}
	f, err := s.decided(ctx, run, person)
	switch {
	case err != nil:
		return nil, errs.Message(err)
	case f == nil && run.Reason != "":
		return nil, run.Reason
	case f == nil:
		return nil, "The person left the Catalog a moment ago; ask again."
	}
	return f, ""
}

// wait returns the run when it has ended, or an error that says why it has not.
func (s *Service) wait(ctx context.Context, run ledger.Run) (ledger.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.Nudge()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now, err := s.Ledger.Run(ctx, run.Tenant, run.ID)
		if err != nil {
			return run, err
		}
		if run = now; run.State.Final() {
			return run, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			reason := run.Reason
			if reason == "" {
				reason = fmt.Sprintf("It was in the %s stage.", run.Stage.Word())
			}
			return run, errs.New(errs.Unavailable, "too_slow", "What the next run would do could not be computed within %s. %s Ask again.", patience, reason)
		}
	}
}

// decided reads what the run decided about the person; nil where nothing.
func (s *Service) decided(ctx context.Context, run ledger.Run, person string) (*syncv1.PersonForecast, error) {
	changes, err := s.Runs.ListChanges(ctx, &syncv1.ListChangesRequest{RunId: run.ID})
	if err != nil {
		return nil, err
	}
	for _, c := range changes.GetChanges() {
		if c.GetPersonId() == person {
			return &syncv1.PersonForecast{Change: c, FieldMapVersion: run.FieldMapVersion}, nil
		}
	}
	outcomes, err := s.Runs.ListOutcomes(ctx, &syncv1.ListOutcomesRequest{RunId: run.ID})
	if err != nil {
		return nil, err
	}
	for _, o := range outcomes.GetOutcomes() {
		if o.GetPersonId() == person {
			return &syncv1.PersonForecast{Outcome: o, FieldMapVersion: run.FieldMapVersion}, nil
		}
	}
	return nil, nil //nolint:nilnil // nothing was decided, which the caller explains
}

// record reads the present values of the record's mapped fields. It is an extra: without them the answer stands.
func (s *Service) record(ctx context.Context, connection, record, grant string) map[string]string {
	fm, err := s.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: connection})
	if err != nil {
		return nil
	}
	org, err := s.Client(connection, grant)
	if err != nil {
		return nil
	}
	names := []string{"Id"}
	for _, p := range fm.GetFieldMap().GetPairs() {
		names = append(names, p.GetTarget())
	}
	columns := salesforce.Columns(names...)
	var values map[string]string
	err = org.RetrieveByIDs(ctx, fm.GetFieldMap().GetObject(), []string{record}, columns, func(_ string, r *salesforce.Record) error {
		if r == nil {
			return nil
		}
		values = make(map[string]string, len(names))
		for i, n := range names {
			if r.Values[i] != "" {
				values[n] = r.Values[i]
			}
		}
		return nil
	})
	if err != nil {
		s.Log.DebugContext(ctx, "record not read", slog.String("connection", connection), slog.Any("err", err))
	}
	return values
}
