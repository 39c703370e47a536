package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// User is the user that a token acts as.
type User struct {
	OrgID    string // 18 characters
	UserID   string // 18 characters
	Username string
	// Email may differ from the username; empty where it is not told.
	Email string
	// Domain is the host of the org's My Domain; empty where the org has none or does not tell.
	Domain string
	// APIOnly says that the user has Salesforce's licence for integrations, with which nobody can use the web.
	APIOnly bool
}

// userInfo is the part of the reply that is read.
type userInfo struct {
	UserID   string `json:"user_id"`
	OrgID    string `json:"organization_id"`
	Username string `json:"preferred_username"`
	Email    string `json:"email"`
	APIOnly  bool   `json:"is_salesforce_integration_user"`
	URLs     struct {
		CustomDomain string `json:"custom_domain"`
	} `json:"urls"`
	Error  string `json:"error"`
	Detail string `json:"error_description"`
}

// UserInfo asks the token's org who the token acts as. Errors are as for [Client.Token].
func (c *Client) UserInfo(ctx context.Context, t Token) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	host := t.InstanceURL
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/services/oauth2/userinfo", nil)
	if err != nil {
		return User{}, &NoAnswer{Host: host, Err: err}
	}
	req.Header.Set("Authorization", "Bearer "+t.AccessToken.Expose())
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return User{}, &NoAnswer{Host: host, Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return User{}, &NoAnswer{Host: host, Err: err}
	}
	var info userInfo
	jsonErr := json.Unmarshal(body, &info)
	switch {
	case res.StatusCode == http.StatusOK && jsonErr == nil:
		return info.user(host)
	case res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusBadRequest:
		code, detail := info.Error, info.Detail
		if code == "" { // Salesforce answers Bad_OAuth_Token as plain text
			code = strings.TrimSpace(string(body[:min(len(body), 64)]))
		}
		token := t.AccessToken.Expose()
		return User{}, &Refusal{Code: scrub(code, 64, token), Description: scrub(detail, 512, token), Status: res.StatusCode}
	default:
		return User{}, &NoAnswer{Host: host, Status: res.StatusCode}
	}
}

func (i userInfo) user(host string) (u User, err error) {
	if u.OrgID, err = orgID(i.OrgID); err != nil {
		return User{}, &Untrusted{Host: host, Problem: "its organization_id is refused: " + err.Error()}
	}
	if u.UserID, err = userID(i.UserID); err != nil {
		return User{}, &Untrusted{Host: host, Problem: "its user_id is refused: " + err.Error()}
	}
	u.Username, u.Email, u.APIOnly = scrub(i.Username, 255), scrub(i.Email, 255), i.APIOnly
	if d, err := url.Parse(i.URLs.CustomDomain); err == nil {
		u.Domain = scrub(d.Host, 255)
	}
	return u, nil
}
