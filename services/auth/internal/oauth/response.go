package oauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/catalogsync/catalogsync/internal/config"
)

// Token is a token response that has been checked.
type Token struct {
	// AccessToken is the bearer token.
	AccessToken config.Secret
	// RefreshToken came with it; empty in flows that have none, and where the one in force stays in force.
	RefreshToken config.Secret
	// InstanceURL is the origin of the org's API.
	InstanceURL string
	// OrgID is the org, 18 characters.
	OrgID string
	// UserID is the user that the token acts as, 18 characters.
	UserID string
	// Scopes are the granted scopes; nil when the response named none.
	Scopes []string
	// IssuedAt is when Salesforce says that it issued the token; zero when it does not say.
	IssuedAt time.Time
}

// Missing returns those of the needed scopes that were not granted, as far as the response tells: where it names none,
// none is missing.
func (t Token) Missing(needed ...string) (missing []string) {
	if t.Scopes == nil {
		return nil
	}
	for _, scope := range needed {
		if !slices.ContainsFunc(t.Scopes, func(granted string) bool { return grants(granted, scope) }) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// grants reports whether one granted scope is good for a needed one.
func grants(granted, needed string) bool {
	switch {
	case granted == needed:
		return true
	case granted == "full":
		return needed != "refresh_token"
	default:
		return granted == "offline_access" && needed == "refresh_token"
	}
}

// ScopeAdvice says how an app comes to grant a scope.
func ScopeAdvice(scope string) string {
	labels := map[string]string{
		"api": "Manage user data via APIs (api)", "refresh_token": "Perform requests at any time (refresh_token, offline_access)",
		"id": "Access the identity URL service (id, profile, email, address, phone)",
	}
	label := labels[scope]
	if label == "" {
		label = scope
	}
	return fmt.Sprintf("add %q in the app's OAuth settings", label)
}

// read checks a token response. A response without instance_url is for the host that was asked.
func (c *Client) read(host string, raw *oauth2.Token, secret config.Secret) (Token, error) {
	distrust := func(format string, args ...any) (Token, error) {
		return Token{}, &Untrusted{Host: host, Problem: fmt.Sprintf(format, args...)}
	}
	identity, issued, signature := text(raw, "id"), text(raw, "issued_at"), text(raw, "signature")
	if signature != "" && !secret.IsZero() && !signatureHolds(secret, identity+issued, signature) {
		return distrust("its signature does not fit its id and time, so it was not made with this client secret")
	}
	if !strings.EqualFold(raw.Type(), "Bearer") {
		return distrust("it holds a token of type %q instead of Bearer", scrub(raw.TokenType, 32))
	}
	// Not raw.RefreshToken, which repeats what was sent when the response holds none.
	t := Token{AccessToken: config.NewSecret(raw.AccessToken), RefreshToken: config.NewSecret(text(raw, "refresh_token"))}
	instance := text(raw, "instance_url")
	if instance == "" {
		instance = host
	}
	u, err := c.policy.Check(instance)
	if err != nil {
		return distrust("its instance_url is refused: %v", err)
	}
	t.InstanceURL = u.String()
	if t.OrgID, t.UserID, err = c.identity(identity); err != nil {
		return distrust("its id is refused: %v", err)
	}
	if scope, ok := raw.Extra("scope").(string); ok {
		t.Scopes = append([]string{}, strings.Fields(scope)...)
	}
	if ms, err := strconv.ParseInt(issued, 10, 64); err == nil {
		t.IssuedAt = time.UnixMilli(ms).UTC()
	}
	return t, nil
}

// identity reads the org and the user out of an identity URL, https://login.salesforce.com/id/00D.../005...
func (c *Client) identity(raw string) (org, user string, err error) {
	u, err := url.Parse(raw)
	if err != nil || raw == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", errors.New("it is no plain URL")
	}
	if _, err := c.policy.Check(u.Scheme + "://" + u.Host); err != nil {
		return "", "", err
	}
	parts := strings.Split(u.Path, "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "id" {
		return "", "", fmt.Errorf("it does not end in /id/<org>/<user>")
	}
	if org, err = orgID(parts[2]); err != nil {
		return "", "", err
	}
	if user, err = userID(parts[3]); err != nil {
		return "", "", err
	}
	return org, user, nil
}

func signatureHolds(secret config.Secret, signed, signature string) bool {
	got, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret.Expose()))
	mac.Write([]byte(signed))
	return hmac.Equal(got, mac.Sum(nil))
}

func text(t *oauth2.Token, field string) string {
	s, _ := t.Extra(field).(string)
	return s
}
