package simulator_test

import (
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

func TestSOQL(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	acme := o.create("Account", map[string]string{"Name": "Acme", "AnnualRevenue": "912260031", "NumberOfEmployees": "7"})
	o.create("Account", map[string]string{"Name": "Zeta", "AnnualRevenue": "5.5"})
	o.create("Contact", map[string]string{"LastName": "O'Brien", "FirstName": "Ann", "Email": "ann@example.com", "AccountId": acme, "Department": "Sales", "Birthdate": "1990-05-17", "CatalogUserId__c": "a"})
	o.create("Contact", map[string]string{"LastName": "Back\\slash", "FirstName": "Bo", "Department": "50%_off", "AccountId": acme})
	gone := o.create("Contact", map[string]string{"LastName": "Gone"})
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	o.create("Contact", map[string]string{"LastName": "Ümlaut 🎈", "Department": "sales"})
	names := func(q string) string {
		r := o.query(q)
		if r.status != 200 {
			return r.body
		}
		var out []string
		for _, part := range strings.Split(r.body, `"LastName":"`)[1:] {
			name, _, _ := strings.Cut(part, `"`)
			out = append(out, name)
		}
		return strings.Join(out, "|")
	}
	const from = "SELECT LastName FROM Contact "
	for _, c := range []struct{ where, want string }{
		{"", `O'Brien|Back\\slash|Ümlaut 🎈`},
		{`WHERE LastName = 'o\'brien'`, "O'Brien"},
		{`WHERE LastName = 'back\\slash'`, `Back\\slash`},
		{`WHERE LastName = '\u00dcmlaut \ud83c\udf88'`, `Ümlaut 🎈`},
		{`WHERE Department = 'SALES' ORDER BY LastName DESC NULLS LAST`, "Ümlaut 🎈|O'Brien"},
		{`WHERE Department LIKE '50\%\_%'`, `Back\\slash`},
		{`WHERE Department LIKE 's_l%'`, "O'Brien|Ümlaut 🎈"},
		{`WHERE Email = null AND AccountId != null`, `Back\\slash`},
		{`WHERE Email IN ('ANN@example.com', 'x')`, "O'Brien"},
		{`WHERE Email NOT IN ('ANN@example.com')`, `Back\\slash|Ümlaut 🎈`},
		{`WHERE NOT (Department = 'sales' OR FirstName = 'Bo')`, ""},
		{`WHERE (Department = 'sales' AND FirstName = 'Ann') OR FirstName = 'Bo'`, `O'Brien|Back\\slash`},
		{`WHERE Birthdate = 1990-05-17`, "O'Brien"},
		{`WHERE Birthdate > 1990-05-17`, ""},
		{`WHERE CreatedDate = TODAY AND SystemModstamp >= 2020-01-01T00:00:00Z`, `O'Brien|Back\\slash|Ümlaut 🎈`},
		{`WHERE CreatedDate < LAST_N_DAYS:3`, ""},
		{`WHERE LastModifiedDate > 2999-01-01T00:00:00.000+02:00`, ""},
		{`WHERE Account.Name = 'acme' AND CatalogUserId__c = 'A'`, "O'Brien"},
		{`WHERE AccountId IN (SELECT Id FROM Account WHERE NumberOfEmployees > 5)`, `O'Brien|Back\\slash`},
		{`WHERE Owner.Username LIKE 'admin%' LIMIT 1 OFFSET 1`, `Back\\slash`},
		{`USING SCOPE everything WHERE Id = '` + gone + `'`, ""},
		{`WHERE CALENDAR_YEAR(Birthdate) = 1990`, "O'Brien"},
		{`WHERE Id = '` + gone + `' ALL ROWS`, "Gone"},
		{`WHERE LastName = 'a' AND FirstName = 'b' OR Email = 'c'`, `*unexpected token: 'OR'","errorCode":"MALFORMED_QUERY"}]`},
		{`WHERE Birthdate = '1990-05-17'`, `*value of filter criterion for field 'Birthdate' must be of type date and should not be enclosed in quotes","errorCode":"INVALID_FIELD"}]`},
		{`WHERE LastName = 5`, `*value of filter criterion for field 'LastName' must be of type string and should be enclosed in quotes","errorCode":"INVALID_FIELD"}]`},
		{`WHERE Description = 'x'`, `*field 'Description' can not be filtered in a query call","errorCode":"INVALID_FIELD"}]`},
		{`WHERE LastName = 'x\q'`, `*Illegal character sequence '\\q' in string literal.","errorCode":"MALFORMED_QUERY"}]`},
		{`OFFSET 2001`, `[{"message":"Maximum SOQL offset allowed is 2000","errorCode":"NUMBER_OUTSIDE_VALID_RANGE"}]`},
		{`WHERE`, `*unexpected token: '<EOF>'","errorCode":"MALFORMED_QUERY"}]`},
	} {
		if got := names(from + c.where); !like(got, c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.where, got, c.want)
		}
	}
	for _, c := range []struct{ q, want string }{
		{"SELECT COUNT() FROM Contact", `{"totalSize":3,"done":true,"records":[]}`},
		{"select count(Id), count(email) e from contact", `{"totalSize":1,"done":true,"records":[{"attributes":{"type":"AggregateResult"},"expr0":3,"e":1}]}`},
		{"SELECT Department d, COUNT(Id) FROM Contact GROUP BY Department HAVING COUNT(Id) > 1", `{"totalSize":1,"done":true,"records":[{"attributes":{"type":"AggregateResult"},"d":"Sales","expr0":2}]}`},
		{"SELECT SUM(AnnualRevenue), MAX(Name) FROM Account", `{"totalSize":1,"done":true,"records":[{"attributes":{"type":"AggregateResult"},"expr0":9.12260037E8,"expr1":"Zeta"}]}`},
		{"SELECT Account.Name, Account.Owner.Alias FROM Contact WHERE LastName LIKE 'O%'", `{"totalSize":1,"done":true,"records":[{"attributes":{"type":"Contact","url":"*"},"Account":{"attributes":{"type":"Account","url":"*"},"Name":"Acme","Owner":{"attributes":{"type":"User","url":"*"},"Alias":"user"}}}]}`},
		{"SELECT Name, (SELECT FirstName FROM Contacts ORDER BY FirstName) FROM Account ORDER BY Name", `{"totalSize":2,"done":true,"records":[{*"Name":"Acme","Contacts":{"totalSize":2,"done":true,"records":[{*"FirstName":"Ann"},{*"FirstName":"Bo"}]}},{*"Name":"Zeta","Contacts":null}]}`},
		{"SELECT AnnualRevenue, NumberOfEmployees FROM Account WHERE AnnualRevenue >= 9e8", `{"totalSize":1,"done":true,"records":[{*"AnnualRevenue":9.12260031E8,"NumberOfEmployees":7}]}`},
		{"SELECT FIELDS(ALL) FROM Contact", `[{"message":"*","errorCode":"MALFORMED_QUERY"}]`},
		{"SELECT Id, Foo FROM Contact", `[{"message":"\nSELECT Id, Foo FROM Contact\n           ^\nERROR at Row:1:Column:12\nNo such column 'Foo' on entity 'Contact'.*","errorCode":"INVALID_FIELD"}]`},
		{"SELECT Id,LastModifiedById,CreatedDate,Name,IsDeleted FROM Contct", `[{"message":"\nCreatedDate,Name,IsDeleted FROM Contct\n                                ^\nERROR at Row:1:Column:60\nsObject type 'Contct' is not supported.*","errorCode":"INVALID_TYPE"}]`},
		{"select count() from XYZZY", `[{"message":"\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\nsObject type 'XYZZY' is not supported.*","errorCode":"INVALID_TYPE"}]`},
		{"", `[{"message":"SOQL statements cannot be empty or null","errorCode":"MALFORMED_QUERY"}]`},
		{"invalid", `[{"message":"unexpected token: 'invalid'","errorCode":"MALFORMED_QUERY"}]`},
	} {
		r := o.query(c.q)
		if !like(r.body, c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.q, r.body, c.want)
		}
	}
	o.want(o.do("GET", "/query", ""), 400, `[{"message":"A query string has to be specified","errorCode":"MALFORMED_QUERY"}]`)
	o.want(o.do("GET", "/queryAll?q=SELECT+COUNT()+FROM+Contact", ""), 200, `{"totalSize":4,"done":true,"records":[]}`)
	o.want(o.do("GET", "/query?columns=true&q=SELECT+Id,Account.Name+FROM+Contact", ""), 200, `{"columnMetadata":[{*"columnName":"Id",*"joinColumns":[{*"columnName":"Name"*`)
	o.want(o.do("GET", "/limits/recordCount?sObjects=Contact,Lead", ""), 200, `{"sObjects":[{"count":3,"name":"Contact"}]}`)
}
