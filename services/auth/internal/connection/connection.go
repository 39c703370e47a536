// Package connection owns the links between tenants and orgs: what is known of each, where it stands, and the sealed
// credentials that belong to it.
//
// All connections of a tenant are one record, so that rules about several of them, such as one write target per
// tenant, are one compare-and-set. Credentials lie apart, one record per version, and are written before the
// connection that names the version.
package connection

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// State is where a connection stands.
type State string

// The states.
const (
	// Linking: consent is awaited.
	Linking State = "linking"
	// Linked: usable.
	Linked State = "linked"
	// NeedsReconnect: Salesforce refuses the credentials.
	NeedsReconnect State = "needs_reconnect"
	// Unlinked: ended by an admin.
	Unlinked State = "unlinked"
)

// Flow is how a connection gets its access tokens.
type Flow string

// The flows.
const (
	// ClientCredentials is the client credentials flow.
	ClientCredentials Flow = "client_credentials"
	// WebServer is the web server flow with PKCE.
	WebServer Flow = "web_server"
	// JWTBearer is the JWT bearer flow.
	JWTBearer Flow = "jwt_bearer"
)

// Purpose is what a connection is for.
type Purpose string

// The purposes.
const (
	// WriteTarget is the org that people are written to and imported from. A tenant has at most one.
	WriteTarget Purpose = "write_target"
	// Source is an org that is only read. A tenant has any number.
	Source Purpose = "source"
)

// Connection is the link of one tenant to one org.
type Connection struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	State  State  `json:"state"`
	// Reason says why the state is needs_reconnect, in words for the admin.
	Reason string `json:"reason,omitempty"`
	Flow   Flow   `json:"flow"`
	// Host is the origin at which tokens are asked for.
	Host string `json:"host"`
	// OrgID is the org, 18 characters.
	OrgID string `json:"org_id"`
	// InstanceURL is the origin of the org's API, as the last token response gave it.
	InstanceURL string `json:"instance_url"`
	// Username is the connected user's; empty when the org does not tell.
	Username string `json:"username,omitempty"`
	// UserID is the connected user, 18 characters.
	UserID   string    `json:"user_id"`
	LinkedAt time.Time `json:"linked_at"`
	// CredentialVersion names the sealed credentials in force.
	CredentialVersion int64 `json:"credential_version"`

	Purpose      Purpose  `json:"purpose,omitempty"`
	CompanyNames []string `json:"company_names,omitempty"`
	// OrgName is the org's My Domain host; empty when it has none or does not tell.
	OrgName string `json:"org_name,omitempty"`
	// UserEmail is the connected user's e-mail, which may differ from the username.
	UserEmail string `json:"user_email,omitempty"`
	// Scopes are what Salesforce granted; empty where it does not say.
	Scopes []string `json:"scopes,omitempty"`
	// ReasonCode is the stable form of Reason.
	ReasonCode string `json:"reason_code,omitempty"`
	// TokenAt is when Salesforce last gave an access token.
	TokenAt    time.Time `json:"token_at,omitzero"`
	UnlinkedAt time.Time `json:"unlinked_at,omitzero"`
	// ClientID is the app's consumer key, which is no secret.
	ClientID string `json:"client_id,omitempty"`
	// Ending says what is still to be done for an unlinked connection; nil when all of it is done, and for others.
	Ending *Ending `json:"ending,omitempty"`
	// Revocation is what came of revoking the tokens of an unlinked connection; nil before it was tried, and for others.
	Revocation *Revocation `json:"revocation,omitempty"`
}

// Revocation is what came of revoking a connection's tokens at Salesforce.
type Revocation struct {
	// Revoked says that Salesforce confirmed, or that there was nothing to revoke; Problem why not, in words for the admin.
	Revoked bool   `json:"revoked,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// Ending is the marker that an unlinked connection bears until its credentials are erased and everybody is told.
type Ending struct {
	// Replaced says that another org took its place.
	Replaced bool `json:"replaced,omitempty"`
}

// IsSource reports whether the connection is only read.
func (c Connection) IsSource() bool { return c.Purpose == Source }

// Org names the connection's org for people: by its domain where it is known, and by its id.
func (c Connection) Org() string {
	name := c.OrgName
	if name == "" {
		name = strings.TrimPrefix(c.InstanceURL, "https://")
	}
	return name + " (" + c.OrgID + ")"
}

// Credentials are what a connection signs in with. Which fields are set follows from the flow.
type Credentials struct {
	ClientID     string
	ClientSecret config.Secret
	// RefreshToken belongs to the web server flow.
	RefreshToken config.Secret
	// PrivateKey, PEM in PKCS 8, Username and Audience belong to the JWT bearer flow.
	PrivateKey config.Secret
	Username   string
	Audience   string

	renewed bool // they came with a refresh, not with a link
}

// NeedsReconnectError is what is said to whoever wants to use a connection that Salesforce refuses.
func (c Connection) NeedsReconnectError() *errs.Error {
	return errs.New(errs.Precondition, "needs_reconnect", "connection %q to %s needs a reconnect: %s", c.Name, c.Host, c.Reason)
}

// UnlinkedError is what is said to whoever wants to use a connection that an admin ended.
func (c Connection) UnlinkedError() *errs.Error {
	return errs.New(errs.Precondition, "unlinked", "connection %q to %s was unlinked: link the org again", c.Name, c.Host)
}

func newID() string { return "con_" + strings.ToLower(rand.Text()) }

// record is a tenant's connections, oldest first.
type record struct {
	Connections []Connection `json:"connections"`
}

// find returns the index of the connection with the id, or of the write target where id is empty; -1 when there is none.
func (r record) find(id string) int {
	for i, c := range r.Connections {
		if c.ID == id || id == "" && c.State != Unlinked && !c.IsSource() {
			return i
		}
	}
	return -1
}

// with returns a copy that has c at index i, or at the end where i is -1.
func (r record) with(i int, c Connection) record {
	all := append([]Connection(nil), r.Connections...)
	if i < 0 {
		return record{append(all, c)}
	}
	all[i] = c
	return record{all}
}
