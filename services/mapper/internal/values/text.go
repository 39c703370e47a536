package values

import (
	"slices"
	"strings"
)

// email checks an address as Salesforce does, which is stricter than RFC 5322: ASCII, no quoted local part, a dot in
// the domain. Case is kept.
func (c *Converter) email(s string) (string, *Problem) {
	if s, p := c.fit(s); p != nil && p.Scope != ScopeNote {
		return s, p
	}
	if reason := emailFault(s); reason != "" {
		return "", c.problem(CodeInvalidEmail, "%s %s and Salesforce would refuse it: correct the e-mail in the Catalog", Clip(s), reason)
	}
	return s, nil
}

// emailFault says in words what is wrong with an address; empty where nothing is.
func emailFault(s string) string {
	at := strings.IndexByte(s, '@')
	if at < 0 {
		return "has no @"
	}
	local, domain := s[:at], s[at+1:]
	switch {
	case local == "":
		return "has nothing before the @"
	case len(local) > 64:
		return "has more than 64 characters before the @"
	case strings.IndexByte(domain, '@') >= 0:
		return "has more than one @"
	}
	before := byte('.')
	for i := range len(local) {
		switch b := local[i]; {
		case !localByte[b]:
			return "has a character before the @ that no address may have"
		case b == '.' && before == '.':
			return misplacedDot
		}
		before = local[i]
	}
	if before == '.' {
		return misplacedDot
	}
	dots := 0
	before = '.'
	for i := range len(domain) {
		switch b := domain[i]; {
		case !alphanumeric(b) && b != '-' && b != '.':
			return "has a character in its domain that no domain may have"
		case b == '.' && (before == '.' || before == '-') || b == '-' && before == '.':
			return badDomain
		case b == '.':
			dots++
		}
		before = domain[i]
	}
	switch {
	case before == '.' || before == '-':
		return badDomain
	case dots == 0:
		return "has no dot in its domain"
	}
	return ""
}

const (
	misplacedDot = "has a dot in a wrong place before the @"
	badDomain    = "has a domain with an empty part or a stray hyphen"
)

func alphanumeric(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// localByte marks the bytes that may stand before the @.
var localByte = func() (t [256]bool) {
	for b := range 256 {
		t[b] = alphanumeric(byte(b)) || strings.IndexByte("!#$%&'*/=?^_+-`{|}~.", byte(b)) >= 0
	}
	return t
}()

// find returns the index of a picklist value, whatever its case.
func (c *Converter) find(s string) (int, bool) {
	if i, ok := c.exact[s]; ok {
		return i, true
	}
	i, ok := c.folded[Fold(s)]
	return i, ok
}

// pick returns the org's own spelling of a picklist value.
func (c *Converter) pick(s string) (string, *Problem) {
	if i, ok := c.find(s); ok {
		return c.spec.Picklist[i], nil
	}
	if c.spec.Restricted {
		return "", c.notListed(s)
	}
	return c.fit(s)
}

// pickMany returns the values of a multi-select picklist once each, the org's own first and in the org's order, which
// is the order in which Salesforce returns them.
func (c *Converter) pickMany(s string) (string, *Problem) {
	type choice struct {
		index  int
		value  string
		folded string
	}
	var chosen []choice
	for part := range strings.SplitSeq(s, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		next := choice{index: len(c.spec.Picklist), value: part}
		if i, ok := c.find(part); ok {
			next = choice{index: i, value: c.spec.Picklist[i]}
		} else if c.spec.Restricted {
			return "", c.notListed(part)
		}
		next.folded = strings.ToLower(next.value)
		if !slices.ContainsFunc(chosen, func(other choice) bool { return other.folded == next.folded }) {
			chosen = append(chosen, next)
		}
	}
	slices.SortStableFunc(chosen, func(a, b choice) int { return a.index - b.index })
	names := make([]string, len(chosen))
	for i, one := range chosen {
		names[i] = one.value
	}
	joined := strings.Join(names, ";")
	if joined == clearMark {
		return "", c.clears()
	}
	return c.fit(joined)
}

func (c *Converter) notListed(s string) *Problem {
	const shown = 5
	list, more := c.spec.Picklist, ""
	if len(list) > shown {
		list, more = list[:shown], ", ..."
	}
	takes := "the list has no active value"
	if len(list) > 0 {
		takes = "the list has " + strings.Join(list, ", ") + more
	}
	return c.problem(CodeInvalidPicklist, "%s is not in the field's restricted picklist (%s): change it in the Catalog or add it to the picklist in Salesforce", Clip(s), takes)
}

// reference returns the 18-character form of a record id, which is the one that Salesforce returns.
func (c *Converter) reference(s string) (string, *Problem) {
	bad := func() (string, *Problem) {
		return "", c.problem(CodeInvalidID, "%s is not a Salesforce record id of 15 or 18 characters: put the id of the record that it refers to into the Catalog", Clip(s))
	}
	if len(s) != 15 && len(s) != 18 {
		return bad()
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) {
			return bad()
		}
	}
	if strings.Trim(s[:15], "0") == "" { // Salesforce's id of nothing
		return bad()
	}
	id := s[:15] + idSuffix(s[:15])
	if len(s) == 18 && !strings.EqualFold(s[15:], id[15:]) {
		return bad()
	}
	return id, nil
}

// idSuffix computes the three characters that tell which of the 15 before them are capitals.
func idSuffix(id string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
	var suffix [3]byte
	for block := range 3 {
		capitals := 0
		for i := range 5 {
			if b := id[block*5+i]; 'A' <= b && b <= 'Z' {
				capitals |= 1 << i
			}
		}
		suffix[block] = alphabet[capitals]
	}
	return string(suffix[:])
}
