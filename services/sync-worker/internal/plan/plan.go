// Package plan owns the decision: which record a person is joined to, and what, if anything, is to be changed in it.
// It is pure: people, records and mapped values in, verdicts and changes out.
//
// Invariant: every person that goes in comes out exactly once (promise P1).
package plan

import (
	"cmp"
	"fmt"
	"slices"
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
	// CodeContact: the person of a Lead map is a Contact already.
	CodeContact = "policy_contact"
	// CodeDeleted: the person's record was deleted in Salesforce.
	CodeDeleted = "policy_deleted"
	// CodeUndelete: the record is in the recycle bin, from which it has to be taken by hand.
	CodeUndelete = "undelete_by_hand"
	// CodeReferenceMissing: the record that a reference means is not there.
	CodeReferenceMissing = "reference_not_found"
	// CodeReferenceNotMade: the record that a reference means was to be made, and Salesforce refused.
	CodeReferenceNotMade = "reference_not_made"
	// CodeReferenceSeveral: several records have the key that a reference names.
	CodeReferenceSeveral = "reference_several"
)

// Reasons of changes that are not plain.
const (
	// ReasonAdopted: the record had no external id, or another e-mail; from now on it is the person's.
	ReasonAdopted = "adopted"
	// ReasonSurvivor: the person's record was merged into this one.
	ReasonSurvivor = "survivor"
	// ReasonContactOfLead: the person's Lead became this Contact.
	ReasonContactOfLead = "contact_of_lead"
	// ReasonLeaver: the person is gone from the Catalog.
	ReasonLeaver = "leaver"
	// ReasonUndo: an earlier run is taken back.
	ReasonUndo = "undo"
	// ReasonUndoPartly: the same, but for fields that somebody changed since.
	ReasonUndoPartly = "undo_partly"
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
	// Email is a person's folded e-mail, by which the next wave joins.
	Email string
	Row   *rowv1.Row
}

// Several is what to do when several records match one person.
type Several int

// Policies for several matches.
const (
	// Refuse the person.
	Refuse Several = iota
	// Oldest takes the record that was created first.
	Oldest
	// Newest takes the record that was created last.
	Newest
	// Owner takes the only record of one owner, and refuses where there is not exactly one.
	Owner
)

// Policy says how people are placed in the cases that are not plain. Created, Owner and Converted are indexes of columns
// of the records; -1 where they are not read.
type Policy struct {
	Several                   Several
	Created, Owner, Converted int
	// OwnerID is whose record [Owner] takes, 18 characters.
	OwnerID string
	// Known are the records that earlier runs wrote, by person. Such a one is the person's, whatever else matches.
	Known map[string]string
}

// pick chooses one of several records for a person; nil where the policy refuses.
func (p Policy) pick(person string, found []*rowv1.Row) *rowv1.Row {
	if known := p.Known[person]; known != "" {
		if at := slices.IndexFunc(found, func(r *rowv1.Row) bool { return r.GetId() == known }); at >= 0 {
			return found[at]
		}
	}
	if p.Converted >= 0 {
		// What was converted is history: it is no rival of a record that lives.
		alive := slices.DeleteFunc(slices.Clone(found), func(r *rowv1.Row) bool { return Cell(r, p.Converted).Text == "true" })
		if len(alive) == 1 {
			return alive[0]
		}
		if len(alive) > 0 {
			found = alive
		}
	}
	// Times of creation are in one spelling and sort as text; ids of one object rise with time, and decide within a second.
	age := func(a, b *rowv1.Row) int {
		return cmp.Or(cmp.Compare(Cell(a, p.Created).Text, Cell(b, p.Created).Text), cmp.Compare(a.GetId(), b.GetId()))
	}
	switch p.Several {
	case Oldest:
		return slices.MinFunc(found, age)
	case Newest:
		return slices.MaxFunc(found, age)
	case Owner:
		owned := slices.DeleteFunc(slices.Clone(found), func(r *rowv1.Row) bool { return Cell(r, p.Owner).Text != p.OwnerID })
		if len(owned) == 1 {
			return owned[0]
		}
	}
	return nil
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
	// Others are other records concerned.
	Others []string
	// Known is the record that an earlier run wrote, of a New person.
	Known string
}

// Result is all of a part, joined.
type Result struct {
	People []Joined
	// Unclaimed is the number of records that no person was joined to.
	Unclaimed int64
	// Contested are people whom several records match. Which of them is known to be theirs is worth asking.
	Contested []string
}

// Join joins the people of a part with its records.
func Join(wave Wave, policy Policy, people, records []Keyed) Result {
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
		all := found
		if len(found) > 1 {
			res.Contested = append(res.Contested, p.Row.GetId())
			if one := policy.pick(p.Row.GetId(), found); one != nil {
				found = []*rowv1.Row{one}
			}
		}
		switch {
		case len(rivals) > 1 && wave != Adopt:
			j.Verdict, j.Code = Refused, CodeDuplicateKey
			j.Message = fmt.Sprintf("People %s have the same match key; give each their own, or remove all but one.", List(rivals))
		case len(found) > 1:
			j.Verdict, j.Code = Refused, CodeSeveralMatches
			j.Others = ids(found)
			j.Message = fmt.Sprintf("Records %s match this person; merge them in Salesforce, or give one of them the external id.", List(j.Others))
		case len(found) == 1 && len(rivals) > 1:
			j.Verdict, j.Code = Refused, CodeClaimedBySeveral
			j.Others = ids(found)
			j.Message = fmt.Sprintf("People %s would all land on record %s because they share an e-mail; give each their own.", List(rivals), found[0].GetId())
		case len(found) == 1:
			j.Verdict, j.Record = Matched, found[0]
		case wave == ByExternalID:
			j.Verdict = Left
		default:
			j.Verdict = New
		}
		if len(all) > 0 {
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

// List names at most five of some ids.
func List(ids []string) string {
	const most = 5
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}
