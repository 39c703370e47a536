// Package plan owns the decision: which record a person is joined to, and what, if anything, is to be changed in it.
// It is pure: people, records and mapped values in, verdicts and changes out.
//
// Invariant: every person that goes in comes out exactly once (promise P1).
package plan

import (
	"fmt"
	"strings"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
)

// Codes of outcomes that the plan decides.
const (
	// CodeDuplicateKey: several people have the same match key.
	CodeDuplicateKey = "duplicate_match_key"
	// CodeSeveralMatches: several records have the person's match key.
	CodeSeveralMatches = "several_matches"
	// CodeClaimedBySeveral: several people would land on one record.
	CodeClaimedBySeveral = "claimed_by_several"
	// CodeConverted: the record is a Lead that was converted.
	CodeConverted = "converted"
)

// Wave says by what people and records are joined.
type Wave int

// Waves of a plan.
const (
	// ByExternalID joins by the map's external id field. People without a record are left for Adopt.
	ByExternalID Wave = iota
	// ByEmail joins by e-mail, where the map names no external id field.
	ByEmail
	// Adopt joins people whom no external id found with records that have none, by e-mail.
	Adopt
)

// Keyed is a person or a record with its folded match key.
type Keyed struct {
	Key string
	Row *rowv1.Row
}

// Verdict is what joining says of one person.
type Verdict int

// Verdicts.
const (
	// Matched: the person has a record.
	Matched Verdict = iota
	// New: the person has none.
	New
	// Left: the person has none by external id; e-mail decides in the next wave.
	Left
	// Refused: the person cannot be placed; Code and Message say why.
	Refused
)

// Joined is one person with what joining found.
type Joined struct {
	Person  Keyed
	Record  *rowv1.Row
	Verdict Verdict
	Code    string
	Message string
}

// Result is all of a part, joined.
type Result struct {
	People []Joined
	// Unclaimed is the number of records that no person was joined to.
	Unclaimed int64
}

// Join joins the people of a part with its records.
func Join(wave Wave, people, records []Keyed) Result {
	byKey := make(map[string][]*rowv1.Row, len(records))
	for _, r := range records {
		if r.Key != "" {
			byKey[r.Key] = append(byKey[r.Key], r.Row)
		}
	}
	claims := make(map[string][]string, len(people))
	for _, p := range people {
		if p.Key != "" {
			claims[p.Key] = append(claims[p.Key], p.Row.GetId())
		}
	}
	res := Result{People: make([]Joined, 0, len(people))}
	claimed := make(map[string]bool, len(records))
	for _, p := range people {
		j := Joined{Person: p}
		found := byKey[p.Key]
		rivals := claims[p.Key]
		if p.Key == "" {
			found, rivals = nil, nil
		}
		switch {
		case len(rivals) > 1 && wave != Adopt:
			j.Verdict, j.Code = Refused, CodeDuplicateKey
			j.Message = fmt.Sprintf("People %s have the same match key; give each their own, or remove all but one.", list(rivals))
		case len(found) > 1:
			j.Verdict, j.Code = Refused, CodeSeveralMatches
			j.Message = fmt.Sprintf("Records %s match this person; merge them in Salesforce, or give one of them the external id.", list(ids(found)))
		case len(found) == 1 && len(rivals) > 1:
			j.Verdict, j.Code = Refused, CodeClaimedBySeveral
			j.Message = fmt.Sprintf("People %s would all land on record %s because they share an e-mail; give each their own.", list(rivals), found[0].GetId())
		case len(found) == 1:
			j.Verdict, j.Record = Matched, found[0]
		case wave == ByExternalID:
			j.Verdict = Left
		default:
			j.Verdict = New
		}
		if len(found) > 0 {
			claimed[p.Key] = true
		}
		res.People = append(res.People, j)
	}
	for key, rows := range byKey {
		if !claimed[key] {
			res.Unclaimed += int64(len(rows))
		}
	}
	for _, r := range records {
		if r.Key == "" {
			res.Unclaimed++
		}
	}
	return res
}

func ids(rows []*rowv1.Row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.GetId()
	}
	return out
}

// list names at most five of some ids.
func list(ids []string) string {
	const most = 5
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}
