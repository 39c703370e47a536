package fieldmap

import (
	"math"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// identity checks the policies.
func (c *checker) identity() {
	id := c.m.Identity
	bad := func(format string, args ...any) *values.Problem { return c.add(CodeInvalidPolicy, "", format, args...) }
	if c.m.Direction == Import {
		if id != (Identity{}) {
			bad("an import finds nobody in Salesforce: leave the policies of identity out")
		}
		return
	}
	for _, one := range []struct {
		name        string
		value, last int32
	}{
		{"several_matches", int32(id.SeveralMatches), int32(SeveralOwner)},
		{"converted", id.Converted, 2},
		{"deleted", id.Deleted, 3},
		{"contact_and_lead", id.ContactAndLead, 2},
		{"leavers", int32(id.Leavers), int32(LeaversFlag)},
	} {
		if one.value < 0 || one.value > one.last {
			bad("the policy %s has a value that is not known here: leave it out, or update catalogsync", one.name)
		}
	}
	if id.SeveralMatchesOwner != "" && id.SeveralMatches != SeveralOwner {
		bad("several_matches_owner is named and several_matches does not choose by owner: remove one of them, or choose by owner")
	}
	if id.SeveralMatches == SeveralOwner {
		if f, ok := c.o.field("OwnerId"); !ok {
			bad("records of %s have no owner that the connected user may see: choose another policy for several matches", c.o.Name).Field = f.Name
		}
	}
	if c.o.Name != "Lead" && id.Converted > 1 {
		bad("only Leads are converted, and the field map is for %s: leave the policy converted out", c.o.Name)
	}
	if c.o.Name != "Lead" && id.ContactAndLead > 1 {
		bad("the policy contact_and_lead is for field maps of Leads, and this one is for %s: leave it out", c.o.Name)
	}
	if id.NoAdoption && c.m.ExternalIDField == "" {
		bad("people are matched by e-mail, which is how records are adopted: name an external id field, or allow adoption")
	}
	c.leavers()
}

func (c *checker) leavers() {
	id := c.m.Identity
	bad := func(format string, args ...any) *values.Problem {
		p := c.add(CodeInvalidPolicy, id.LeaversField, format, args...)
		p.Repair = "name another field for leavers, or leave them as they are"
		return p
	}
	if id.Leavers != LeaversFlag {
		if id.LeaversField != "" || id.LeaversValue != "" {
			bad("a field or value for leavers is named and the policy does not flag them: remove them, or flag leavers")
		}
		return
	}
	if id.LeaversField == "" || id.LeaversValue == "" {
		bad("leavers are flagged and the field or its value is missing: name both, such as Active__c and false")
		return
	}
	f, ok := c.o.field(id.LeaversField)
	switch {
	case !ok:
		p := bad("leavers are flagged in %s, and %s has no such field that the connected user may see: correct the API name, or give the user access to the field", brief(id.LeaversField), c.o.Name)
		if nearest := c.renamed(id.LeaversField, ""); nearest != "" {
			p.Repair = "if it was renamed, flag leavers in " + nearest + "; else " + p.Repair
		}
		return
	case !f.Updateable || f.Calculated || !values.Supported(f.Type):
		bad("leavers are flagged in %s, which the connected user cannot change: give the user edit access to the field, or name another", f.Name)
		return
	case c.m.matchField() == f.Name:
		bad("leavers are flagged in %s, by which people are matched: name another field", f.Name)
		return
	}
	if _, problem := values.New(c.o.spec(f), values.Options{}).Convert(id.LeaversValue); problem != nil {
		bad("the value for leavers cannot be written: %s", problem.Message).Repair = "change the value for leavers, or add it to the list in Salesforce"
	}
}

// maxHoldHours bounds how long a held run waits: older plans say little of the org.
const maxHoldHours = 30 * 24

// guards checks that limits are in range.
func (c *checker) guards() {
	g := c.m.Guards
	share := func(name string, v float64) {
		if math.IsNaN(v) || v < 0 || v > 1 {
			c.add(CodeInvalidGuard, "", "guard %s is %v: give a share from 0 to 1, 0 for the default", name, v)
		}
	}
	for _, one := range []struct {
		name  string
		brake *Brake
	}{{"creates", g.Creates}, {"updates", g.Updates}, {"clears", g.Clears}, {"deactivations", g.Deactivations}} {
		if one.brake == nil {
			continue
		}
		if v := one.brake.Share; math.IsNaN(v) || v > 1 {
			c.add(CodeInvalidGuard, "", "the share of guard %s is %v: give one from 0 to 1, 0 for the default, or a negative one for none", one.name, v)
		}
	}
	share("least_people", g.LeastPeople)
	share("allocation_share", g.AllocationShare)
	share("allocation_stop", g.AllocationStop)
	if g.HoldHours < 0 || g.HoldHours > maxHoldHours {
		c.add(CodeInvalidGuard, "", "guard hold_hours is %d: give a number from 1 to %d, or 0 for 72", g.HoldHours, maxHoldHours)
	}
}
