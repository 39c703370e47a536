// Package bulk owns Bulk API 2.0: ingest and query jobs, their states over time, and their result files.
package bulk

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/simulator/internal/query"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// The states of a job.
const (
	open           = "Open"
	uploadComplete = "UploadComplete"
	inProgress     = "InProgress"
	jobComplete    = "JobComplete"
	failed         = "Failed"
	aborted        = "Aborted"
)

const (
	chunkRows  = 10_000    // an internal batch of a job
	batchRows  = 200       // saved in one transaction
	maxUpload  = 100 << 20 // bytes of CSV
	retention  = 7 * 24 * time.Hour
	pageRows   = 50_000 // of a result file when the client does not say
	listPage   = 1000
	maxHeader  = 32_000
	dailyQuery = 10_000
)

// Config shapes the processing of jobs.
type Config struct {
	Rate      int    // rows a second over all ingest jobs; 0: unlimited
	QueryRate int    // rows a second of a query job; 0: unlimited
	Seed      uint64 // of the shuffles
	Ordered   bool   // result rows in input order
	// Contention locks the parents of the rows that are being saved.
	Contention bool
}

// Jobs is all Bulk jobs of the org. Its methods may be called at the same time.
type Jobs struct {
	db     *store.DB
	pipe   *save.Pipeline
	faults *fault.Plan
	cfg    Config

	mu      sync.Mutex
	jobs    map[string]*job
	order   []string
	queries int
	free    time.Time // when the next row may be processed at cfg.Rate
	closing chan struct{}
	running sync.WaitGroup
}

// New makes an empty set of jobs.
func New(db *store.DB, p *save.Pipeline, f *fault.Plan, cfg Config) *Jobs {
	return &Jobs{db: db, pipe: p, faults: f, cfg: cfg, jobs: map[string]*job{}, closing: make(chan struct{})}
}

// Close stops processing and waits for it.
func (js *Jobs) Close() {
	js.mu.Lock()
	select {
	case <-js.closing:
	default:
		close(js.closing)
	}
	js.mu.Unlock()
	js.running.Wait()
}

// job is an ingest or query job.
type job struct {
	// fixed at creation
	id, operation, version, base string
	object                       *schema.Object
	table                        *store.Table
	key                          *schema.Field
	keyName                      string
	assignment                   string
	delimName                    string
	delim                        byte
	crlf                         bool
	query                        bool
	caller                       save.Caller
	created                      time.Time
	plan                         *query.Plan
	ended                        chan struct{} // closed when the job is aborted

	mu        sync.Mutex // guards what follows
	state     string
	changed   time.Time
	data      []byte
	header    []byte // the header line as sent, without its line break
	rows      []uint32
	uploaded  bool
	started   time.Time
	took      time.Duration
	active    time.Duration
	message   string
	processed int // rows looked at, failed ones included
	done      int // rows that were processed when the job ended; the rest is unprocessed
	good      []success
	bad       []failure
	columns   []column
	found     []uint32    // query: serials
	snapshot  []store.Row // query: the rows as they were
	rest      []uint32    // unprocessed rows
}

type success struct {
	row, serial uint32
	created     bool
}

type failure struct {
	row  uint32
	id   string
	text string
}

// column is a column of an upload that matched a field.
type column struct {
	name   string
	target save.Column
	isID   bool
	isKey  bool
}

func (j *job) eol() string {
	if j.crlf {
		return "\r\n"
	}
	return "\n"
}

var delimiters = map[string]byte{"COMMA": ',', "BACKQUOTE": '`', "CARET": '^', "PIPE": '|', "SEMICOLON": ';', "TAB": '\t'}

func (j *job) set(state string, now time.Time) {
	j.state, j.changed = state, now
}

func (js *Jobs) add(j *job) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.jobs[j.id] = j
	js.order = append(js.order, j.id)
}

// find is the job of an id, unless it is too old; query says of which kind.
func (js *Jobs) find(id string, query bool) *job {
	canonical, ok := store.ValidID(id)
	if !ok {
		return nil
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	j := js.jobs[canonical]
	if j == nil || j.query != query || js.db.Now().Sub(j.created) > retention {
		return nil
	}
	return j
}

func (js *Jobs) remove(id string) {
	js.mu.Lock()
	defer js.mu.Unlock()
	delete(js.jobs, id)
}

// start processes a job in the background.
func (js *Jobs) start(run func()) {
	js.mu.Lock()
	defer js.mu.Unlock()
	select {
	case <-js.closing:
		return
	default:
	}
	js.running.Add(1)
	go func() {
		defer js.running.Done()
		run()
	}()
}

// pace waits until n more rows of a job may be processed at the org's rate; it gives false when the job or the org ends.
func (js *Jobs) pace(j *job, n int) bool {
	if js.cfg.Rate <= 0 {
		select {
		case <-js.closing:
			return false
		default:
			return true
		}
	}
	js.mu.Lock()
	now := time.Now()
	if js.free.Before(now) {
		js.free = now
	}
	js.free = js.free.Add(time.Duration(n) * time.Second / time.Duration(js.cfg.Rate))
	wait := js.free.Sub(now)
	js.mu.Unlock()
	return js.wait(j, wait)
}

// wait gives false when the job or the org ends before the time is over.
func (js *Jobs) wait(j *job, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-js.closing:
		return false
	case <-j.ended:
		return false
	case <-timer.C:
		return true
	}
}

func (js *Jobs) shuffle(j *job, n int, swap func(i, k int)) {
	if js.cfg.Ordered {
		return
	}
	var h uint64
	for i := range len(j.id) {
		h = h*131 + uint64(j.id[i])
	}
	rand.New(rand.NewPCG(js.cfg.Seed, h)).Shuffle(n, swap)
}
