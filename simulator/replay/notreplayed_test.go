package replay_test

// notReplayed are the captures that the simulator is not asked for, and why.
var notReplayed = []struct{ file, why string }{
	{"README.md", "the index of the folder"},
	{"*.request.json", "the body of a request; sent by the case of its reply"},
	{"oauth/soap-*", "the simulator has no SOAP"},
	{"bulk-v1/*", "the simulator has no Bulk API 1"},
}
