package replay_test

import (
	"net/url"

	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// errorCases are refusals of single requests.
func errorCases() []replay {
	query := func(q string) func(*org, *node) reply {
		return func(o *org, _ *node) reply { return o.query(q) }
	}
	post := func(object, body string) func(*org, *node) reply {
		return func(o *org, _ *node) reply { return o.do("POST", "sobjects/"+object, body) }
	}
	return []replay{
		{file: "errors/composite-400-foreign-key-not-found.json", ask: func(o *org, _ *node) reply {
			one := `{"method":"POST","url":"/services/data/v60.0/sobjects/Contact","referenceId":"NewPayment1","body":{"LastName":"a"}}`
			two := `{"method":"POST","url":"/services/data/v60.0/sobjects/Contact","referenceId":"NewPayment2","body":{"LastName":"b","ReportsTo":{"CatalogUserId__c":"0116"}}}`
			return o.do("POST", "composite", `{"allOrNone":true,"compositeRequest":[`+one+`,`+two+`]}`)
		}, meant: []meant{{
			`$.compositeResponse[1].body[0].message: is "Foreign key external ID: 0116 not found for field CatalogUserId__c in entity Contact", captured *`, "the captured org had another object with a key",
		}}},
		{file: "errors/create-400-duplicate-value-permission-set-assignment.json", status: 400, ask: func(o *org, _ *node) reply {
			id := parse(o.t, "permission sets", o.query("SELECT Id FROM PermissionSet WHERE Name = 'Catalog_Integration'").body).at("records", 0, "Id").text
			return o.do("POST", "sobjects/PermissionSetAssignment", `{"AssigneeId":"`+o.UserID()+`","PermissionSetId":"`+id+`"}`)
		}},
		{file: "errors/create-400-invalid-email-address.json", status: 400, ask: post("Contact", `{"LastName":"x","Email":"not an email"}`)},
		{file: "errors/create-400-invalid-field-for-insert-update.json", status: 400, ask: post("Contact", `{"LastName":"x","MasterRecordId":null}`)},
		{
			file: "errors/create-400-string-too-long.json", status: 400, ask: post("Account", `{"Name":"x","AccountNumber":"NOWELLPOINT_OPPORTUNITY_PUSH_TOPIC_NAME_LONG"}`),
			meant: []meant{
				{`$[0].message: is "Account Number: data value too large: * (max length=40)", captured *`, "the captured org refused a PushTopic, which the simulator does not have"},
				{`$[0].fields[0]: is "AccountNumber", captured "Name"`, "the same"},
			},
		},
		{file: "errors/delete-404-entity-is-deleted.json", status: 404, ask: func(o *org, _ *node) reply {
			id := o.create("Contact", "LastName", "x")
			o.do("DELETE", "sobjects/Contact/"+id, "")
			return o.do("DELETE", "sobjects/Contact/"+id, "")
		}},
		{file: "errors/duplicates-detected-contact-v54.json", version: "54.0", status: 400, ask: duplicates("Contact", simulator.StandardDuplicateRules()["Contact"], `"LastName":"x","FirstName":"y","Email":"a@example.com"`)},
		{file: "errors/duplicates-detected-account-v56-pt.json", version: "56.0", status: 400, ask: duplicates("Account", simulator.DuplicateRule{
			Name: "Contas", MatchRule: "Contas_regra_de_correspond_ncia_17_06_21", Engine: "ExactMatchEngine", Fields: []string{"Name"}, Message: "Usar um desses registros?", Block: true,
		}, `"Name":"x"`)},
		{file: "errors/query-400-aggregate-exceeded-id-limit.json", status: 400, options: simulator.Options{SeedRecords: map[string]int{"Contact": 2001}}, ask: query("SELECT COUNT(Id) FROM Contact GROUP BY Email")},
		{file: "errors/query-400-malformed-query-empty-q.json", status: 400, ask: query("")},
		{file: "errors/query-400-malformed-query-missing-q.json", status: 400, ask: func(o *org, _ *node) reply { return o.get("query") }},
		{file: "errors/query-400-malformed-query-token.json", status: 400, ask: query("invalid")},
		{file: "errors/query-400-unknown-object.json", status: 400, ask: query("SELECT Id,Name,BillingCity,IsDeleted FROM Accout")},
		{file: "errors/retrieve-404-not-found.json", status: 404, ask: func(o *org, _ *node) reply {
			id := o.create("Contact", "LastName", "x")
			o.do("DELETE", "sobjects/Contact/"+id, "")
			return o.get("sobjects/Contact/" + id)
		}},
		{
			file: "errors/search-400-malformed-search.json", status: 400,
			ask: func(o *org, _ *node) reply { return o.get("search?q=" + url.QueryEscape("FIND bobber")) },
		},
		{
			file: "errors/search-400-malformed-search-position.json", status: 400,
			ask: func(o *org, _ *node) reply {
				return o.get("search?q=" + url.QueryEscape("FIND {John|jane_gray@example.com} RETURNING Contact"))
			},
		},
		{file: "errors/unknown-field-400.json", status: 400, ask: query("SELECT AccountNumer FROM Account"), meant: []meant{{
			"$[0].message: is * captured \"No such column 'AccountNumer' on sobject of type Account\"", "shortened by its source: a query's refusal has the caret block and says entity",
		}}},
		{file: "errors/upsert-404-unknown-external-id-field.json", status: 404, ask: func(o *org, _ *node) reply {
			return o.do("PATCH", "sobjects/Account/Namez/x", `{"Name":"x"}`)
		}},
		{file: "errors/write-400-no-such-column.json", status: 400, ask: post("Contact", `{"LastName":"x","foo":"y"}`), meant: []meant{{
			"$[0].message: is \"No such column 'foo' on sobject of type Contact\", captured *", "the captured org's object has another name",
		}}},
		{file: "errors/update-400-unable-to-lock-row.json", status: 400, ask: func(o *org, _ *node) reply {
			id := o.create("Account", "Name", "a")
			o.Faults().MustAdd(fault.Rule{Kind: fault.LockRow, Path: "Account"})
			return o.do("PATCH", "sobjects/Account/"+id, `{"Name":"b"}`)
		}, meant: []meant{{"$[0].message: is * captured *", "the id is masked with letters in the capture"}}},
		{file: "oauth/error-retry-request.json", status: 400, ask: func(o *org, _ *node) reply {
			o.SetLoginPolicy(simulator.LoginPolicy{Collide: 1})
			return o.grant()
		}},
		{file: "sobjects/upsert-300-multiple-choices.json", version: "47.0", status: 300, shape: true, ask: func(o *org, _ *node) reply {
			o.create("Contact", "LastName", "a", "Email", "two@example.com")
			o.create("Contact", "LastName", "b", "Email", "two@example.com")
			return o.do("PATCH", "sobjects/Contact/Email/two@example.com", `{"LastName":"c"}`)
		}},
	}
}

// duplicates creates the same record twice under a rule.
func duplicates(object string, rule simulator.DuplicateRule, fields string) func(*org, *node) reply {
	return func(o *org, _ *node) reply {
		if err := o.SetDuplicateRules(map[string]simulator.DuplicateRule{object: rule}); err != nil {
			o.t.Fatal(err)
		}
		o.do("POST", "sobjects/"+object, "{"+fields+"}")
		return o.do("POST", "sobjects/"+object, "{"+fields+"}")
	}
}
