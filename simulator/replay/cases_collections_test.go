package replay_test

import "strings"

// request is the captured body of the request that a reply answers, with the ids of the captured org replaced.
func (o *org) request(file string, ids ...string) string {
	o.t.Helper()
	body := o.capture(file)
	for i := 0; i < len(ids); i += 2 {
		body = strings.ReplaceAll(body, ids[i], ids[i+1])
	}
	return body
}

func collectionCases() []replay {
	post := func(body string) func(*org, *node) reply {
		return func(o *org, _ *node) reply { return o.do("POST", "composite/sobjects", body) }
	}
	contact := func(id, rest string) string {
		return `{"attributes":{"type":"Contact"},"id":"` + id + `",` + rest + `}`
	}
	return []replay{
		{file: "collections/composite-batch-limits-and-describe-v57.json", version: "57.0", shape: true, ask: func(o *org, _ *node) reply {
			return o.do("POST", "composite/batch", `{"batchRequests":[{"method":"GET","url":"v57.0/limits"},{"method":"GET","url":"v57.0/sobjects/Account/describe"}]}`)
		}, meant: []meant{
			{"$.results[0].result: has PlatformEventTriggersWithParallelProcessing", "a limit that is newer than the capture"},
			{"$.results[1].result.fields: has *", "cut by the authors of the source to two"},
			{"$.results[1].result.childRelationships: *", "the same"},
		}},
		{file: "collections/composite-four-queries.json", ask: func(o *org, _ *node) reply {
			o.create("Account", "Name", "Smith Corp.")
			q := func(f string) string { return "query?q=SELECT+" + f + "+FROM+Account" }
			return o.composite("CCI__RefId__0__", q("Id"), "CCI__RefId__1__", q("Name"), "CCI__RefId__2__", q("Id"), "CCI__RefId__3__", q("Name"))
		}},
		{file: "collections/composite-graph-v66.json", version: "66.0", ask: func(o *org, _ *node) reply {
			return o.do("POST", "composite/graph", `{"graphs":[{"graphId":"test1","compositeRequest":[{"method":"POST","url":"/services/data/v66.0/sobjects/Account","referenceId":"newAccount","body":{"Name":"x"}}]}]}`)
		}},
		{file: "collections/composite-subrequest-304.json", version: "49.0", shape: true, ask: func(o *org, _ *node) reply {
			at := o.get("sobjects").header.Get("Last-Modified")
			one := func(n string) string {
				return `{"method":"GET","url":"/services/data/v49.0/sobjects","referenceId":"CCI__RefId__` + n + `__","httpHeaders":{"If-Modified-Since":"` + at + `"}}`
			}
			return o.do("POST", "composite", `{"compositeRequest":[`+one("0")+","+one("1")+","+one("2")+`]}`)
		}},
		{file: "collections/composite-subrequest-404.json", ask: func(o *org, _ *node) reply { return o.composite("CCI__RefId__0__", "sobjects/Foo") }},
		{file: "collections/create-all-or-none-rolled-back.json", ask: post(`{"allOrNone":true,"records":[{"attributes":{"type":"Contact"}},{"attributes":{"type":"Contact"},"LastName":"x"}]}`)},
		{file: "collections/create-no-records-400.json", status: 400, ask: post(`{"records":[]}`)},
		{file: "collections/create-required-field-missing-v42.json", version: "42.0", ask: func(o *org, _ *node) reply {
			return o.do("POST", "composite/sobjects", o.request("collections/create-required-field-missing-v42.request.json"))
		}},
		{file: "collections/create-success-v63.json", version: "63.0", ask: post(`{"records":[{"attributes":{"type":"Account"},"Name":"x"}]}`)},
		{file: "collections/create-two-contacts.json", ask: func(o *org, _ *node) reply {
			return o.do("POST", "composite/sobjects", o.request("collections/create-two-contacts.request.json"))
		}},
		{file: "collections/delete-all-or-none-v42.json", version: "42.0", ask: func(o *org, _ *node) reply { return o.removeAccounts(3, "true") }},
		{file: "collections/delete-success-v66.json", version: "66.0", ask: func(o *org, _ *node) reply { return o.removeAccounts(2, "false") }},
		{file: "collections/update-all-or-none-unknown-field.json", ask: func(o *org, _ *node) reply {
			a, b := o.create("Contact", "LastName", "a"), o.create("Contact", "LastName", "b")
			return o.do("PATCH", "composite/sobjects", `{"allOrNone":true,"records":[`+contact(a, `"LastName":"x"`)+","+contact(b, `"unknownField_LastName":"y"`)+`]}`)
		}},
		{file: "collections/update-converted-lead-v42.json", version: "42.0", ask: func(o *org, _ *node) reply {
			id := o.create("Lead", "LastName", "x", "Company", "y")
			if _, err := o.ConvertLead(id); err != nil {
				o.t.Fatal(err)
			}
			return o.do("PATCH", "composite/sobjects", o.request("collections/update-converted-lead-v42.request.json", "00Q4S000002sSacUAE", id))
		}},
		{file: "collections/update-invalid-cross-reference-v59.json", version: "59.0", ask: func(o *org, _ *node) reply {
			return o.do("PATCH", "composite/sobjects", `{"records":[{"attributes":{"type":"Account"},"id":"001dM00003kREKdQAO","Name":"x"}]}`)
		}},
		{file: "collections/update-partial-invalid-email-v42.json", version: "42.0", ask: func(o *org, _ *node) reply {
			r := o.do("POST", "/services/data/v60.0/tooling/sobjects/CustomField", `{"FullName":"Account.email_field__c","Metadata":{"type":"Email","label":"email_field"}}`)
			o.grantField("Account.email_field__c")
			if r.status != 201 {
				o.t.Fatal(r.body)
			}
			a, b := o.create("Account", "Name", "a"), o.create("Account", "Name", "b")
			return o.do("PATCH", "composite/sobjects", o.request("collections/update-partial-invalid-email-v42.request.json", "0014S000007NxmlQAC", a, "0014S000007Nx5BQAS", b))
		}},
		{file: "collections/update-two-contacts.json", ask: func(o *org, _ *node) reply {
			a, b := o.create("Contact", "LastName", "a"), o.create("Contact", "LastName", "b")
			return o.do("PATCH", "composite/sobjects", o.request("collections/update-two-contacts.request.json", "003ak00000jvIfpAAE", a, "003ak00000jvIfqAAE", b))
		}},
		{file: "collections/update-without-ids.json", ask: func(o *org, _ *node) reply {
			return o.do("PATCH", "composite/sobjects", `{"records":[{"attributes":{"type":"Contact"},"LastName":"a"},{"attributes":{"type":"Contact"},"LastName":"b"}]}`)
		}},
		{file: "collections/upsert-by-id-created.json", ask: func(o *org, _ *node) reply {
			one := `{"attributes":{"type":"Contact"},"Id":null,"LastName":"x"}`
			return o.do("PATCH", "composite/sobjects/Contact/Id", `{"records":[`+one+","+one+","+one+`]}`)
		}},
		{file: "collections/upsert-json-parser-error-v63.json", version: "63.0", ask: func(o *org, _ *node) reply {
			return o.do("PATCH", "composite/sobjects/Account/Id", `{"records":[{"Name":"x"}]}`)
		}},
	}
}

func (o *org) removeAccounts(n int, allOrNone string) reply {
	o.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = o.create("Account", "Name", "a")
	}
	return o.do("DELETE", "composite/sobjects?ids="+strings.Join(ids, ",")+"&allOrNone="+allOrNone, "")
}

// grantField lets the admin see and write a custom field.
func (o *org) grantField(name string) {
	o.t.Helper()
	object, _, _ := strings.Cut(name, ".")
	set := parse(o.t, "permission sets", o.query("SELECT Id FROM PermissionSet WHERE Name = 'Catalog_Integration'").body).at("records", 0, "Id").text
	r := o.do("POST", "sobjects/FieldPermissions", `{"ParentId":"`+set+`","SobjectType":"`+object+`","Field":"`+name+`","PermissionsRead":true,"PermissionsEdit":true}`)
	if r.status != 201 {
		o.t.Fatalf("field permissions: %d %s", r.status, r.body)
	}
}
