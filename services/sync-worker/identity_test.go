package syncworker_test

import (
	"slices"
	"testing"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

func identity(id *mapperv1.Identity) func(*mapperv1.FieldMap) {
	return func(m *mapperv1.FieldMap) { m.Identity = id }
}

// Several records match one person: each policy takes its own, and the others stay as they are.
func TestSeveralMatches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		identity *mapperv1.Identity
		want     int // index of the record taken; -1: none
	}{
		"refuse":               {&mapperv1.Identity{}, -1},
		"oldest":               {&mapperv1.Identity{SeveralMatches: mapperv1.SeveralMatches_SEVERAL_MATCHES_OLDEST}, 0},
		"newest":               {&mapperv1.Identity{SeveralMatches: mapperv1.SeveralMatches_SEVERAL_MATCHES_NEWEST}, 2},
		"owner":                {&mapperv1.Identity{SeveralMatches: mapperv1.SeveralMatches_SEVERAL_MATCHES_OWNER, SeveralMatchesOwner: "owner"}, 1},
		"the connected user's": {&mapperv1.Identity{SeveralMatches: mapperv1.SeveralMatches_SEVERAL_MATCHES_OWNER}, -1}, // there are two
	} {
		for _, external := range []string{"", externalID} {
			t.Run(name+" "+external, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t)
				owner := ""
				for r := range p.org.Records("User") {
					if r.ID != p.org.UserID() && r.Fields["IsActive"] == "true" {
						owner = r.ID
					}
				}
				if owner == "" {
					owner = p.record("User", "Username", "o@acme.example", "LastName", "Owner", "Email", "o@acme.example", "Alias", "o", "TimeZoneSidKey", "Europe/Berlin",
						"LocaleSidKey", "de_DE", "EmailEncodingKey", "UTF-8", "LanguageLocaleKey", "en_US", "ProfileId", p.field(p.org.UserID(), "ProfileId"))
				}
				id := c.identity
				if id.GetSeveralMatchesOwner() != "" {
					id = &mapperv1.Identity{SeveralMatches: id.GetSeveralMatches(), SeveralMatchesOwner: owner}
				}
				p.use("Contact", external, identity(id))
				var ids []string
				for i := range 3 {
					fields := []string{"LastName", "Old", "Email", "ada@example.com"}
					if i == 1 {
						fields = append(fields, "OwnerId", owner)
					}
					ids = append(ids, p.record("Contact", fields...))
				}
				p.catalog(someone("ada"))
				run, all := p.write()
				o := all["ada"]
				if c.want < 0 {
					p.expect(all, map[string]string{"ada": "rejected several_matches"})
					if others := slices.Sorted(slices.Values(o.GetOtherRecordIds())); !slices.Equal(others, slices.Sorted(slices.Values(ids))) {
						t.Errorf("the records are not named: %v", others)
					}
					if run.GetPlan().GetRejectedByCode()["several_matches"] != 1 {
						t.Errorf("the plan counts %v", run.GetPlan().GetRejectedByCode())
					}
				} else {
					p.expect(all, map[string]string{"ada": "updated"})
				}
				for i, id := range ids {
					if got, taken := p.field(id, "LastName"), i == c.want; (got == "Last ada") != taken {
						t.Errorf("record %d is now %q", i, got)
					}
				}
				if p.alive("Contact") != 3 {
					t.Errorf("%d contacts", p.alive("Contact"))
				}
			})
		}
	}
}

// A record that was merged leads to its survivor; one that was deleted is made anew or left, by policy.
func TestLifeInSalesforce(t *testing.T) {
	t.Parallel()
	for _, external := range []string{"", externalID} {
		t.Run("merged "+external, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			p.use("Contact", external)
			p.catalog(someone("ada"), someone("bob"))
			_, all := p.write()
			survivor := p.record("Contact", "LastName", "Survivor", "Email", "other@example.com")
			if err := p.org.Merge(survivor, all["ada"].GetRecordId()); err != nil {
				t.Fatal(err)
			}
			run, all := p.write()
			p.expect(all, map[string]string{"ada": "updated", "bob": "unchanged"})
			if all["ada"].GetRecordId() != survivor || p.field(survivor, "LastName") != "Last ada" || p.alive("Contact") != 2 {
				t.Errorf("ada ended %v; %d contacts", all["ada"], p.alive("Contact"))
			}
			if c := p.changes(run)["ada"]; c.GetReason() != "survivor" || c.GetAction() != syncv1.Action_ACTION_UPDATE {
				t.Errorf("planned: %v", c)
			}
			_, all = p.write()
			p.expect(all, map[string]string{"ada": "unchanged", "bob": "unchanged"})
		})
		for name, c := range map[string]struct {
			policy mapperv1.Deleted
			want   string
			alive  int
		}{
			"create":  {mapperv1.Deleted_DELETED_CREATE, "created", 2},
			"default": {mapperv1.Deleted_DELETED_UNSPECIFIED, "created", 2},
			"leave":   {mapperv1.Deleted_DELETED_LEAVE, "skipped policy_deleted", 1},
		} {
			t.Run("deleted "+name+" "+external, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t)
				p.use("Contact", external, identity(&mapperv1.Identity{Deleted: c.policy}))
				p.catalog(someone("ada"), someone("bob"))
				_, all := p.write()
				gone := all["ada"].GetRecordId()
				if err := p.org.Delete(gone); err != nil {
					t.Fatal(err)
				}
				for range 2 { // whatever the policy decides, it decides again
					_, all = p.write()
					if c.want == "created" && all["ada"].GetKind() == syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED {
						continue
					}
					p.expect(all, map[string]string{"ada": c.want, "bob": "unchanged"})
				}
				if p.alive("Contact") != c.alive || !p.deleted(gone) {
					t.Errorf("%d contacts", p.alive("Contact"))
				}
			})
		}
		t.Run("another e-mail "+external, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			p.use("Contact", external)
			p.catalog(someone("ada"), someone("bob"))
			_, before := p.write()
			p.catalog(someone("ada", "email", "countess@example.com"), someone("bob"))
			_, all := p.write()
			p.expect(all, map[string]string{"ada": "updated", "bob": "unchanged"})
			if all["ada"].GetRecordId() != before["ada"].GetRecordId() || p.alive("Contact") != 2 {
				t.Errorf("ada has another record: %v", all["ada"])
			}
		})
	}
}

func (p *pipeline) deleted(id string) bool {
	r, ok := p.org.Record(id)
	return !ok || r.Deleted
}
