package mapfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

// Equal reports whether two field maps are the same version in all but its number: whether they say the same and were
// saved against an org that said the same. Settings that this program does not know count.
func Equal(a, b *mapperv1.FieldMap) bool {
	return proto.Equal(Normal(a), Normal(b)) && slices.Equal(orgs(a), orgs(b))
}

// orgs are what the org said of the targets when the map was saved.
func orgs(m *mapperv1.FieldMap) (all []string) {
	for _, p := range m.GetPairs() {
		all = append(all, kind(p))
	}
	for _, o := range m.GetOverrides() {
		for _, p := range o.GetPairs() {
			all = append(all, kind(p))
		}
	}
	return all
}

func kind(p *mapperv1.Pair) string {
	if p.GetLength() > 0 {
		return fmt.Sprintf("%s(%d)", p.GetType(), p.GetLength())
	}
	return p.GetType()
}

// Diff returns every setting in which two field maps differ, in the order of the file. Paths are the keys of the file
// joined by dots; what is there in one of them alone is one difference, as a line of YAML. Where only the order of
// fields, rules or overrides differs, or what the org said of a field (fields.NAME.type), that is a difference too.
func Diff(before, after *mapperv1.FieldMap) []*mapperv1.Difference {
	d := &differ{}
	before, after = proto.CloneOf(before), proto.CloneOf(after)
	for _, m := range []*mapperv1.FieldMap{before, after} {
		if m != nil {
			mapSettings.tidy(m)
		}
	}
	d.pick(mapSettings, "", before, after, "object", "direction", "external_id")
	d.pairs("fields", before.GetPairs(), after.GetPairs())
	elements(d, "rules", before.GetRules(), after.GetRules(), (*mapperv1.Rule).GetName, ruleLine, d.rule)
	elements(d, "overrides", before.GetOverrides(), after.GetOverrides(), (*mapperv1.Override).GetSubaccount,
		func(o *mapperv1.Override) string { return mapping(overrideSettings, o) }, d.override)
	compare(d, identitySettings, "identity", before.GetIdentity(), after.GetIdentity())
	compare(d, guardSettings, "guards", before.GetGuards(), after.GetGuards())
	return d.found
}

type differ struct{ found []*mapperv1.Difference }

func (d *differ) add(path, before, after string) {
	if before != after {
		d.found = append(d.found, &mapperv1.Difference{Path: path, Before: before, After: after})
	}
}

// pick compares some settings of the map itself.
func (d *differ) pick(s settings[mapperv1.FieldMap], path string, before, after *mapperv1.FieldMap, keys ...string) {
	var some settings[mapperv1.FieldMap]
	for _, one := range s {
		if slices.Contains(keys, one.key) {
			some = append(some, one)
		}
	}
	compare(d, some, path, before, after)
}

// compare compares settings one by one. Either may be nil.
func compare[M any](d *differ, s settings[M], path string, before, after *M) {
	for _, one := range s {
		d.add(join(path, one.key), value(one, before), value(one, after))
	}
}

// value is a setting as one line; empty where it is not set.
func value[M any](s setting[M], m *M) string {
	if m == nil {
		return ""
	}
	n, err := s.write(m)
	if err != nil {
		return "?" // of a newer program
	}
	return line(n)
}

// mapping is a group of settings as one line.
func mapping[M any](s settings[M], m *M) string {
	n, err := s.format(m)
	if err != nil {
		return "?"
	}
	return line(n)
}

func (d *differ) pairs(path string, before, after []*mapperv1.Pair) {
	elements(d, path, before, after, (*mapperv1.Pair).GetTarget, pairLine, func(path string, a, b *mapperv1.Pair) {
		for _, one := range pairSettings {
			if one.key == "table" {
				d.table(join(path, "table"), a.GetTable(), b.GetTable())
				continue
			}
			d.add(join(path, one.key), value(one, a), value(one, b))
		}
		d.add(join(path, "type"), kind(a), kind(b))
	})
}

func (d *differ) table(path string, before, after map[string]string) {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(before)), maps.Keys(after))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		a, inA := before[key]
		b, inB := after[key]
		switch {
		case inA && !inB && a == "", inB && !inA && b == "": // an entry for nothing is something
			d.found = append(d.found, &mapperv1.Difference{Path: join(path, key), Before: quoted(a, inA), After: quoted(b, inB)})
		default:
			d.add(join(path, key), a, b)
		}
	}
}

func quoted(s string, there bool) string {
	if !there {
		return ""
	}
	return strconv.Quote(s)
}

func (d *differ) rule(path string, a, b *mapperv1.Rule) {
	d.add(path, effectWord(a), effectWord(b))
	for _, one := range ruleSettings {
		if one.key != "skip" && one.key != "include" {
			d.add(join(path, one.key), value(one, a), value(one, b))
		}
	}
}

func effectWord(r *mapperv1.Rule) string {
	if r.GetEffect() == mapperv1.Effect_EFFECT_INCLUDE {
		return "include"
	}
	return "skip"
}

func ruleLine(r *mapperv1.Rule) string { return mapping(ruleSettings, r) }

func pairLine(p *mapperv1.Pair) string {
	n, err := pairSettings.format(p)
	if err != nil {
		return "?"
	}
	return line(shortPair(n))
}

func (d *differ) override(path string, a, b *mapperv1.Override) {
	for _, one := range overrideSettings {
		if one.key == "fields" {
			d.pairs(join(path, one.key), a.GetPairs(), b.GetPairs())
			continue
		}
		d.add(join(path, one.key), value(one, a), value(one, b))
	}
}

// elements compares lists whose elements have names: those that are in one list alone as a whole, those in both by
// inner, in the order of the second list with those that are gone where they were.
func elements[M any](d *differ, path string, before, after []*M, name func(*M) string, whole func(*M) string, inner func(path string, a, b *M)) {
	old := map[string]*M{}
	for _, a := range before {
		old[name(a)] = a
	}
	kept := map[string]bool{}
	for _, b := range after {
		kept[name(b)] = true
	}
	i := 0
	gone := func() { // those that are gone, up to the next that is not
		for ; i < len(before) && !kept[name(before[i])]; i++ {
			d.found = append(d.found, &mapperv1.Difference{Path: join(path, name(before[i])), Before: whole(before[i])})
		}
	}
	gone()
	var order []string
	for _, b := range after {
		a := old[name(b)]
		if a == nil {
			d.found = append(d.found, &mapperv1.Difference{Path: join(path, name(b)), After: whole(b)})
			continue
		}
		order = append(order, name(b))
		inner(join(path, name(b)), a, b)
		if i < len(before) {
			i++
		}
		gone()
	}
	var was []string
	for _, a := range before {
		if kept[name(a)] {
			was = append(was, name(a))
		}
	}
	if !slices.Equal(was, order) {
		d.add(path, strings.Join(was, ", "), strings.Join(order, ", "))
	}
}

// join adds a key to a path. Keys that could be taken for several are quoted.
func join(path, key string) string {
	if strings.ContainsAny(key, `."`) || key == "" || key != strings.TrimSpace(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
