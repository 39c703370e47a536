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

func describeCases() []replay {
	return []replay{
		{file: "describe/account-v42.json", version: "42.0", ask: describe("sobjects/Account/describe")},
		{file: "describe/account-v48.json", version: "48.0", ask: describe("sobjects/Account/describe")},
		{file: "describe/account-v58.json", version: "58.0", ask: describe("sobjects/Account/describe")},
		{file: "describe/contact-v42.json", version: "42.0", ask: describe("sobjects/Contact/describe")},
		{file: "describe/contact.json", version: "59.0", ask: describe("sobjects/Contact/describe")},
		{file: "describe/lead-v42.json", version: "42.0", ask: describe("sobjects/Lead/describe")},
		{file: "describe/lead-v59.json", version: "59.0", ask: describe("sobjects/Lead/describe")},
		{file: "describe/campaign-v42.json", version: "42.0", ask: describe("sobjects/Campaign/describe")},
		{file: "describe/opportunity.json", version: "59.0", ask: describe("sobjects/Opportunity/describe")},
		{file: "describe/global-v59.json", version: "59.0", ask: describe("sobjects")},
		{file: "describe/sobject-basic-info-account-v63.json", version: "63.0", ask: describe("sobjects/Account")},
		{file: "describe/user-five-fields-v42.json", version: "42.0", ask: describe("sobjects/User/describe")},
		{file: "describe/user-partial-2026.json", options: simulator.Options{StateCountryPicklists: true}, ask: describe("sobjects/User/describe")},
	}
}
