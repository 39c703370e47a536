// Package policy owns which service may do what on the bus where services prove who they are: it makes the users and
// permissions of a NATS server of the streams and buckets that there are and of who has them.
//
// A service makes and changes its own streams and buckets and no others, reads what it must know of those of others, and
// hears nothing but the answers to its own questions.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/event"
)

// Services are those that connect to NATS, each with an identity of its own.
var Services = []string{"auth", "gateway", "mapper", "scheduler", "sync-worker"}

// Operator is the identity of who runs the installation: it may do everything in the account, which backups need.
const Operator = "operator"

// level is what a service may do with a stream.
type level uint8

const (
	// reads: looks at single messages, and where the stream ends.
	reads level = 1 << iota
	// makes: makes the stream and changes its limits.
	makes
	// empties: removes messages.
	empties
	// consumes: follows the stream, and takes work from it.
	consumes
)

const owns = reads | makes | empties | consumes

// share is what one service has of one stream.
type share struct {
	stream    string
	level     level
	publishes []string // subjects
}

// buckets are the key-value buckets of each service. Nobody else changes them.
var buckets = map[string][]string{
	"auth": {
		"ACCESS_TOKENS", "CONNECTIONS", "CREDENTIALS", "DATA_KEYS", "GRANTS", "KEYSETS", "LINKS", "SIGNING_KEYS", "TOKEN_REFRESHES",
	},
	"gateway":     {"API_TOKENS", "SESSIONS"},
	"mapper":      {"FIELD_MAPS"},
	"scheduler":   {"SCHEDULES"},
	"sync-worker": {"ALLOCATIONS", "CLAIMS", "OPEN_RUNS", "RUNS", "RUN_SNAPSHOTS", "TASKS"},
}

// bucket is the stream of a bucket.
func bucket(name string) string { return "KV_" + name }

// shares returns what a service has.
func shares(service string) (all []share) {
	for _, b := range buckets[service] {
		all = append(all, share{bucket(b), owns, []string{"$KV." + b + ".>"}})
	}
	switch service {
	case "auth":
		// Whoever asks for a token must hold a lease; the ledger says so.
		all = append(all, share{stream: bucket("RUNS"), level: reads}, share{stream: bucket("TASKS"), level: reads},
			share{stream: bucket("OPEN_RUNS"), level: reads | consumes}) // which it lists
		all = append(all,
			share{event.StreamAudit, reads | makes, event.AuditStream().Subjects},
			share{event.StreamEvents, 0, []string{event.ConnectionsUnlinked}})
	case "gateway":
		all = append(all, share{event.StreamAudit, reads, event.AuditStream().Subjects})
	case "sync-worker":
		for _, s := range event.Streams(event.DefaultRetention()) {
			all = append(all, share{s.Name, owns, s.Subjects})
		}
		all = append(all, share{bus.DeadLetters, owns, bus.DeadLetterStream(1, 1).Subjects})
	}
	return all
}

// Permissions are the subjects that a service may use.
type Permissions struct {
	// Publish are those on which it may say something, requests to the server included.
	Publish []string
	// Subscribe are those on which it may hear something.
	Subscribe []string
}

// For returns what a service may do.
func For(service string) Permissions {
	p := Permissions{
		// Whether the server works, and which stream keeps a subject: names alone.
		Publish:   []string{"$JS.API.INFO", "$JS.API.STREAM.NAMES"},
		Subscribe: []string{bus.Inbox(service) + ".>"},
	}
	for _, s := range shares(service) {
		p.Publish = append(p.Publish, "$JS.API.STREAM.INFO."+s.stream)
		p.Publish = append(p.Publish, s.publishes...)
		for _, l := range []struct {
			level    level
			subjects []string
		}{
			{reads, []string{"$JS.API.STREAM.MSG.GET.%s", "$JS.API.DIRECT.GET.%s", "$JS.API.DIRECT.GET.%s.>"}},
			{makes, []string{"$JS.API.STREAM.CREATE.%s", "$JS.API.STREAM.UPDATE.%s"}},
			{empties, []string{"$JS.API.STREAM.PURGE.%s"}},
			{consumes, []string{
				"$JS.API.CONSUMER.CREATE.%s.>", "$JS.API.CONSUMER.INFO.%s.>", "$JS.API.CONSUMER.MSG.NEXT.%s.>", "$JS.API.CONSUMER.DELETE.%s.>", "$JS.ACK.%s.>",
			}},
		} {
			if s.level&l.level == 0 {
				continue
			}
			for _, subject := range l.subjects {
				p.Publish = append(p.Publish, fmt.Sprintf(subject, s.stream))
			}
		}
	}
	slices.Sort(p.Publish)
	p.Publish = slices.Compact(p.Publish)
	return p
}

// Config returns the accounts of a NATS server for its configuration. keys are the public NKeys by service, and that of
// [Operator]. Whoever has none of these keys is not let in.
func Config(keys map[string]string) (string, error) {
	var b strings.Builder
	b.WriteString("# Made by `catalogsync identities` of the streams that there are: what each service may do on the bus.\n")
	b.WriteString("accounts {\n  APP {\n    jetstream: enabled\n    users: [\n")
	for _, name := range Services {
		key, ok := keys[name]
		if !ok {
			return "", fmt.Errorf("there is no NKey for %s", name)
		}
		p := For(name)
		fmt.Fprintf(&b, "      # %s\n      {\n        nkey: %s\n        permissions {\n", name, key)
		list(&b, "publish", p.Publish)
		list(&b, "subscribe", p.Subscribe)
		b.WriteString("        }\n      }\n")
	}
	if key, ok := keys[Operator]; ok {
		fmt.Fprintf(&b, "      # %s: backups, and looking around\n      { nkey: %s }\n", Operator, key)
	}
	b.WriteString("    ]\n  }\n  SYS { users: [] }\n}\nsystem_account: SYS\n")
	return b.String(), nil
}

func list(b *strings.Builder, what string, subjects []string) {
	fmt.Fprintf(b, "          %s: { allow: [\n", what)
	for _, s := range subjects {
		fmt.Fprintf(b, "            %q\n", s)
	}
	b.WriteString("          ] }\n")
}
