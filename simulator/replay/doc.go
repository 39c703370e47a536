// Package replay holds no code: its tests make the requests that captured replies of real orgs answer, and compare what
// the simulator answers with what the orgs did.
//
// The captures are no part of the repository. They are looked for in the folder that CATALOGSYNC_WIRE names, else in
// shared/wire beside the repository's root. Where there is no such folder, the test says so and passes.
package replay
