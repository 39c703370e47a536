package salesforce

import (
	"net/http"

	"github.com/catalogsync/catalogsync/internal/egress"
)

// NewHTTPClient returns the HTTP client for calls of an org's data API. It refuses hosts that policy does not admit, checks
// the final address after resolution (public unicast only, except for the policy's development origins), follows no
// redirect, keeps no cookies and ignores proxy settings of the environment. Bodies are read as streams, under limits of
// whoever reads them.
func NewHTTPClient(policy HostPolicy) *http.Client { return egress.NewClient(policy.Egress()) }

// maxOAuthBytes is the longest answer of an OAuth endpoint that is read.
const maxOAuthBytes = 1 << 20

// NewOAuthClient is [NewHTTPClient] for token endpoints, whose answers are short.
func NewOAuthClient(policy HostPolicy) *http.Client {
	o := policy.Egress()
	o.MaxResponseBytes = maxOAuthBytes
	return egress.NewClient(o)
}

// Egress is what the policy says to whoever sends.
func (p HostPolicy) Egress() egress.Options {
	return egress.Options{Admit: p.checkHost, DevOrigins: p.AllowDev}
}
