package doctor_test

import "github.com/catalogsync/catalogsync/simulator/fault"

// refuseTooling answers like an org whose user may not make fields.
var refuseTooling = fault.Rule{
	Kind: fault.Error, Method: "POST", Path: "/tooling/sobjects/CustomField", Status: 400, Code: "INSUFFICIENT_ACCESS_OR_READONLY", Message: "insufficient access rights on entity: CustomField",
}
