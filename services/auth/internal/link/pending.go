package link

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

const (
	// pendingBucket is where pending links are. Nobody else writes to it.
	pendingBucket = "LINKS"
	// pendingPurpose binds what is sealed in a pending link to what it is.
	pendingPurpose = "pending_link"
	// pendingLife is how long a link waits for a browser, and then for the browser to come back.
	pendingLife = 10 * time.Minute
	// keptFor is how long a link can be asked about after its end.
	keptFor = time.Hour
	// maxLinks is how many links of a tenant are kept at once, those that have ended among them: the room is everybody's.
	maxLinks = 100
	// maxToken is longer than any ticket or state.
	maxToken = 200
)

// State is how far a pending link has come.
type State string

// The states. There is no way back from one to another before it.
const (
	// Waiting: nobody has opened its page.
	Waiting State = "waiting"
	// Opened: a browser is at Salesforce.
	Opened State = "opened"
	// Finishing: the browser came back, and the code is being redeemed.
	Finishing State = "finishing"
	// Done: the org is linked.
	Done State = "done"
	// Failed: see Problem.
	Failed State = "failed"
	// Expired: nobody came in time. It is never stored.
	Expired State = "expired"
)

// Problem is why a link failed.
type Problem struct {
	Code        string `json:"code"`
	Description string `json:"description,omitempty"`
	Advice      string `json:"advice,omitempty"`
}

// Link is a pending link as it is stored. Tickets and states are there as hashes only.
type Link struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Author is who began it, Role what they were.
	Author string         `json:"author"`
	Role   optionsv1.Role `json:"role"`
	State  State          `json:"state"`
	// Host is the origin at which consent is asked for and the code redeemed.
	Host         string             `json:"host"`
	ClientID     string             `json:"client_id"`
	Name         string             `json:"name,omitempty"`
	Purpose      connection.Purpose `json:"purpose"`
	CompanyNames []string           `json:"company_names,omitempty"`
	Reconnect    string             `json:"reconnect,omitempty"`
	ReplaceOrg   string             `json:"replace_org,omitempty"`
	// RedirectURI is the callback that the browser was sent away with.
	RedirectURI string `json:"redirect_uri,omitempty"`
	// TicketHash, StateHash and SessionHash are SHA-256 of the ticket, the state, and the browser session's cookie.
	TicketHash  []byte `json:"ticket_hash"`
	StateHash   []byte `json:"state_hash,omitempty"`
	SessionHash []byte `json:"session_hash,omitempty"`
	// Sealed holds the consumer secret and the PKCE verifier. It goes when the state is used up.
	Sealed    []byte    `json:"sealed,omitempty"`
	BegunAt   time.Time `json:"begun_at"`
	ExpiresAt time.Time `json:"expires_at"`
	// Connection is the id of the connection, once linked.
	Connection string   `json:"connection,omitempty"`
	Problem    *Problem `json:"problem,omitempty"`
}

// Current is the state with time taken into account.
func (l Link) Current(now time.Time) State {
	switch l.State {
	case Waiting, Opened:
		if now.After(l.ExpiresAt) {
			return Expired
		}
	case Finishing: // whoever redeemed the code has died meanwhile
		if now.After(l.ExpiresAt.Add(pendingLife)) {
			return Expired
		}
	}
	return l.State
}

// hidden is what Sealed holds.
type hidden struct {
	ClientSecret string `json:"client_secret,omitempty"`
	Verifier     string `json:"verifier"`
}

// Pending keeps pending links. It is safe for concurrent use.
type Pending struct {
	links *store.Bucket[Link]
	vault *vault.Vault
}

// OpenPending opens the bucket, making it where it is missing.
func OpenPending(ctx context.Context, b *bus.Bus, v *vault.Vault) (*Pending, error) {
	links, err := store.Open[Link](ctx, b, store.Config{Bucket: pendingBucket, MaxBytes: 32 << 20, TTL: keptFor + pendingLife})
	if err != nil {
		return nil, err
	}
	return &Pending{links: links, vault: v}, nil
}

// newID returns an id that nobody guesses.
func newID() string { return "lnk_" + strings.ToLower(rand.Text()) }

// newToken returns a ticket or state of 256 random bits that leads to the link, and its hash.
func newToken(id string) (config.Secret, []byte) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	text := id + "." + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(text))
	return config.NewSecret(text), sum[:]
}

// idOf returns the id of the link that a ticket or state leads to; "" for what is none.
func idOf(token string) string {
	id, random, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxToken || !strings.HasPrefix(id, "lnk_") || random == "" {
		return ""
	}
	return id
}

func fits(token string, hash []byte) bool {
	sum := sha256.Sum256([]byte(token))
	return len(hash) == sha256.Size && subtle.ConstantTimeCompare(sum[:], hash) == 1
}

func label(l Link) vault.Label {
	return vault.Label{Purpose: pendingPurpose, Tenant: l.Tenant, Connection: l.ID, Version: 1}
}

func (p *Pending) seal(l *Link, h hidden) error {
	plain, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode pending link %s: %w", l.ID, err)
	}
	l.Sealed, err = p.vault.Seal(plain, label(*l))
	return err
}

func (p *Pending) open(l Link) (h hidden, err error) {
	plain, err := p.vault.Open(l.Sealed, label(l))
	if err != nil {
		return hidden{}, errs.Wrap(err, errs.Internal, "link_unreadable", "what is kept of this attempt to link cannot be opened: begin again")
	}
	if json.Unmarshal(plain, &h) != nil {
		return hidden{}, fmt.Errorf("decode pending link %s", l.ID) // the cause would quote it
	}
	return h, nil
}

// Get returns the tenant's link.
func (p *Pending) Get(ctx context.Context, tenant, id string) (Link, error) {
	l, _, err := p.links.Get(ctx, store.Key(id))
	if errors.Is(err, store.ErrNotFound) || err == nil && l.Tenant != tenant {
		return Link{}, errs.New(errs.NotFound, "no_such_link", "there is no attempt to link with id %q: it ended more than an hour ago, or never was", id)
	}
	if err != nil {
		return Link{}, fmt.Errorf("read pending link %s: %w", id, err)
	}
	return l, nil
}

// Open returns the tenant's links for which consent is awaited.
func (p *Pending) Open(ctx context.Context, tenant string) (open []Link, err error) {
	entries, err := p.links.List(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list the pending links: %w", err)
	}
	now := time.Now()
	for _, e := range entries {
		if s := e.Value.Current(now); e.Value.Tenant == tenant && (s == Waiting || s == Opened || s == Finishing) {
			open = append(open, e.Value)
		}
	}
	return open, nil
}

// add stores a link that begins.
func (p *Pending) add(ctx context.Context, l Link) error {
	entries, err := p.links.List(ctx, "")
	if err != nil {
		return fmt.Errorf("list the pending links: %w", err)
	}
	n := 0
	for _, e := range entries {
		if e.Value.Tenant == l.Tenant {
			n++
		}
	}
	if n >= maxLinks {
		return errs.New(errs.Exhausted, "too_many_links", "tenant %s has begun %d links by consent within the last hour: go on with one of them, or begin another later", l.Tenant, n)
	}
	if _, err := p.links.Create(ctx, store.Key(l.ID), l); err != nil {
		return fmt.Errorf("store pending link %s: %w", l.ID, err)
	}
	return nil
}

// step changes the link that a ticket or state leads to, if it fits; whoever comes second finds that it does not. Errors
// of fits say nothing about why.
func (p *Pending) step(ctx context.Context, token string, no error, fn func(*Link) bool) (now Link, err error) {
	id := idOf(token)
	if id == "" {
		return Link{}, no
	}
	_, err = p.links.Update(ctx, store.Key(id), func(l Link) (Link, error) {
		if !fn(&l) {
			return Link{}, no
		}
		now = l
		return l, nil
	})
	if errors.Is(err, store.ErrNotFound) || errs.ReasonOf(err) == "bad_key" {
		return Link{}, no
	}
	if err != nil {
		return Link{}, err
	}
	return now, nil
}

// end records how a link that is being finished ended.
func (p *Pending) end(ctx context.Context, id string, fn func(*Link)) (Link, error) {
	l, err := p.links.Update(ctx, store.Key(id), func(l Link) (Link, error) {
		if l.State != Finishing {
			return l, store.NoChange
		}
		fn(&l)
		return l, nil
	})
	if err != nil {
		return Link{}, fmt.Errorf("store pending link %s: %w", id, err)
	}
	return l, nil
}

// drop ends what waits for a browser: the tenant's links that would give the unlinked connection new credentials, and, with
// its last connection, all that were begun before. What was sealed in them goes.
func (p *Pending) drop(ctx context.Context, c connection.Connection, last bool) error {
	entries, err := p.links.List(ctx, "")
	if err != nil {
		return fmt.Errorf("list the pending links: %w", err)
	}
	for _, e := range entries {
		l := e.Value
		ends := l.Reconnect == c.ID || last && !l.BegunAt.After(c.UnlinkedAt)
		if l.Tenant != c.Tenant || !ends || l.State != Waiting && l.State != Opened {
			continue
		}
		_, err := p.links.Update(ctx, e.Key, func(l Link) (Link, error) {
			if l.State != Waiting && l.State != Opened {
				return l, store.NoChange // the browser came back, and what was sealed is gone
			}
			l.State, l.TicketHash, l.StateHash, l.SessionHash, l.Sealed = Failed, nil, nil, nil, nil
			l.Problem = &Problem{Code: "unlinked", Description: "The org was unlinked while consent was awaited.", Advice: "Begin the link again."}
			return l, nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("end pending link %s: %w", l.ID, err)
		}
	}
	return nil
}
