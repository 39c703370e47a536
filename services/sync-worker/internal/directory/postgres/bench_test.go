package postgres_test

import (
	"fmt"
	"testing"
	"time"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// BenchmarkProjectOutcomes projects 100,000 outcomes of a first run into an empty table, whose statistics know nothing
// of what is coming.
func BenchmarkProjectOutcomes(b *testing.B) {
	const people, batch = 100_000, 5000
	d := open(b, testkit.Postgres(b))
	for i := 0; b.Loop(); i++ {
		for at := 0; at < people; at += batch {
			outcomes := make([]*syncv1.Outcome, batch)
			for n := range outcomes {
				outcomes[n] = &syncv1.Outcome{
					PersonId: fmt.Sprint("P", at+n), Kind: syncv1.OutcomeKind_OUTCOME_KIND_CREATED, RecordId: fmt.Sprintf("003%015d", at+n),
				}
			}
			if err := d.ProjectOutcomes(b.Context(), "acme", fmt.Sprint("connection-", i), "run1", time.Now(), outcomes); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(people)*float64(b.N)/b.Elapsed().Seconds(), "people/s")
}
