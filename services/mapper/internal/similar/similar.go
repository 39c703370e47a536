// Package similar owns guesses at what somebody meant: the known name that is nearest to one that is not known.
package similar

import "strings"

// Nearest returns the candidate that differs least from name, whatever the case and without regard to underscores and
// blanks; ok is false where none is near enough for a guess that helps. Of two that are as near, the first counts.
func Nearest(name string, candidates []string) (nearest string, ok bool) {
	wanted := plain(name)
	if len(wanted) == 0 || len(wanted) > maxLength {
		return "", false
	}
	best := 1 + (len(wanted)+2)/3 // differences that are too many
	for _, c := range candidates {
		p := plain(c)
		if len(p) > maxLength {
			continue
		}
		// A longer name for the same: Title became Job_Title__c.
		d := distance(wanted, p)
		if len(wanted) >= 4 && len(p) >= 4 && (strings.Contains(string(p), string(wanted)) || strings.Contains(string(wanted), string(p))) {
			d = min(d, 1)
		}
		if d < best {
			best, nearest, ok = d, c, true
		}
	}
	return nearest, ok
}

// maxLength is the longest name that is compared: the work grows with the square.
const maxLength = 100

// plain leaves of a name what people remember of it.
func plain(name string) []rune {
	name = strings.TrimSuffix(strings.ToLower(name), "__c")
	return []rune(strings.NewReplacer("_", "", " ", "", "-", "").Replace(name))
}

// distance is the number of letters to put in, leave out or replace (Levenshtein).
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
