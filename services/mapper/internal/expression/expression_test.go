package expression_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/catalogsync/catalogsync/services/mapper/internal/expression"
)

var (
	personColumns = []string{"first_name", "last_name", "email", "groups", "title", "created_at", "attributes.level", "attributes.Cost Center", "active"}
	recordColumns = []string{"Id", "Title", "AccountId"}
	fields        = expression.Fields{Person: personColumns, Record: []string{"Id", "Title", "AccountId", "Phone"}}
	now           = time.Date(2026, 11, 21, 23, 30, 0, 0, time.UTC)
	ada           = []string{"Ada", "Lovelace", "ada@example.com", "Sales;Staff", " Countess ", "2026-01-02T00:00:00Z", "gold", "0815", "true"}
	record        = []string{"003000000000001AAA", "Dr", ""}
)

func TestEval(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		source, want string
		isNil        bool
	}{
		"text":                     {`person.first_name + " " + person.last_name`, "Ada Lovelace", false},
		"brackets":                 {`person["title"]`, " Countess ", false},
		"attribute":                {`person.attributes.level`, "gold", false},
		"attribute by name":        {`person.attributes["Cost Center"]`, "0815", false},
		"record":                   {`record.title + "/" + record.ACCOUNTID`, "Dr/", false},
		"column that is not there": {`record.Phone == "" ? "none" : record.Phone`, "none", false},
		"condition":                {`person.attributes.level == "gold" ? "A" : "B"`, "A", false},
		"if":                       {`if person.active == "true" { "yes" } else { "no" }`, "yes", false},
		"nil":                      {`person.title == "" ? "x" : nil`, "", true},
		"empty":                    {`""`, "", false},
		"sum of what is unknown":   {`first([1, 2]) + last([3, 4]) + 5`, "10", false},
		"text of what is unknown":  {`first([person.title]) + "x" + last(["y"])`, " Countess xy", false},
		"table":                    {`{"gold": "A", "silver": "B"}[person.attributes.level]`, "A", false},
		"not in the table":         {`{"silver": "B"}[person.attributes.level]`, "", true},
		"coalesce":                 {`coalesce(record.AccountId, "  ", person.email)`, "ada@example.com", false},
		"blank":                    {`blank(record.AccountId) and not blank(person.email)`, "true", false},
		"domain":                   {`domain(person.email)`, "example.com", false},
		"member of groups":         {`any(split(person.groups, ";"), # == "Staff")`, "true", false},
		"in groups":                {`"Sales" in split(person.groups, ";")`, "true", false},
		"filtered groups":          {`filter(split(person.groups, ";"), # startsWith "St") | join(";")`, "Staff", false},
		"mapped groups":            {`map(split(person.groups, ";"), upper(#)) | join(", ")`, "SALES, STAFF", false},
		"upper, lower, trim":       {`upper(trim(person.title)) + lower("X")`, "COUNTESSx", false},
		"cutset":                   {`trim("--a--", "-")`, "a", false},
		"replace":                  {`replace(person.email, "@", " at ")`, "ada at example.com", false},
		"slice":                    {`person.first_name[0:1] + "."`, "A.", false},
		"length":                   {`len("äöü")`, "3", false},
		"matches":                  {`person.email matches "^[a-z]+@example\\.com$"`, "true", false},
		"contains":                 {`person.email contains "example"`, "true", false},
		"number":                   {`int(person.attributes["Cost Center"]) + 1`, "816", false},
		"decimal":                  {`float("1.5") * 2`, "3", false},
		"large":                    {`float("1e20")`, "100000000000000000000", false},
		"string of a number":       {`string(7) + string(1.5) + string(true) + string(person.title == "")`, "71.5truefalse", false},
		"now":                      {`now.Year()`, "2026", false},
		"format":                   {`now.Format("2006-01-02")`, "2026-11-21", false},
		"zone":                     {`now.In(timezone("Europe/Berlin")).Format("2006-01-02")`, "2026-11-22", false},
		"time":                     {`date(person.created_at)`, "2026-01-02T00:00:00Z", false},
		"age":                      {`(now - date(person.created_at)).Hours() > 24`, "true", false},
		"span":                     {`date(person.created_at) > now - duration("8760h")`, "true", false},
		"let":                      {`let x = trim(person.title); x + "/" + x`, "Countess/Countess", false},
		"pipe":                     {`person.title | trim() | upper()`, "COUNTESS", false},
		"optional":                 {`person?.email`, "ada@example.com", false},
		"list":                     {`[person.first_name, person.last_name][1]`, "Lovelace", false},
		"first and last":           {`first(split(person.groups, ";")) + last(split(person.groups, ";"))`, "SalesStaff", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := expression.Compile(tt.source, fields)
			if err != nil {
				t.Fatal(err)
			}
			p.Bind(personColumns, recordColumns, now)
			for range 2 { // a program is used again and again
				got, err := p.Eval(ada, record)
				if want := (expression.Result{Text: tt.want, Nil: tt.isNil}); err != nil || got != want {
					t.Errorf("%s = %+v, %v; want %+v", tt.source, got, err, want)
				}
			}
			if _, err := p.Eval(nil, nil); err != nil && !slices.Contains([]string{"number", "time", "age", "span", "large"}, name) {
				t.Errorf("%s of nobody: %v", tt.source, err)
			}
		})
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ source, want string }{
		"empty":              {" ", "it is empty"},
		"unknown field":      {`person.titel`, "the Catalog has no field titel: did you mean title?"},
		"unknown attribute":  {`person.attributes.levl`, "no person in the Catalog has the attribute levl: did you mean attributes.level?"},
		"unknown record":     {`record.Titel`, "Salesforce has no field Titel that the connected user may see: did you mean Title?"},
		"nothing like it":    {`record.Xyzzy__c`, "Salesforce has no field Xyzzy__c that the connected user may see"},
		"types":              {`person.title + 1`, "column 14: invalid operation: + (mismatched types string and int)"},
		"whole person":       {`person`, "it uses person as a whole: name a field of it, as in person.email"},
		"whole record":       {`len(record)`, "it uses record as a whole: name a field of it, as in record.Email"},
		"attributes":         {`person.attributes`, "it uses person as a whole: name a field of it, as in person.email"},
		"computed field":     {`person[person.title]`, "it computes the name of a field of person: name the field itself, as in person.email"},
		"computed attribute": {`person.attributes[person.title]`, `it computes the name of an attribute: name the attribute itself, as in person.attributes["level"]`},
		"environment":        {`$env["person.title"]`, "there is no $env: name fields, as in person.email"},
		"unknown name":       {`title`, "column 1: unknown name title"},
		"syntax":             {`person.title +`, "column 14: unexpected token EOF"},
		"nil is never there": {`person.title == nil`, "it compares with nil, and fields are never nil but empty: use blank(x)"},
		"or else":            {`person.title ?? "x"`, "?? has nothing to do, for fields are never nil but empty: use coalesce(a, b)"},
		"range":              {`1..1000000`, "it has a range (..): list the numbers, as in [1, 2, 3]"},
		"nested loops":       {`any(split(person.groups, ";"), any(split(person.title, " "), # == "x"))`, "it has a loop within a loop: such as filter(...) in the condition of any(...); write one after the other"},
		"pattern is data":    {`person.title matches person.email`, "the regular expression after matches is to be a text in quotes"},
		"pattern is wrong":   {`person.title matches "("`, "column 14: error parsing regexp: missing closing ): `(`"},
		"pattern is long":    {`person.title matches "` + strings.Repeat("a", 501) + `"`, "a regular expression has 501 bytes and may have 500"},
		"list":               {`split(person.groups, ";")`, `it gives a list: make it text, such as by join(list, ";")`},
		"map":                {`{"a": 1}`, `it gives a map: make it text, such as by join(list, ";")`},
		"span":               {`duration("1h")`, "it gives a span of time: compare it, or add it to a time, so that it gives text, a number, true or false, or a time"},
		"taken name":         {`let now = 1; now`, "let now takes a name that means something else: choose another"},
		"taken function":     {`let upper = 1; upper`, "let upper takes a name that means something else: choose another"},
		"arguments":          {`upper(person.title, 1)`, "column 1: too many arguments to call upper"},
		"argument":           {`upper(1)`, "column 7: cannot use int as argument (type string) to call upper"},
		"method":             {`now.Local()`, "it calls a method that expressions do not have: of times there are Year, Month, Day, Weekday, Hour, Minute, Second, YearDay, Unix, Before, After, Sub, Add, AddDate, UTC, In, Hours, Minutes, Format"},
		"layout is data":     {`now.Format(person.title)`, "the layout of Format is to be a short text in quotes, such as \"2006-01-02\""},
		"second line":        {"person.title\n+ 1", "line 2, column 1: invalid operation: + (mismatched types string and int)"},
		"too long":           {`"` + strings.Repeat("x", 2000) + `"`, "it has 2002 bytes and may have 2000: split it into two pairs, or use a table"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := expression.Compile(tt.source, fields)
			if err == nil || err.Error() != tt.want {
				t.Errorf("%s: %v, want %s", tt.source, err, tt.want)
			}
		})
	}
	for _, gone := range []string{`repeat("x", 1000000)`, `reduce([1], #acc + #)`, `now()`, `toJSON(person.title)`, `sortBy([1], #)`, `groupBy([1], #)`, `flatten([[1]])`, `concat([1], [2])`, `foo(1)`} {
		if _, err := expression.Compile(gone, fields); err == nil || !strings.HasPrefix(err.Error(), "there is no function ") || !strings.Contains(err.Error(), "coalesce, count") {
			t.Errorf("%s: %v", gone, err)
		}
	}
	if _, err := expression.Compile(strings.Repeat("1+", 400)+"1", fields); err == nil {
		t.Error("an expression of 801 nodes was taken")
	}
	if _, err := expression.Compile(`person.email`, expression.Fields{Record: recordColumns}); err == nil || !strings.Contains(err.Error(), "an import has no person yet") {
		t.Errorf("a person in an import: %v", err)
	}
	if _, err := expression.Compile(`person.attributes.later`, expression.Fields{Person: personColumns, AnyAttribute: true}); err != nil {
		t.Errorf("an attribute that may come later: %v", err)
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	p, err := expression.Compile(`record.title == "" and any(split(person.groups, ";"), # == person.title) ? person.attributes["Cost Center"] : person.title`, fields)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"groups", "title", "attributes.Cost Center"}, p.Person()); diff != "" {
		t.Errorf("person (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Title"}, p.Record()); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestFailuresSayWhyAndKeepSecrets(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 50) + "SECRET"
	tests := map[string]struct{ source, title, want string }{
		"number":    {`int(person.title)`, "abc", "invalid operation: int(abc)"},
		"secret":    {`int(person.title)`, long, "invalid operation: int(" + strings.Repeat("x", 17) + "..."},
		"date":      {`date(person.title)`, "soon", "invalid date soon"},
		"index":     {`split(person.title, ";")[3]`, "a;b", "index out of range: 3 (array length is 2..."},
		"parts":     {`split(person.title, "")[0]`, strings.Repeat("a", 1001), "it splits a text into more than 1000 parts"},
		"doubling":  {`let a = person.title + person.title; let b = a + a; let c = b + b; let d = c + c; d + d`, strings.Repeat("a", 100_000), "it makes or searches more than 1024 KiB of text for this person"},
		"replacing": {`replace(person.title, "", person.title)`, strings.Repeat("a", 10_000), "it makes or searches more than 1024 KiB of text for this person"},
		"joined":    {`join(map(split(person.title, " "), person.title), "")`, strings.Repeat("abcdefgh ", 999), "it makes or searches more than 1024 KiB of text for this person"},
		"looping":   {`any(split(person.title, " "), # == "x")`, strings.Repeat("a", 40_000), "it has a loop and reads more than 32 KiB of this person"},
		"searching": {`count(split(person.title, " "), person.title matches "a+b")`, strings.Repeat("aaaaaaaa ", 999), "it makes or searches more than 1024 KiB of text for this person"},
		"mixed":     {`first([1, "x"]) + person.title`, "a", "it adds what cannot be added"},
		"cutset":    {`trim(person.title, person.title)`, strings.Repeat("ab", 50), "it trims more kinds of characters than it may"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := expression.Compile(tt.source, fields)
			if err != nil {
				t.Fatal(err)
			}
			p.Bind(personColumns, recordColumns, now)
			row := slices.Clone(ada)
			row[4] = tt.title
			_, err = p.Eval(row, nil)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if got, err := p.Eval(ada, nil); name == "doubling" && (err != nil || len(got.Text) != 32*len(ada[4])) {
				t.Errorf("the next person: %+v, %v", got, err) // the budget is each person's own
			}
		})
	}
}

// pieces are what expressions are made of, right and wrong.
var pieces = []string{
	"person.title", "person.first_name", "record.Title", "person.attributes.level", "person", "record", "now", "$env", "nil", "true", "1", "0", "1.5", `"x"`, `""`, `";"`,
	" + ", " - ", " * ", " / ", " % ", " ** ", " == ", " != ", " < ", " and ", " or ", "not ", " ? ", " : ", " ?? ", "..", " in ", " matches ", " contains ", " startsWith ",
	"(", ")", "[", "]", "{", "}", ",", ".", "#", "|", "let a = ", "; ", "a", "?.", "split(", "join(", "map(", "filter(", "any(", "upper(", "trim(", "replace(", "int(", "date(",
	"duration(", "len(", "string(", "coalesce(", "first(", "reduce(", "repeat(", "now.Year()", "timezone(", "max(", "take(", "if ", " else ", "\n", "\\", "`", "'", "\x00", "é",
}

func TestNoExpressionPanics(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		source := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 14).Draw(t, "source"), "")
		evaluate(t, source, rapid.String().Draw(t, "title"))
	})
}

type failer interface{ Errorf(string, ...any) }

// evaluate asserts what holds for every expression and every person.
func evaluate(t failer, source, title string) {
	p, err := expression.Compile(source, fields)
	if err != nil {
		if err.Error() == "" {
			t.Errorf("%q is refused without a word", source)
		}
		return
	}
	for _, name := range p.Person() {
		if !slices.Contains(fields.Person, name) {
			t.Errorf("%q reads %s", source, name)
		}
	}
	p.Bind(personColumns, recordColumns, now)
	row := slices.Clone(ada)
	row[4] = title
	first, err := p.Eval(row, record)
	if err != nil && (err.Error() == "" || !utf8.ValidString(err.Error())) {
		t.Errorf("%q fails with %q", source, err)
	}
	if second, again := p.Eval(row, record); second != first || (err == nil) != (again == nil) {
		t.Errorf("%q gives %+v, %v and then %+v, %v", source, first, err, second, again)
	}
	if len(first.Text) > expression.MaxText {
		t.Errorf("%q gives %d bytes", source, len(first.Text))
	}
}

func FuzzExpression(f *testing.F) {
	for _, source := range []string{
		`person.first_name + " " + person.last_name`, `any(split(person.groups, ";"), # == "x")`, `{"a": "b"}[person.title]`, `let a = person.title; a + a`,
		`int(person.title) % 0`, `date(person.title).Format("2006")`, `person.title[1:2]`, `1 ** 1000`, `((((`, `person?.title?.x`, `[1,2,3][-1]`, `"\xff"`, `now - now`,
	} {
		f.Add(source, "title")
	}
	f.Fuzz(func(t *testing.T, source, title string) { evaluate(t, source, title) })
}

func TestDomain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", " Ada@Example.COM ": "example.com", "https://www.Example.com/about?x=1": "example.com", "example.com:8080/x": "example.com",
		"http://user:pw@example.com": "example.com", "www.example.co.uk.": "example.co.uk", "no domain": "", "Example": "example",
	} {
		if got := expression.Domain(in); got != want {
			t.Errorf("Domain(%s) = %q, want %q", strconv.Quote(in), got, want)
		}
	}
}

// The examples of the mapper's page can be saved.
func TestExamplesOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "### Expressions")
	_, after, _ = strings.Cut(after, "\n```\n")
	examples, _, found := strings.Cut(after, "\n```\n")
	if !found || strings.Count(examples, "\n") < 4 {
		t.Fatalf("there are no examples: %q", examples)
	}
	for example := range strings.Lines(examples) {
		p, err := expression.Compile(strings.TrimSpace(example), fields)
		if err != nil {
			t.Errorf("%s: %v", example, err)
			continue
		}
		p.Bind(personColumns, recordColumns, now)
		if _, err := p.Eval(ada, record); err != nil {
			t.Errorf("%s: %v", example, err)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	p, err := expression.Compile(`person.first_name + " " + person.last_name`, fields)
	if err != nil {
		b.Fatal(err)
	}
	p.Bind(personColumns, recordColumns, now)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Eval(ada, record); err != nil {
			b.Fatal(err)
		}
	}
}
