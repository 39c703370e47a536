package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// sealed is one version of a connection's credentials.
type sealed struct {
	Sealed []byte `json:"sealed"`
}

// secrets is the content of a sealed record.
type secrets struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	PrivateKey   string `json:"private_key,omitempty"`
	Username     string `json:"username,omitempty"`
	Audience     string `json:"audience,omitempty"`
	Renewed      bool   `json:"renewed,omitempty"`
}

func label(c Connection) vault.Label {
	return vault.Label{Purpose: string(c.Flow), Tenant: c.Tenant, Connection: c.ID, Version: c.CredentialVersion}
}

func credentialsKey(id string, version int64) string {
	return store.Key(id, strconv.FormatInt(version, 10))
}

func (s *Store) seal(ctx context.Context, c Connection, creds Credentials) error {
	plain, err := json.Marshal(secrets{
		ClientID: creds.ClientID, ClientSecret: creds.ClientSecret.Expose(), RefreshToken: creds.RefreshToken.Expose(),
		PrivateKey: creds.PrivateKey.Expose(), Username: creds.Username, Audience: creds.Audience, Renewed: creds.renewed,
	})
	if err != nil {
		return fmt.Errorf("encode the credentials of connection %s: %w", c.ID, err)
	}
	box, err := s.vault.Seal(plain, label(c))
	if err != nil {
		return err
	}
	if _, err := s.credentials.Create(ctx, credentialsKey(c.ID, c.CredentialVersion), sealed{box}); err != nil {
		return fmt.Errorf("store the credentials of connection %s: %w", c.ID, err)
	}
	return nil
}

// Credentials opens the connection's credentials. NotFound, reason "credentials_replaced", when the connection has been
// given others in the meantime.
func (s *Store) Credentials(ctx context.Context, c Connection) (Credentials, error) {
	box, _, err := s.credentials.Get(ctx, credentialsKey(c.ID, c.CredentialVersion))
	if errors.Is(err, store.ErrNotFound) {
		return Credentials{}, errs.New(errs.Unavailable, "credentials_replaced", "the credentials of connection %q were replaced just now: try again", c.Name)
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("read the credentials of connection %s: %w", c.ID, err)
	}
	plain, err := s.vault.Open(box.Sealed, label(c))
	if err != nil {
		return Credentials{}, errs.Wrap(err, errs.Internal, "credentials_unreadable",
			"the stored credentials of connection %q cannot be opened: they were changed outside this program or belong to another key file", c.Name)
	}
	var sec secrets
	if err := json.Unmarshal(plain, &sec); err != nil {
		return Credentials{}, fmt.Errorf("decode the credentials of connection %s", c.ID) // the cause would quote them
	}
	return Credentials{
		ClientID: sec.ClientID, ClientSecret: config.NewSecret(sec.ClientSecret), RefreshToken: config.NewSecret(sec.RefreshToken),
		PrivateKey: config.NewSecret(sec.PrivateKey), Username: sec.Username, Audience: sec.Audience, renewed: sec.Renewed,
	}, nil
}

// Erase deletes every version of the connection's credentials.
func (s *Store) Erase(ctx context.Context, c Connection) error {
	return s.versions(ctx, c, func(key string, _ int64) error { return s.credentials.Delete(ctx, key, 0) })
}

// nextVersion returns a version that no credentials of the connection have, not even such as a crash left behind before
// the connection named them.
func (s *Store) nextVersion(ctx context.Context, c Connection) (int64, error) {
	next := c.CredentialVersion + 1
	err := s.versions(ctx, c, func(_ string, v int64) error {
		next = max(next, v+1)
		return nil
	})
	return next, err
}

// forget deletes the credentials older than those that the connection uses. Newer ones belong to somebody who is
// linking right now. What cannot be deleted now goes with the next link.
func (s *Store) forget(ctx context.Context, c Connection) {
	err := s.versions(ctx, c, func(key string, v int64) error {
		if v >= c.CredentialVersion {
			return nil
		}
		return s.credentials.Delete(ctx, key, 0)
	})
	if err != nil {
		s.log.WarnContext(ctx, "old credentials not deleted", slog.String(telemetry.KeyConnection, c.ID), telemetry.Err(err))
	}
}

func (s *Store) versions(ctx context.Context, c Connection, each func(key string, version int64) error) error {
	entries, err := s.credentials.List(ctx, store.Key(c.ID))
	if err != nil {
		return fmt.Errorf("list the credentials of connection %s: %w", c.ID, err)
	}
	for _, e := range entries {
		v, err := strconv.ParseInt(e.Key[strings.LastIndexByte(e.Key, '.')+1:], 10, 64)
		if err != nil {
			return fmt.Errorf("key %q in bucket %s is no version: %w", e.Key, credentialsBucket, err)
		}
		if err := each(e.Key, v); err != nil {
			return fmt.Errorf("credentials %s: %w", e.Key, err)
		}
	}
	return nil
}
