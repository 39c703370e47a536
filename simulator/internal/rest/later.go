package rest

import (
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

func (a *API) composite(c *Call, path []string) {
	if len(path) > 0 && path[0] == "sobjects" {
		a.collections(c, path[1:])
		return
	}
	reply.NotFound(c.W)
}
func (a *API) analytics(c *Call, _ []string)                 { reply.NotFound(c.W) }
func (a *API) tooling(c *Call, _ []string)                   { reply.NotFound(c.W) }
func (a *API) replication(c *Call, _ *schema.Object, _ bool) { reply.NotFound(c.W) }
