package salesforce

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/internal/egress"
)

// HostPolicy says which origins may be called with a customer's credentials. The zero value admits
// Salesforce's own login and My Domain hosts and nothing else.
type HostPolicy struct {
	// AllowDev lists further origins, for example "http://127.0.0.1:8089" of a simulator. A development
	// setting: it is compared as a whole and its address is not checked.
	AllowDev []string
	// AllowGov admits the military cloud (.my.salesforce.mil) and China (.my.sfcrmproducts.cn).
	AllowGov bool
}

// Validate reports entries of AllowDev that are no origins and so would admit nothing.
func (p HostPolicy) Validate() error {
	var errs []error
	for _, raw := range p.AllowDev {
		if _, err := egress.ParseOrigin(raw); err != nil {
			errs = append(errs, fmt.Errorf("development origin %q: %w", raw, err))
		}
	}
	return errors.Join(errs...)
}

// Check returns the normalised origin (scheme, lower-case host, port only when it is not the default) or
// an error that says which rule it breaks. An origin that comes from a person, a token response or a
// reply passes through here before anything is sent to it.
func (p HostPolicy) Check(rawOrigin string) (*url.URL, error) {
	u, err := egress.ParseOrigin(rawOrigin)
	if err != nil {
		return nil, fmt.Errorf("salesforce origin: %w", err)
	}
	if p.isDev(u) {
		return u, nil
	}
	if err := p.check(u); err != nil {
		return nil, fmt.Errorf("salesforce origin: %w", err)
	}
	return u, nil
}

func (p HostPolicy) isDev(u *url.URL) bool {
	return slices.ContainsFunc(p.AllowDev, func(raw string) bool {
		d, err := egress.ParseOrigin(raw)
		return err == nil && *d == *u
	})
}

func (p HostPolicy) check(u *url.URL) error {
	if u.Scheme != "https" {
		return fmt.Errorf("scheme %q is not https", u.Scheme)
	}
	if port := u.Port(); port != "" {
		return fmt.Errorf("port %s is not 443", port)
	}
	return p.checkHost(u.Hostname())
}

// checkHost says what is wrong with the host of an origin.
func (p HostPolicy) checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return errors.New("it is an address, not a host name")
	}
	if strings.HasSuffix(host, ".") {
		return errors.New("its host ends in a dot")
	}
	if host == "login.salesforce.com" || host == "test.salesforce.com" {
		return nil
	}
	suffixes := []string{".my.salesforce.com"}
	if p.AllowGov {
		suffixes = append(suffixes, ".my.salesforce.mil", ".my.sfcrmproducts.cn")
	}
	for _, suffix := range suffixes {
		if rest, ok := strings.CutSuffix(host, suffix); ok && labelsAreValid(rest) {
			return nil
		}
	}
	return fmt.Errorf("host %q is not a Salesforce My Domain host (<name>.my.salesforce.com) or login host", host)
}

func labelsAreValid(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			b := label[i]
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
				return false
			}
		}
	}
	return true
}

// within resolves a URL that a reply holds (nextRecordsUrl, resultUrl) against the origin. It must stay on
// the origin and inside the data API, or the token could be sent anywhere.
func within(origin *url.URL, ref string) (*url.URL, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return nil, errors.New("a link in the reply is no URL")
	}
	if u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("a link in the reply is not a plain path")
	}
	r := origin.ResolveReference(u)
	if r.Scheme != origin.Scheme || !strings.EqualFold(r.Host, origin.Host) {
		return nil, fmt.Errorf("a link in the reply leads to another origin, %s://%s", r.Scheme, r.Host)
	}
	if !strings.HasPrefix(r.Path, "/services/data/v") || strings.Contains(r.Path, "..") {
		return nil, errors.New("a link in the reply leaves the data API")
	}
	return r, nil
}
