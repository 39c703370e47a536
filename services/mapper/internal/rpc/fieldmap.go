package rpc

import (
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
)

// Map returns everything that a field map says, without its identity: connection, version, times, author and notes.
func Map(p *mapperv1.FieldMap) fieldmap.Map {
	id, g := p.GetIdentity(), p.GetGuards()
	m := fieldmap.Map{
		Object: p.GetObject(), ExternalIDField: p.GetExternalIdField(), Direction: fieldmap.Direction(p.GetDirection()),
		Pairs: pairsFrom(p.GetPairs()),
		Identity: fieldmap.Identity{
			NoAdoption: id.GetNoAdoption(), SeveralMatches: fieldmap.SeveralMatches(id.GetSeveralMatches()),
			SeveralMatchesOwner: id.GetSeveralMatchesOwner(), Converted: int32(id.GetConverted()), Deleted: int32(id.GetDeleted()),
			ContactAndLead: int32(id.GetContactAndLead()), Leavers: fieldmap.Leavers(id.GetLeavers()),
			LeaversField: id.GetLeaversField(), LeaversValue: id.GetLeaversValue(),
		},
		Guards: fieldmap.Guards{
			Creates: brakeFrom(g.GetCreates()), Updates: brakeFrom(g.GetUpdates()), Clears: brakeFrom(g.GetClears()),
			Deactivations: brakeFrom(g.GetDeactivations()), ApproveEveryRun: g.GetApproveEveryRun(), HoldHours: g.GetHoldHours(),
			AllowEmptySource: g.GetAllowEmptySource(), LeastPeople: g.GetLeastPeople(),
			AllocationShare: g.GetAllocationShare(), AllocationStop: g.GetAllocationStop(),
		},
	}
	for _, r := range p.GetRules() {
		m.Rules = append(m.Rules, fieldmap.Rule{
			Name: r.GetName(), Effect: fieldmap.Effect(r.GetEffect()), Condition: conditionFrom(r.GetCondition()), Subaccounts: r.GetSubaccounts(),
		})
	}
	for _, o := range p.GetOverrides() {
		one := fieldmap.Override{Subaccount: o.GetSubaccount(), Pairs: pairsFrom(o.GetPairs()), Excluded: o.GetExcluded()}
		if o.GetFilter() != nil {
			filter := conditionFrom(o.GetFilter())
			one.Filter = &filter
		}
		m.Overrides = append(m.Overrides, one)
	}
	return m
}

// FieldMap is the way back: Map(FieldMap(m)) means what m means. The identity is left to the caller.
func FieldMap(m fieldmap.Map) *mapperv1.FieldMap {
	p := &mapperv1.FieldMap{
		Object: m.Object, ExternalIdField: m.ExternalIDField, Direction: mapperv1.Direction(m.Direction), Pairs: Pairs(m.Pairs),
	}
	if id := m.Identity; id != (fieldmap.Identity{}) {
		p.Identity = &mapperv1.Identity{
			NoAdoption: id.NoAdoption, SeveralMatches: mapperv1.SeveralMatches(id.SeveralMatches), SeveralMatchesOwner: id.SeveralMatchesOwner,
			Converted: mapperv1.Converted(id.Converted), Deleted: mapperv1.Deleted(id.Deleted), ContactAndLead: mapperv1.ContactAndLead(id.ContactAndLead),
			Leavers: mapperv1.Leavers(id.Leavers), LeaversField: id.LeaversField, LeaversValue: id.LeaversValue,
		}
	}
	if g := m.Guards; g != (fieldmap.Guards{}) {
		p.Guards = &mapperv1.Guards{
			Creates: brake(g.Creates), Updates: brake(g.Updates), Clears: brake(g.Clears), Deactivations: brake(g.Deactivations),
			ApproveEveryRun: g.ApproveEveryRun, HoldHours: g.HoldHours, AllowEmptySource: g.AllowEmptySource,
			LeastPeople: g.LeastPeople, AllocationShare: g.AllocationShare, AllocationStop: g.AllocationStop,
		}
	}
	for _, r := range m.Rules {
		p.Rules = append(p.Rules, &mapperv1.Rule{
			Name: r.Name, Effect: mapperv1.Effect(r.Effect), Condition: condition(r.Condition), Subaccounts: r.Subaccounts,
		})
	}
	for _, o := range m.Overrides {
		one := &mapperv1.Override{Subaccount: o.Subaccount, Excluded: o.Excluded}
		if len(o.Pairs) > 0 {
			one.Pairs = Pairs(o.Pairs)
		}
		if o.Filter != nil {
			one.Filter = condition(*o.Filter)
		}
		p.Overrides = append(p.Overrides, one)
	}
	return p
}

func pairsFrom(pairs []*mapperv1.Pair) (out []fieldmap.Pair) {
	for _, p := range pairs {
		one := fieldmap.Pair{
			Source: p.GetSource(), Target: p.GetTarget(), Secondary: p.GetSecondarySource(), Constant: p.GetConstant(), Expression: p.GetExpression(),
			Default: p.GetDefaultValue(), Type: p.GetType(), Length: int(p.GetLength()), When: fieldmap.When(p.GetWriteWhen()),
			Absent: fieldmap.Blank(p.GetAbsent()), Null: fieldmap.Blank(p.GetNull()), Empty: fieldmap.Blank(p.GetEmpty()),
			TooLong: fieldmap.TooLong(p.GetTooLong()), Table: p.GetTable(), Unlisted: fieldmap.Unlisted(p.GetUnlisted()),
			TimeZone: p.GetTimeZone(), PhoneRegion: p.GetPhoneRegion(), PhoneFormat: fieldmap.PhoneFormat(p.GetPhoneFormat()),
		}
		if l := p.GetLookup(); l != nil {
			one.Lookup = &fieldmap.Lookup{Object: l.GetObject(), Field: l.GetField(), CreateIfMissing: l.GetCreateIfMissing()}
		}
		out = append(out, one)
	}
	return out
}

// Pairs returns the pairs for the wire.
func Pairs(pairs []fieldmap.Pair) []*mapperv1.Pair {
	out := make([]*mapperv1.Pair, len(pairs))
	for i, p := range pairs {
		out[i] = &mapperv1.Pair{
			Source: p.Source, Target: p.Target, SecondarySource: p.Secondary, Constant: p.Constant, Expression: p.Expression,
			DefaultValue: p.Default, Type: p.Type, Length: int32(p.Length), WriteWhen: mapperv1.WriteWhen(p.When),
			Absent: mapperv1.Blank(p.Absent), Null: mapperv1.Blank(p.Null), Empty: mapperv1.Blank(p.Empty),
			TooLong: mapperv1.TooLong(p.TooLong), Table: p.Table, Unlisted: mapperv1.Unlisted(p.Unlisted),
			TimeZone: p.TimeZone, PhoneRegion: p.PhoneRegion, PhoneFormat: mapperv1.PhoneFormat(p.PhoneFormat),
		}
		if l := p.Lookup; l != nil {
			out[i].Lookup = &mapperv1.Lookup{Object: l.Object, Field: l.Field, CreateIfMissing: l.CreateIfMissing}
		}
	}
	return out
}

func conditionFrom(p *mapperv1.Condition) fieldmap.Condition {
	group := func(g *mapperv1.Conditions) (out []fieldmap.Condition) {
		for _, one := range g.GetConditions() {
			out = append(out, conditionFrom(one))
		}
		return out
	}
	var c fieldmap.Condition
	switch kind := p.GetCondition().(type) {
	case *mapperv1.Condition_All:
		c.All = group(kind.All)
	case *mapperv1.Condition_Any:
		c.Any = group(kind.Any)
	case *mapperv1.Condition_Not:
		not := conditionFrom(kind.Not)
		c.Not = &not
	case *mapperv1.Condition_Test:
		t := kind.Test
		c.Test = &fieldmap.Test{
			Side: fieldmap.Side(t.GetSide()), Field: t.GetField(), Operator: fieldmap.Operator(t.GetOperator()), Values: t.GetValues(),
		}
	}
	return c
}

func condition(c fieldmap.Condition) *mapperv1.Condition {
	group := func(in []fieldmap.Condition) *mapperv1.Conditions {
		out := &mapperv1.Conditions{}
		for _, one := range in {
			out.Conditions = append(out.Conditions, condition(one))
		}
		return out
	}
	switch {
	case c.Test != nil:
		t := c.Test
		return &mapperv1.Condition{Condition: &mapperv1.Condition_Test{Test: &mapperv1.Test{
			Side: mapperv1.Side(t.Side), Field: t.Field, Operator: mapperv1.Operator(t.Operator), Values: t.Values,
		}}}
	case c.Not != nil:
		return &mapperv1.Condition{Condition: &mapperv1.Condition_Not{Not: condition(*c.Not)}}
	case len(c.All) > 0:
		return &mapperv1.Condition{Condition: &mapperv1.Condition_All{All: group(c.All)}}
	case len(c.Any) > 0:
		return &mapperv1.Condition{Condition: &mapperv1.Condition_Any{Any: group(c.Any)}}
	}
	return &mapperv1.Condition{}
}

func brakeFrom(b *mapperv1.Brake) *fieldmap.Brake {
	if b == nil {
		return nil
	}
	return &fieldmap.Brake{Count: b.GetCount(), Share: b.GetShare()}
}

func brake(b *fieldmap.Brake) *mapperv1.Brake {
	if b == nil {
		return nil
	}
	return &mapperv1.Brake{Count: b.Count, Share: b.Share}
}
