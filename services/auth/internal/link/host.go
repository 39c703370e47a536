package link

import (
	"errors"
	"strings"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// pages are the hosts of an org's user interface, which people copy out of the address line, and what takes the place of
// their ending in the host of the org's API.
var pages = []struct{ ui, api string }{
	{".lightning.force.com", ".my.salesforce.com"},
	{".my.salesforce-setup.com", ".my.salesforce.com"},
	{".lightning.crmforce.mil", ".my.salesforce.mil"},
	{".lightning.sfcrmapps.cn", ".my.sfcrmproducts.cn"},
}

// Origin makes the origin of what a person gives as the org's host: a bare host, an origin, or the address of a page of
// the org's user interface.
func Origin(policy salesforce.HostPolicy, raw string) (string, error) {
	s := strings.TrimSpace(raw)
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	scheme, rest, _ := strings.Cut(s, "://")
	host, _, _ := strings.Cut(rest, "/")
	host = strings.ToLower(host)
	for _, p := range pages {
		if domain, ok := strings.CutSuffix(host, p.ui); ok {
			s = scheme + "://" + domain + p.api
		}
	}
	u, err := policy.Check(s)
	if err != nil {
		rule := err
		if inner := errors.Unwrap(err); inner != nil {
			rule = inner
		}
		// What was given is not repeated: it may hold a password.
		return "", errs.New(errs.Invalid, "host_refused", "host is refused: %v. Give the org's My Domain, such as acme.my.salesforce.com (Setup > My Domain)", rule)
	}
	return u.String(), nil
}
