package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/catalogsync/catalogsync/internal/config"
)

// Revoke ends a token at host: a refresh token with its access tokens, or one access token. That Salesforce refuses, with
// any status of 400 to 499 other than 429, means that there is nothing left to end. A [*NoAnswer] says that nobody knows.
func (c *Client) Revoke(ctx context.Context, host string, token config.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	form := url.Values{"token": {token.Expose()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, host+"/services/oauth2/revoke", strings.NewReader(form.Encode()))
	if err != nil {
		return &NoAnswer{Host: host, Err: err}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return &NoAnswer{Host: host, Err: err}
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // what it says is of no use
	switch {
	case res.StatusCode == http.StatusOK:
		return nil
	case res.StatusCode >= 400 && res.StatusCode < 500 && res.StatusCode != http.StatusTooManyRequests:
		return nil
	}
	return &NoAnswer{Host: host, Status: res.StatusCode}
}
