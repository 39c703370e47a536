// Package conformance holds no code: its tests run Salesforce clients that others wrote against the simulator.
//
//	make clients        (go-salesforce, and jsforce from npm)
//	make conformance    (the sf CLI and sfdmu as well: these are large and are installed once into the user's cache)
//
// jsforce, the sf CLI and sfdmu need Node.js and npm. Where they are missing the tests say so and are left out, unless CI
// is set: then they fail. The sf CLI needs Node.js 22, which on Linux is installed with it from npm.
package conformance
