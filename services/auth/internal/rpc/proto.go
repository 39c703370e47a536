package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/link"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
)

var states = map[connection.State]authv1.ConnectionState{
	connection.Linking:        authv1.ConnectionState_CONNECTION_STATE_LINKING,
	connection.Linked:         authv1.ConnectionState_CONNECTION_STATE_LINKED,
	connection.NeedsReconnect: authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT,
	connection.Unlinked:       authv1.ConnectionState_CONNECTION_STATE_UNLINKED,
}

var flows = map[connection.Flow]authv1.Flow{
	connection.ClientCredentials: authv1.Flow_FLOW_CLIENT_CREDENTIALS,
	connection.WebServer:         authv1.Flow_FLOW_WEB_SERVER,
	connection.JWTBearer:         authv1.Flow_FLOW_JWT_BEARER,
}

// purposes are what requests say; a purpose that is not set, or not known, is the write target.
var purposes = map[authv1.Purpose]connection.Purpose{
	authv1.Purpose_PURPOSE_SOURCE: connection.Source,
}

func purposeToProto(p connection.Purpose) authv1.Purpose {
	if p == connection.Source {
		return authv1.Purpose_PURPOSE_SOURCE
	}
	return authv1.Purpose_PURPOSE_WRITE_TARGET
}

// timestamp leaves times out that are not known.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func toProto(c connection.Connection) *authv1.Connection {
	return &authv1.Connection{
		Id: c.ID, Tenant: c.Tenant, Name: c.Name, State: states[c.State], Reason: c.Reason, Flow: flows[c.Flow],
		Host: c.Host, OrgId: c.OrgID, InstanceUrl: c.InstanceURL, Username: c.Username, UserId: c.UserID,
		LinkedAt: timestamp(c.LinkedAt), Purpose: purposeToProto(c.Purpose), CompanyNames: c.CompanyNames, OrgName: c.OrgName,
		UserEmail: c.UserEmail, Scopes: c.Scopes, ReasonCode: c.ReasonCode, TokenAt: timestamp(c.TokenAt),
		UnlinkedAt: timestamp(c.UnlinkedAt), ClientId: c.ClientID,
	}
}

// awaited is a link for which consent is awaited, as a connection.
func awaited(l link.Link) *authv1.Connection {
	return &authv1.Connection{
		Id: l.ID, Tenant: l.Tenant, Name: l.Name, State: authv1.ConnectionState_CONNECTION_STATE_LINKING, Flow: authv1.Flow_FLOW_WEB_SERVER,
		Host: l.Host, Purpose: purposeToProto(l.Purpose), CompanyNames: l.CompanyNames, ClientId: l.ClientID,
	}
}

func keyToProto(k signkey.Key) *authv1.SigningKey {
	return &authv1.SigningKey{
		Id: k.ID, CertificatePem: k.Certificate, Fingerprint: k.Fingerprint,
		CreatedAt: timestamp(k.CreatedAt), ExpiresAt: timestamp(k.ExpiresAt), ConnectionId: k.Connection,
	}
}
