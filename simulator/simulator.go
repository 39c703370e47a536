// Package simulator is a Salesforce org in memory, for rehearsal and tests.
//
// It answers the REST API, Bulk API 2.0 and the OAuth endpoints as a real org does, down to codes, texts and quoting,
// keeps a ledger of every effect that it applied, and can be told to misbehave. It shares no code with any client.
//
// In a test:
//
//	org, err := simulator.Start(simulator.Options{ExternalIDFields: []string{"Contact.CatalogUserId__c"}})
//	if err != nil { t.Fatal(err) }
//	defer org.Close()
//	// log in at org.URL with org.ClientID() and org.ClientSecret() (client credentials), use the API, then:
//	for _, e := range org.Effects() { ... }
//
// Start listens on loopback; New only gives handlers, for an httptest.Server or a listener of your own.
package simulator

import (
	"log/slog"
	"time"

	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/simulator/ledger"
)

// Options shape an org. The zero value makes a demo org.
type Options struct {
	Listen        string // address of Start, default "127.0.0.1:0"
	ControlListen string // address of the control API under Start; empty: none. ControlHandler works without it

	ClientID      string   // consumer key of the registered app, default "simulator-client"
	ClientSecret  string   // consumer secret, default "simulator-secret"
	Username      string   // the user that logs in and that client credentials run as, default "admin@simulator.example"
	Password      string   // default "simulator-password"
	SecurityToken string   // appended to the password in the username-password flow, default ""
	RedirectURIs  []string // callbacks of the app; default: any on loopback
	JWTCerts      [][]byte // PEM certificates for the JWT bearer flow
	Rotation      bool     // refresh tokens rotate

	ExternalIDFields []string       // custom Text(255) fields, External ID and unique: "Contact.CatalogUserId__c"
	APIVersion       string         // newest version served, default "67.0"; all from 31.0 up to it are
	DailyLimit       int            // API requests per 24 hours, default 100000
	BulkRate         int            // rows a second that Bulk ingest processes; 0: unlimited
	LockContention   bool           // rows whose parent another Bulk batch is saving children of are refused with UNABLE_TO_LOCK_ROW
	BulkQueryRate    int            // rows a second that Bulk queries find; 0: unlimited
	Latency          time.Duration  // added to every answer
	SessionTimeout   time.Duration  // idle life of an access token, default 2 h
	SeedRecords      map[string]int // generated records by object: {"Contact": 5000}
	SampleCases      bool           // records that clients trip over: equal e-mails, a converted lead, a merged contact, an account of 500
	Seed             uint64         // source of ids, generated records, shuffles and fault draws; 0 means 1
	OrderedResults   bool           // Bulk result rows in input order; by default they come shuffled, as from Salesforce

	RecordTypes           []string // "Contact.Teacher": record types by object and developer name
	StateCountryPicklists bool     // addresses have codes of state and country, which are picked from a list

	StateFile  string // snapshot read by New if it exists and written by Close
	FaultsFile string // JSON array of fault rules put in force by New

	Log *slog.Logger // default: silent
}

// Effect is one applied change of one record.
type Effect = ledger.Effect

// Record is a record as the org holds it.
type Record struct {
	ID      string            `json:"id"` // 18 characters
	Deleted bool              `json:"deleted,omitempty"`
	Fields  map[string]string `json:"fields"` // every non-null field, audit fields included, in the text form of Bulk query results
}

// Counters count what was asked of the org since it started.
type Counters struct {
	Requests int64            `json:"requests"` // every HTTP request, OAuth included, the control API not
	APICalls int64            `json:"apiCalls"` // those that count against the daily limit
	Routes   map[string]int64 `json:"routes"`   // by method and route: "POST /composite/sobjects", "PUT /jobs/ingest/{id}/batches"
	Effects  int64            `json:"effects"`  // entries of the ledger

	Tokens    int64 `json:"tokens"`    // access tokens that the token endpoint gave
	Rotations int64 `json:"rotations"` // refresh tokens that it replaced
	Reuses    int64 `json:"reuses"`    // refresh tokens that came again after that, while their grant was alive
}

// Faults is the plan of faults in force; see package fault.
type Faults = fault.Plan
