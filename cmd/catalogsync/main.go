// Command catalogsync keeps Salesforce in step with a Catalog. It runs the services in one process, shows how that
// works, and is the command line of the gateway: see `catalogsync --help`.
package main

import (
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/cli"
	"github.com/catalogsync/catalogsync/internal/app"
)

func main() { app.Main("catalogsync", cli.Run) }
