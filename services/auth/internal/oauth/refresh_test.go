package oauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

const refreshToken = "5Aep861canaryRefreshToken0001"

func TestRefresh(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answered, want string
	}{
		"rotated":     {"5Aep861canaryRefreshToken0002", "5Aep861canaryRefreshToken0002"},
		"not rotated": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
				if err := r.ParseForm(); err != nil {
					t.Error(err)
				}
				want := "client_id=3MVG9key&client_secret=" + secret + "&grant_type=refresh_token&refresh_token=" + refreshToken
				if got := r.PostForm.Encode(); r.URL.Path != "/services/oauth2/token" || got != want {
					t.Errorf("request is %s %q, want %q", r.URL.Path, got, want)
				}
				changes := map[string]any{}
				if tc.answered != "" {
					changes["refresh_token"] = tc.answered
				}
				answer(http.StatusOK, good(changes))(w, r)
			})
			got, err := c.Refresh(t.Context(), origin, oauth.RefreshCredentials{
				ClientID: creds.ClientID, ClientSecret: creds.ClientSecret, RefreshToken: config.NewSecret(refreshToken),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got.RefreshToken.Expose() != tc.want || got.OrgID != org18 {
				t.Errorf("the refresh token is not the one of the answer, or the org is not: %s", got.OrgID)
			}
		})
	}
}

func TestRefreshOfAnAppWithoutSecret(t *testing.T) {
	t.Parallel()
	c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_id") == "" || r.Form.Has("client_secret") {
			t.Errorf("request holds %v", r.Form.Has("client_secret"))
		}
		answer(http.StatusOK, good(nil))(w, r) // signed with a secret that is not known here
	})
	if _, err := c.Refresh(t.Context(), origin, oauth.RefreshCredentials{ClientID: "k", RefreshToken: config.NewSecret(refreshToken)}); err != nil {
		t.Error(err)
	}
}

func TestRefreshErrorsHoldNoToken(t *testing.T) {
	t.Parallel()
	c, origin := host(t, answer(http.StatusBadRequest, `{"error":"invalid_grant","error_description":"expired access/refresh token `+refreshToken+`"}`))
	_, err := c.Refresh(t.Context(), origin, oauth.RefreshCredentials{ClientID: "k", RefreshToken: config.NewSecret(refreshToken)})
	r, ok := errors.AsType[*oauth.Refusal](err)
	if !ok || !r.Definite() || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), refreshToken) {
		t.Errorf("error is %v", err)
	}
}
