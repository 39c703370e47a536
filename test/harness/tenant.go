package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
)

// Tenant is an admin of one tenant, at the gateway.
type Tenant struct {
	Name        string
	Connections authv1.ConnectionServiceClient
	People      directoryv1.DirectoryServiceClient
	Maps        mapperv1.FieldMapServiceClient
	Runs        syncv1.RunServiceClient
	Objects     syncv1.ObjectServiceClient
	Schedules   schedulerv1.ScheduleServiceClient
	Status      gatewayv1.StatusServiceClient
	Tokens      gatewayv1.ApiTokenServiceClient

	token string
}

// Bearer returns ctx with a token for the gateway.
func Bearer(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// Tenant makes an owner's token of a tenant and returns its clients.
func (s *System) Tenant(t testing.TB, name string) *Tenant {
	t.Helper()
	x := s.clients(name)
	res, err := x.Tokens.CreateApiToken(Bearer(t.Context(), s.Operator), &gatewayv1.CreateApiTokenRequest{
		Name: "test", Role: optionsv1.Role_ROLE_OWNER, Tenant: name,
	})
	if err != nil {
		t.Fatalf("make a token: %v", err)
	}
	x.token = res.GetSecret()
	return x
}

func (s *System) clients(name string) *Tenant {
	var c grpc.ClientConnInterface = s.conn
	return &Tenant{
		Name: name, Connections: authv1.NewConnectionServiceClient(c), People: directoryv1.NewDirectoryServiceClient(c),
		Maps: mapperv1.NewFieldMapServiceClient(c), Runs: syncv1.NewRunServiceClient(c), Objects: syncv1.NewObjectServiceClient(c),
		Schedules: schedulerv1.NewScheduleServiceClient(c), Status: gatewayv1.NewStatusServiceClient(c), Tokens: gatewayv1.NewApiTokenServiceClient(c),
	}
}

// Token is the tenant's admin token.
func (x *Tenant) Token() string { return x.token }

// Context is ctx with the tenant's token.
func (x *Tenant) Context(ctx context.Context) context.Context { return Bearer(ctx, x.token) }

// Import loads a CSV file and returns the summary and the lines at fault.
func (x *Tenant) Import(t testing.TB, csv []byte, mode directoryv1.ImportMode) (*directoryv1.ImportSummary, []*directoryv1.LineError) {
	t.Helper()
	sum, faults, err := x.TryImport(t, "people.csv", csv, mode)
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	return sum, faults
}

// TryImport loads a file of any kind, which may be refused.
func (x *Tenant) TryImport(t testing.TB, name string, file []byte, mode directoryv1.ImportMode) (*directoryv1.ImportSummary, []*directoryv1.LineError, error) {
	t.Helper()
	stream, err := x.People.ImportPeople(x.Context(t.Context()))
	if err != nil {
		return nil, nil, err
	}
	send := func(m *directoryv1.ImportPeopleRequest) bool { return stream.Send(m) == nil }
	send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Header{Header: &directoryv1.ImportHeader{FileName: name, Mode: mode}}})
	go func() {
		for chunk := range bytesChunks(file, 128<<10) {
			if !send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Chunk{Chunk: chunk}}) {
				return // Recv says why
			}
		}
		_ = stream.CloseSend()
	}()
	var faults []*directoryv1.LineError
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			t.Fatal("the import ended without a summary")
		}
		if err != nil {
			return nil, faults, err
		}
		if e := m.GetLineError(); e != nil {
			faults = append(faults, e)
		}
		if sum := m.GetSummary(); sum != nil {
			return sum, faults, nil
		}
	}
}

func bytesChunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for r := bytes.NewBuffer(b); r.Len() > 0; {
			if !yield(r.Next(n)) {
				return
			}
		}
	}
}

// Link links the tenant to an org by client credentials.
func (x *Tenant) Link(t testing.TB, org *simulator.Server) *authv1.Connection {
	t.Helper()
	res, err := x.Connections.LinkConnection(x.Context(t.Context()), &authv1.LinkConnectionRequest{
		Host: org.URL, Credentials: &authv1.LinkConnectionRequest_ClientCredentials{ClientCredentials: &authv1.ClientCredentials{
			ClientId: org.ClientID(), ClientSecret: org.ClientSecret(),
		}},
	})
	if err != nil {
		t.Fatalf("link: %v", err)
	}
	return res.GetConnection()
}

// unguarded lets every run go on: tests change whole files at once, and are about something else.
func unguarded() *mapperv1.Guards {
	none := &mapperv1.Brake{Share: -1}
	return &mapperv1.Guards{Creates: none, Clears: none, Deactivations: none, AllowEmptySource: true, LeastPeople: 0.001}
}

// SaveMap saves the field map that the tests use for an object, without guards; externalID may be empty.
func (x *Tenant) SaveMap(t testing.TB, object, externalID string) *mapperv1.FieldMap {
	t.Helper()
	return x.SaveGuardedMap(t, object, externalID, unguarded())
}

// SaveGuardedMap is SaveMap with guards.
func (x *Tenant) SaveGuardedMap(t testing.TB, object, externalID string, guards *mapperv1.Guards) *mapperv1.FieldMap {
	t.Helper()
	fm := &mapperv1.FieldMap{Object: object, ExternalIdField: externalID, Guards: guards}
	for _, p := range Pairs(object) {
		fm.Pairs = append(fm.Pairs, &mapperv1.Pair{Source: p[0], Target: p[1]})
	}
	res, err := x.Maps.SaveFieldMap(x.Context(t.Context()), &mapperv1.SaveFieldMapRequest{FieldMap: fm})
	if err != nil {
		t.Fatalf("save the field map: %v", err)
	}
	return res.GetFieldMap()
}

// Pairs are source and target of the tests' field map of an object.
func Pairs(object string) [][2]string {
	pairs := [][2]string{
		{"first_name", "FirstName"},
		{"last_name", "LastName"},
		{"email", "Email"},
		{"phone", "Phone"},
		{"mobile_phone", "MobilePhone"},
		{"title", "Title"},
	}
	if object == "Lead" {
		return append(pairs, [2]string{"organization", "Company"}, [2]string{"city", "City"}, [2]string{"postal_code", "PostalCode"})
	}
	return append(pairs, [2]string{"department", "Department"}, [2]string{"city", "MailingCity"}, [2]string{"postal_code", "MailingPostalCode"})
}

// Start starts a run.
func (x *Tenant) Start(t testing.TB, req *syncv1.StartRunRequest) *syncv1.Run {
	t.Helper()
	var run *syncv1.Run
	testkit.Eventually(t, 60*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		res, err := x.Runs.StartRun(x.Context(ctx), req)
		if errs.KindOf(err) == errs.Unavailable {
			return err
		}
		if err != nil {
			t.Fatalf("start a run: %v", err)
		}
		run = res.GetRun()
		return nil
	})
	return run
}

// Wait waits for the run's end. Parts of the system may be down meanwhile.
func (x *Tenant) Wait(t testing.TB, id string, most time.Duration) *syncv1.Run {
	t.Helper()
	var run *syncv1.Run
	testkit.Eventually(t, most, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		res, err := x.Runs.GetRun(x.Context(ctx), &syncv1.GetRunRequest{RunId: id})
		if err != nil {
			return err
		}
		if run = res.GetRun(); !Final(run.GetState()) {
			return fmt.Errorf("run %s is %s at %s (%s), %d of %d tasks, counts %v", id, run.GetState(), run.GetStage(), run.GetReason(), run.GetTasksDone(), run.GetTasksTotal(), run.GetCounts())
		}
		return nil
	})
	return run
}

// Run starts a write run and waits for its end.
func (x *Tenant) Run(t testing.TB) *syncv1.Run {
	t.Helper()
	return x.Wait(t, x.Start(t, &syncv1.StartRunRequest{}).GetId(), 10*time.Minute)
}

// Final reports whether a run has ended.
func Final(s syncv1.RunState) bool { return s >= syncv1.RunState_RUN_STATE_SUCCEEDED }

// Outcomes returns all outcomes of a run, by person.
func (x *Tenant) Outcomes(t testing.TB, id string) map[string]*syncv1.Outcome {
	t.Helper()
	all := make(map[string]*syncv1.Outcome)
	for token := ""; ; {
		res, err := x.Runs.ListOutcomes(x.Context(t.Context()), &syncv1.ListOutcomesRequest{RunId: id, PageSize: 5000, PageToken: token})
		if err != nil {
			t.Fatalf("list outcomes: %v", err)
		}
		for _, o := range res.GetOutcomes() {
			if all[o.GetPersonId()] != nil {
				t.Errorf("person %s has two outcomes in run %s", o.GetPersonId(), id)
			}
			all[o.GetPersonId()] = o
		}
		if token = res.GetNextPageToken(); token == "" {
			return all
		}
	}
}
