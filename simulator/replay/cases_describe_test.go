package replay_test

import "github.com/catalogsync/catalogsync/simulator"

// cases is the whole table.
func cases() []replay {
	var all []replay
	for _, part := range [][]replay{loginCases(), errorCases(), queryCases(), recordCases(), collectionCases(), jobCases(), describeCases()} {
		all = append(all, part...)
	}
	return all
}

func describe(path string) func(*org, *node) reply {
	return func(o *org, _ *node) reply { return o.get(path) }
}

// Differences that every describe has from a captured one.
var (
	custom   = meant{"$.fields: lacks *__c", "custom fields of the captured org"}
	children = meant{"$.childRelationships: lacks *", "objects that the simulator does not have"}
	key      = meant{"$.fields: has CatalogUserId__c", "the simulated org's own custom field"}
	labels   = meant{`$.fields[*GeocodeAccuracy].picklistValues[*].label: is "*", captured "*"`, "newer orgs label these values with two words"}
)

func describeCases() []replay {
	return []replay{
		{file: "describe/account-v42.json", version: "42.0", ask: describe("sobjects/Account/describe"), meant: []meant{custom, children, labels}},
		{
			file: "describe/account-v48.json", version: "48.0", options: simulator.Options{RecordTypes: []string{"Account.Household"}}, ask: describe("sobjects/Account/describe"),
			meant: []meant{
				custom, children, labels,
				{"$.fields: lacks IsPartner", "an org with partner accounts"},
				{"$.fields: lacks IsCustomerPortal", "an org with a customer portal"},
				{"$.fields: lacks ChannelProgram*", "an org with partner accounts"},
				{"$.recordTypeInfos[*].defaultRecordTypeMapping: is *", "which record type is a profile's default is a setting that the simulator does not have: it is the master"},
				{"$.urls: lacks defaultValues", "not there in any other capture, before or after"},
			},
		},
		{
			file: "describe/account-v58.json", version: "58.0", options: simulator.Options{StateCountryPicklists: true}, ask: describe("sobjects/Account/describe"),
			meant: []meant{
				custom, children,
				{"$.fields[*Code].picklistValues: *", "the simulator has fewer states and countries"},
				{"$.fields[*Code].picklistValues[*", "which state belongs to which country is not modelled"},
				{"$.fields[*StateCode].controllerName: *", "the same"},
				{"$.fields[*StateCode].dependentPicklist: *", "the same"},
			},
		},
		{file: "describe/contact-v42.json", version: "42.0", ask: describe("sobjects/Contact/describe"), meant: []meant{
			custom, children, key, {"$.childRelationships: has Opportunity.ContactId", "newer than the capture"},
		}},
		{file: "describe/contact.json", version: "59.0", ask: describe("sobjects/Contact/describe"), meant: []meant{children, key}},
		{file: "describe/lead-v42.json", version: "42.0", ask: describe("sobjects/Lead/describe"), meant: []meant{
			custom, children, {"$.fields[Salutation].picklistValues: has Mx.", "newer orgs start with this value"},
		}},
		{file: "describe/lead-v59.json", version: "59.0", ask: describe("sobjects/Lead/describe"), meant: []meant{children}},
		{file: "describe/campaign-v42.json", version: "42.0", ask: describe("sobjects/Campaign/describe"), meant: []meant{children}},
		{file: "describe/opportunity.json", version: "59.0", ask: describe("sobjects/Opportunity/describe"), meant: []meant{
			children, {"$.fields: has external_id__c", "the simulated org's own custom field"},
		}},
		{file: "describe/global-v59.json", version: "59.0", ask: describe("sobjects"), meant: []meant{
			{"$.sobjects: lacks *", "objects that the simulator does not have"},
			{`$.sobjects[Campaign].*able: is "true", captured "false"`, "the captured user is no marketing user and may only read campaigns"},
		}},
		{
			file: "describe/sobject-basic-info-account-v63.json", version: "63.0", ask: describe("sobjects/Account"),
			meant: []meant{{"$.recentItems: has 0 elements, captured 5", "what a user looked at is not kept"}},
		},
		{
			file: "describe/user-five-fields-v42.json", version: "42.0", partial: true, ask: describe("sobjects/User/describe"),
			meant: []meant{
				{"$.namedLayoutInfos: has 0 elements, captured 1", "the simulator has no layouts"},
				{"$.urls: lacks defaultValues", "not there in any other capture, before or after"},
			},
		},
		{
			file: "describe/user-partial-2026.json", partial: true, ask: describe("sobjects/User/describe"),
			meant: []meant{
				children,
				{"$: has childRelationships where the capture has fields", "the excerpt has another order"},
				{"$.fields[*].defaultValue: is bool false, captured null null", "the excerpt writes the default of a checkbox as null"},
				{"$.fields[OutOfOfficeMessage].aggregatable: is *", "no rule is known by which it is not"},
			},
		},
	}
}
