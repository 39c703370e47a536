// Package conformance holds no code: its tests run Salesforce clients that others wrote against the simulator.
//
//	cd simulator/conformance && GOWORK=off go test ./...
//
//	GOWORK=off go test -tags large -timeout 20m ./...     (the sf CLI as well; it is large and needs Node.js 22)
//
// jsforce needs Node and npm. Where they are missing its test says so and is left out, unless CI is set: then it fails.
package conformance
