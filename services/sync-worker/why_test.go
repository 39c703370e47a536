package syncworker_test

import (
	"testing"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// What why says of the next run is what the next run does, also of people who are in each other's way.
func TestWhySeesWhoIsInTheWay(t *testing.T) {
	t.Parallel()
	for name, external := range map[string]string{"by e-mail": "", "by external id": externalID} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			p.use("Contact", external)
			p.record("Contact", "LastName", "Team", "Email", "team@example.com")
			p.catalog(someone("ada", "email", "Team@example.com"), someone("bob", "email", "team@example.com"), someone("cyd", "email", "team@example.com.au"), someone("dan"))
			told := make(map[string]string)
			for _, id := range []string{"ada", "bob", "cyd", "dan"} {
				res, err := p.why.Why(p.ctx(), &syncv1.WhyRequest{Person: id})
				if err != nil {
					t.Fatal(err)
				}
				next := res.GetPeople()[0].GetNext()
				if next.GetChange() != nil {
					told[id] = "created"
				} else {
					told[id] = ended(next.GetOutcome())
				}
			}
			_, all := p.write()
			p.expect(all, told)
			if c := all["ada"].GetCode(); c != "duplicate_match_key" && c != "claimed_by_several" {
				t.Errorf("ada ended %v", all["ada"])
			}
		})
	}
}
