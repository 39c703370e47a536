// Package demo owns the tour through the whole: services, a simulated org, people, a plan, a run, and the run that the
// schedule starts. Nothing in it is made up for show: it uses the public API as the command line does, and what it says
// in the end is compared with what the simulated org holds.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/node"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/simulator"
)

// Options are what the demo can be told.
type Options struct {
	// People is how many sample people there are.
	People int
	// PeopleFile is a file to import in place of sample people.
	PeopleFile string
	// Changed is the share of the people, 0 to 1, who have new values before the second run.
	Changed float64
	// Object is Contact or Lead.
	Object string
	// ExternalID is the custom field that identifies a person; empty to match by e-mail.
	ExternalID string
	// Seed chooses the people, and the ids in the simulated org.
	Seed int64
	// Data is the directory for everything that is kept; empty for a temporary one, which is removed in the end.
	Data string
	// Serve keeps everything running in the end, until the context ends.
	Serve bool
	// JSON writes one JSON object for each run to Stdout, and nothing else.
	JSON bool

	Stdout, Stderr io.Writer
	// Style of Stdout; Live says that it is a terminal.
	Style view.Style
	Live  bool
}

// DefaultOptions returns what `catalogsync demo` does without flags.
func DefaultOptions() Options {
	return Options{People: 5000, Changed: 0.01, Object: "Contact", ExternalID: "CatalogUserId__c", Seed: 1}
}

const mostPeople = 5_000_000

var customField = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,39}__c$`)

// Validate reports the first flag that cannot be used.
func (o Options) Validate() error {
	switch {
	case o.People < 1 || o.People > mostPeople:
		return exit.Misuse("--people is %d; give a number from 1 to %s", o.People, view.Count(mostPeople))
	case !(o.Changed >= 0 && o.Changed <= 1):
		return exit.Misuse("--changed is %v; give a share from 0 to 1, such as 0.01 for one in a hundred", o.Changed)
	case o.Object != "Contact" && o.Object != "Lead":
		return exit.Misuse("--object is %q; give Contact or Lead", o.Object)
	case o.ExternalID != "" && !customField.MatchString(o.ExternalID):
		return exit.Misuse("--external-id is %q; give the API name of a custom field, such as CatalogUserId__c, or nothing to match by e-mail", o.ExternalID)
	}
	if o.PeopleFile == "" {
		return nil
	}
	f, err := os.Open(o.PeopleFile)
	if err != nil {
		return exit.Misuse("--people-file: %v", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return exit.Misuse("--people-file: %s is no file; give a CSV or NDJSON file", o.PeopleFile)
	}
	return nil
}

// tour is a demo at work.
type tour struct {
	Options
	out    screen
	dir    string
	node   *node.Node
	org    *simulator.Server
	client *client.Client
	token  string

	before  org         // what the org held before the first run
	refused int64       // lines of files that were not taken
	changed int64       // people with new values before the second run
	plan    *syncv1.Run // that only planned
	runs    []view.Result
}

// org is what the simulated org has counted.
type org struct{ records, effects int64 }

// Run gives the tour. The error says what did not work, or, with a code of its own, that not everybody could be brought
// in step.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.Validate(); err != nil {
		return err
	}
	t := &tour{Options: o, out: newScreen(o)}
	temporary := o.Data == ""
	if t.dir, err = directory(o.Data); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, t.close())
		switch {
		case !temporary:
		case err == nil || ctx.Err() != nil || !isOurs(err):
			err = errors.Join(err, os.RemoveAll(t.dir))
		default:
			fmt.Fprintf(o.Stderr, "The data was kept for a look: %s; catalogsync.log in it says more.\n", t.dir)
		}
		err = single(err)
	}()
	t.out.head(fmt.Sprintf("%s become %ss in a simulated Salesforce org.", t.crowd(), o.Object))
	for _, step := range []func(context.Context) error{
		t.start, t.importPeople, t.link, t.saveMap, t.showPlan, t.firstRun, t.change, t.nightlyRun,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	verdict := t.sumUp(ctx)
	if o.Serve {
		t.reach()
		select {
		case <-ctx.Done():
		case <-t.stopped():
		}
	}
	return verdict
}

func (t *tour) crowd() string {
	if t.PeopleFile != "" {
		return "The people in " + filepath.Base(t.PeopleFile)
	}
	return view.Plural(int64(t.People), "person", "people") + " of a Catalog"
}

// directory makes the data directory.
func directory(name string) (string, error) {
	if name == "" {
		dir, err := os.MkdirTemp("", "catalogsync-demo-")
		if err != nil {
			return "", fmt.Errorf("a temporary directory cannot be made: %w; name one with --data", err)
		}
		return dir, nil
	}
	dir, err := filepath.Abs(name)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", exit.Misuse("--data: %v", err)
	}
	return dir, nil
}

func (t *tour) file(name string) string { return filepath.Join(t.dir, name) }

// stopped is closed when the services have stopped by themselves.
func (t *tour) stopped() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		_ = t.node.Wait() // close reports it
		close(done)
	}()
	return done
}

// close stops everything that was started.
func (t *tour) close() error {
	var problems []error
	if t.client != nil {
		problems = append(problems, t.client.Close())
	}
	if t.node != nil {
		problems = append(problems, t.node.Close())
	}
	if t.org != nil {
		problems = append(problems, t.org.Close())
	}
	return errors.Join(problems...)
}

// isOurs reports whether an error is about us, and not about what we were given.
func isOurs(err error) bool {
	if e, ok := errors.AsType[*exit.Error](err); ok {
		return e.Code != exit.Partly && e.Code != exit.Usage
	}
	return errs.KindOf(err) != errs.Invalid
}

// single returns the error inside a join of one, which keeps its text in one line.
func single(err error) error {
	for {
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) != 1 {
			return err
		}
		err = joined.Unwrap()[0]
	}
}

// waits bounds what the demo waits for besides runs.
const waits = 30 * time.Second
