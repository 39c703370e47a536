package soql_test

import (
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator/internal/soql"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"SELECT Id FROM Contact", "select count() from X where a='\\u00e9\\'' and (b in (1,2) or not c like '%\\_')", "SELECT a.b, (SELECT c FROM d), FIELDS(ALL) FROM e USING SCOPE x GROUP BY ROLLUP(f) HAVING COUNT(g)>1 ORDER BY h DESC NULLS LAST LIMIT 1 OFFSET 2 FOR VIEW",
		"SELECT Id FROM A WHERE d > 2020-01-01T00:00:00.000+02:00 AND e = LAST_N_DAYS:3 ALL ROWS", "\xff", "SELECT \n\n é",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := soql.Parse(s)
		if (q == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", s, q, err)
		}
		if err != nil && (err.Code == "" || err.Message == "") {
			t.Errorf("%q: empty error %+v", s, err)
		}
	})
}

func TestDeepNesting(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"SELECT Id FROM A WHERE " + strings.Repeat("(", 50_000), "SELECT Id FROM A WHERE " + strings.Repeat("NOT ", 20_000) + "a=1", "SELECT " + strings.Repeat("f(", 40_000), strings.Repeat("(SELECT ", 9000)} {
		if _, err := soql.Parse(s); err == nil {
			t.Errorf("%.40q was taken", s)
		}
	}
}
