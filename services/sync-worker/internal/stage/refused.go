package stage

import (
	"context"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// Refused tells auth that the org refuses the token that took the place of a refused one for the same call. The error
// says that the connection needs a reconnect, which is what ends the run.
func (t *tokens) Refused(ctx context.Context, bad salesforce.Token) error {
	_, err := t.client.GetAccessToken(ctx, &authv1.GetAccessTokenRequest{
		ConnectionId: t.connection, Lease: t.lease, Grant: t.grant, RejectedAccessToken: bad.AccessToken.Expose(), RefusedAgain: true,
	})
	return err
}
