// Package conformance holds no code: its tests run Salesforce clients that others wrote against the simulator.
//
//	cd simulator/conformance && GOWORK=off go test ./...
//
// jsforce needs Node and npm. Where they are missing its test says so and is left out, unless CI is set: then it fails.
package conformance
