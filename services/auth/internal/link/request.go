package link

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

// Limits of what a person types.
const (
	maxName       = 80
	maxCompanies  = 50
	maxCredential = 4096
	maxKey        = 16 << 10
)

// Request names the org and how to sign in to it.
type Request struct {
	Tenant string
	// Name is for people; the connection's present one, or "Salesforce", where empty.
	Name string
	// Host is what a person gave; see [Origin].
	Host string
	Flow connection.Flow
	// Credentials are those of the flow, as far as a person gave them.
	Credentials connection.Credentials
	// SigningKey is the id of the key to sign with, in place of Credentials.PrivateKey.
	SigningKey   string
	Purpose      connection.Purpose
	CompanyNames []string
	Terms        connection.Terms
}

// clean trims what was pasted and reports everything that is wrong with it.
func (r *Request) clean() error {
	r.Host = strings.TrimSpace(r.Host)
	c := &r.Credentials
	c.ClientID, c.Username, c.Audience = strings.TrimSpace(c.ClientID), strings.TrimSpace(c.Username), strings.TrimSpace(c.Audience)
	c.ClientSecret = config.NewSecret(strings.TrimSpace(c.ClientSecret.Expose()))
	c.PrivateKey = config.NewSecret(strings.TrimSpace(c.PrivateKey.Expose()))
	problems := CleanNames(&r.Name, &r.CompanyNames)
	if r.Purpose == "" {
		r.Purpose = connection.WriteTarget
	}
	missing := func(value, field, advice string) {
		switch {
		case value == "":
			problems = append(problems, field+" is missing: "+advice)
		case len(value) > maxCredential:
			problems = append(problems, fmt.Sprintf("%s has %d bytes: at most %d", field, len(value), maxCredential))
		}
	}
	if r.Flow != connection.WebServer {
		if r.Host == "" && r.Terms.Reconnect == "" {
			problems = append(problems, "host is missing: give the org's My Domain, such as acme.my.salesforce.com (Setup > My Domain)")
		}
		missing(c.ClientID, "client_id", "copy the app's consumer key from its OAuth settings")
	}
	switch r.Flow {
	case connection.ClientCredentials:
		missing(c.ClientSecret.Expose(), "client_secret", "copy the app's consumer secret from its OAuth settings")
	case connection.JWTBearer:
		missing(c.Username, "username", "give the username of the user to sign in as")
		problems = append(problems, r.checkKey()...)
	}
	if problems != nil {
		return errs.New(errs.Invalid, "invalid_link_request", "%s", strings.Join(problems, "; "))
	}
	return nil
}

// checkKey reports what is wrong with what a JWT is to be signed with.
func (r *Request) checkKey() []string {
	key := r.Credentials.PrivateKey
	switch given := !key.IsZero(); {
	case given && r.SigningKey != "":
		return []string{"private_key_pem and signing_key_id are both set: set one of them"}
	case !given && r.SigningKey == "":
		return []string{"there is no key to sign with: set private_key_pem, or signing_key_id to a key of CreateSigningKey"}
	case len(key.Expose()) > maxKey:
		return []string{fmt.Sprintf("private_key_pem has %d bytes: at most %d", len(key.Expose()), maxKey)}
	case given:
		if _, err := oauth.ParsePrivateKey(key); err != nil {
			return []string{"private_key_pem: " + err.Error()}
		}
	}
	return nil
}

// origin checks the host, or the one that is meant where none is given.
func (r *Request) origin(policy salesforce.HostPolicy, otherwise string) (string, error) {
	host := r.Host
	if host == "" {
		host = otherwise
	}
	if a := r.Credentials.Audience; a != "" {
		origin, err := policy.Check(a)
		if err != nil {
			return "", errs.New(errs.Invalid, "audience_refused", "audience is refused: it must be the origin of a Salesforce host, such as https://login.salesforce.com")
		}
		r.Credentials.Audience = origin.String()
	}
	return Origin(policy, host)
}

// CleanNames trims the names that an admin gives and says what is wrong with them.
func CleanNames(name *string, companies *[]string) (problems []string) {
	tooLong := func(field, s string) {
		if n := utf8.RuneCountInString(s); n > maxName {
			problems = append(problems, fmt.Sprintf("%s has %d characters: at most %d", field, n, maxName))
		} else if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			problems = append(problems, field+" holds control characters")
		}
	}
	*name = strings.TrimSpace(*name)
	tooLong("name", *name)
	var clean []string
	for _, c := range *companies {
		if c = strings.TrimSpace(c); c != "" && !slices.Contains(clean, c) {
			tooLong("a company name", c)
			clean = append(clean, c)
		}
	}
	if len(clean) > maxCompanies {
		problems = append(problems, fmt.Sprintf("there are %d company names: at most %d", len(clean), maxCompanies))
	}
	*companies = clean
	return problems
}
