// Package audit owns the log of who did what: entries that are on disk before the act that they tell of, and that nobody
// can change or delete. They go by age alone; see [event.AuditStream].
//
// An entry that cannot be written stops the act: whoever gets an error from [Log.Write] must not act.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

const (
	// patience bounds how long a write may take when ctx has no earlier end: somebody waits to act.
	patience = 10 * time.Second
	// maxText is where texts of an entry are cut, in bytes: callers name things of their own.
	maxText = 2 << 10
)

// Entry is what the caller knows of an act. Who acts and when is added.
type Entry struct {
	// Tenant is whom the act concerns; empty for what concerns the installation.
	Tenant string
	// Action is the full name of an RPC, or a word of our own such as token.refresh.
	Action string
	// Subject is the thing that it is done to, by its id.
	Subject string
	// Detail says more, for people: no secret, and no personal data of the Catalog.
	Detail string
}

// Log is the audit log as one service sees it. It is safe for concurrent use.
type Log struct {
	bus     *bus.Bus
	service string
}

// Open opens the log, making it where it is missing. service is the name under which entries are written.
func Open(ctx context.Context, b *bus.Bus, service string) (*Log, error) {
	if err := b.EnsureStreams(ctx, event.AuditStream()); err != nil {
		return nil, err
	}
	return &Log{bus: b, service: service}, nil
}

// Write stores an entry, and returns when it is on disk. Actor and role are the caller's of ctx, or the service itself
// where there is none. The error is Unavailable, reason "audit_unavailable": the act must not happen then.
func (l *Log) Write(ctx context.Context, e Entry) error {
	return l.write(ctx, e, event.Audit(e.Tenant))
}

// WriteAside is [Log.Write] for what viewers can cause as often as they like: such entries have limits of their own, so
// that they push out none that tell of changes.
func (l *Log) WriteAside(ctx context.Context, e Entry) error {
	return l.write(ctx, e, event.AuditAside(e.Tenant))
}

// WriteOnce is [Log.Write] for what is told once: when the tenant has an entry under the key already, nothing is stored
// and the call succeeds. Any text is a key.
func (l *Log) WriteOnce(ctx context.Context, key string, e Entry) error {
	sum := sha256.Sum256([]byte(key))
	return l.write(ctx, e, event.AuditOnce(e.Tenant, hex.EncodeToString(sum[:16])), bus.ExpectNew())
}

func (l *Log) write(ctx context.Context, e Entry, subject string, opts ...bus.PublishOption) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p := &auditv1.Entry{
		Tenant: e.Tenant, Actor: l.service, Role: optionsv1.Role_ROLE_INTERNAL, Service: l.service,
		Action: cut(e.Action), Subject: cut(e.Subject), Detail: cut(e.Detail),
	}
	if c, ok := rpc.CallerFrom(ctx); ok && c.Subject != "" {
		p.Actor, p.Role = cut(c.Subject), c.Role
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		p.TraceId = sc.TraceID().String()
	}
	if err := l.bus.PublishProto(ctx, subject, p, opts...); err != nil {
		return errs.Wrap(err, errs.Unavailable, "audit_unavailable",
			"%s was not done, because the audit log cannot be written (%s): try again when it can", p.GetAction(), errs.Message(err))
	}
	return nil
}

// cut bounds a text and makes it one that the wire takes.
func cut(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
