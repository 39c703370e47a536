package audit_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	auditv1 "github.com/catalogsync/catalogsync/gen/catalogsync/audit/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func open(t *testing.T) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), testkit.Bus(t), "auth")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// all reads page by page.
func all(t *testing.T, l *audit.Log, q audit.Query) (entries []*auditv1.Entry) {
	t.Helper()
	for {
		page, next, err := l.List(t.Context(), q)
		must(t, err)
		if size := max(q.PageSize, 0); size > 0 && len(page) > size {
			t.Fatalf("a page of %d has %d entries", size, len(page))
		}
		entries = append(entries, page...)
		if next == "" {
			return entries
		}
		if len(page) == 0 {
			t.Fatal("an empty page names a next one")
		}
		q.PageToken = next
	}
}

func details(entries []*auditv1.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.GetDetail())
	}
	return out
}

func TestAnEntrySaysWhoDidWhat(t *testing.T) {
	t.Parallel()
	l := open(t)
	before := time.Now().Add(-time.Minute)
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "acme", Subject: "nightly", Role: optionsv1.Role_ROLE_ADMIN}), sc)
	must(t, l.Write(ctx, audit.Entry{Tenant: "acme", Action: "token.refresh", Subject: "con_1", Detail: "ok"}))
	must(t, l.Write(t.Context(), audit.Entry{Tenant: "acme", Action: "token.revoke", Subject: strings.Repeat("x", 10_000) + "\xff"}))

	entries := all(t, l, audit.Query{Tenant: "acme"})
	if len(entries) != 2 {
		t.Fatalf("%d entries", len(entries))
	}
	e := entries[1]
	if e.GetNumber() != 1 || e.GetTenant() != "acme" || e.GetActor() != "nightly" || e.GetRole() != optionsv1.Role_ROLE_ADMIN ||
		e.GetAction() != "token.refresh" || e.GetSubject() != "con_1" || e.GetDetail() != "ok" || e.GetService() != "auth" ||
		e.GetTraceId() != sc.TraceID().String() || e.GetAt().AsTime().Before(before) || e.GetAt().AsTime().After(time.Now().Add(time.Minute)) {
		t.Errorf("entry is %v", e)
	}
	if e := entries[0]; e.GetActor() != "auth" || e.GetRole() != optionsv1.Role_ROLE_INTERNAL || len(e.GetSubject()) > 3000 || e.GetTraceId() != "" {
		t.Errorf("entry of the service itself is %v", e)
	}
}

func TestWriteOnceWritesOnce(t *testing.T) {
	t.Parallel()
	l := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				if err := l.WriteOnce(t.Context(), "use run.1 *>", audit.Entry{Tenant: "acme", Action: "token.use", Detail: "same"}); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	must(t, l.WriteOnce(t.Context(), "use run.2", audit.Entry{Tenant: "acme", Action: "token.use", Detail: "other"}))
	must(t, l.WriteOnce(t.Context(), "use run.1 *>", audit.Entry{Tenant: "umbrella", Action: "token.use", Detail: "theirs"}))
	if got := details(all(t, l, audit.Query{Tenant: "acme"})); !cmp.Equal(got, []string{"other", "same"}) {
		t.Errorf("entries are %v", got)
	}
}

// What viewers cause by looking has limits of its own: however much that is, what tells of changes stays.
func TestWriteAsideStandsApart(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	l, err := audit.Open(t.Context(), b, "auth")
	must(t, err)
	must(t, l.Write(t.Context(), audit.Entry{Tenant: "acme", Action: "x", Detail: "change"}))
	must(t, l.WriteAside(t.Context(), audit.Entry{Tenant: "acme", Action: "token.use", Detail: "look 1"}))
	must(t, l.WriteAside(t.Context(), audit.Entry{Tenant: "acme", Action: "token.use", Detail: "look 2"}))
	if got := details(all(t, l, audit.Query{Tenant: "acme"})); !cmp.Equal(got, []string{"look 2", "look 1", "change"}) {
		t.Errorf("entries are %v", got)
	}
	if event.AuditAside("acme") == event.Audit("acme") {
		t.Error("both have the limits of one subject")
	}
	if got := details(all(t, l, audit.Query{Tenant: "umbrella"})); len(got) != 0 {
		t.Errorf("entries of another tenant are %v", got)
	}
}

// A tenant's entries push out its own alone while the log has room, and the oldest of all where it has none.
func TestWhatGoesFirst(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	l, err := audit.Open(t.Context(), b, "auth")
	must(t, err)
	small := event.AuditStream()
	small.MaxMsgsPerSubject = 3
	must(t, b.EnsureStreams(t.Context(), small))
	must(t, l.Write(t.Context(), audit.Entry{Tenant: "quiet", Action: "x", Detail: "the only one"}))
	must(t, l.WriteOnce(t.Context(), "key", audit.Entry{Tenant: "busy", Action: "x", Detail: "once"}))
	for i := range 10 {
		must(t, l.Write(t.Context(), audit.Entry{Tenant: "busy", Action: "x", Detail: fmt.Sprint(i)}))
	}
	if got := details(all(t, l, audit.Query{Tenant: "busy"})); !cmp.Equal(got, []string{"9", "8", "7", "once"}) {
		t.Errorf("entries of the busy one are %v", got)
	}
	if got := details(all(t, l, audit.Query{Tenant: "quiet"})); !cmp.Equal(got, []string{"the only one"}) {
		t.Errorf("entries of the quiet one are %v", got)
	}
	small.MaxMsgsPerSubject, small.MaxBytes = 1000, 8<<10
	must(t, b.EnsureStreams(t.Context(), small))
	for i := range 100 {
		must(t, l.Write(t.Context(), audit.Entry{Tenant: "busy", Action: "x", Detail: fmt.Sprint(i)}))
	}
	if got := details(all(t, l, audit.Query{Tenant: "quiet"})); len(got) != 0 {
		t.Errorf("a full log still has %v", got)
	}
}

// TestPages reads logs in which the tenant's entries are many, few and far between.
func TestPages(t *testing.T) {
	t.Parallel()
	l := open(t)
	var want []string
	var middle time.Time
	for i := range 3000 {
		tenant, action := "crowd", "token.use"
		if i < 40 || i%100 == 0 || i == 2999 {
			tenant = "acme"
			if i%3 == 0 {
				action = "key.rotate"
			}
			want = append([]string{fmt.Sprint(action, i)}, want...)
		}
		must(t, l.Write(t.Context(), audit.Entry{Tenant: tenant, Action: action, Detail: fmt.Sprint(action, i)}))
		if i == 1499 {
			last := all(t, l, audit.Query{Tenant: "crowd", PageSize: 1000})
			middle = last[0].GetAt().AsTime()
		}
	}
	for _, size := range []int{0, 1, 7, 30, 1000, 5000} {
		if got := details(all(t, l, audit.Query{Tenant: "acme", PageSize: size})); !cmp.Equal(got, want) {
			t.Errorf("pages of %d: %s", size, cmp.Diff(want, got))
		}
	}
	if got := all(t, l, audit.Query{Tenant: "crowd", PageSize: 97}); len(got) != 3000-len(want) {
		t.Errorf("the crowd has %d entries, want %d", len(got), 3000-len(want))
	}
	var rotations, recent []string
	for _, d := range want {
		if strings.HasPrefix(d, "key.") {
			rotations = append(rotations, d)
		}
		var i int
		if _, err := fmt.Sscanf(strings.TrimLeft(d, "abcdefghijklmnopqrstuvwxyz."), "%d", &i); err == nil && i > 1499 {
			recent = append(recent, d)
		}
	}
	if got := details(all(t, l, audit.Query{Tenant: "acme", ActionPrefix: "key.", PageSize: 4})); !cmp.Equal(got, rotations) {
		t.Errorf("rotations: %s", cmp.Diff(rotations, got))
	}
	if got := details(all(t, l, audit.Query{Tenant: "acme", Since: middle.Add(1), PageSize: 4})); !cmp.Equal(got, recent) {
		t.Errorf("recent ones: %s", cmp.Diff(recent, got))
	}
	if got := all(t, l, audit.Query{Tenant: "nobody"}); len(got) != 0 {
		t.Errorf("a tenant that did nothing has %d entries", len(got))
	}
	for _, token := range []string{"x", "-1", "99999999999999999999"} {
		if _, _, err := l.List(t.Context(), audit.Query{Tenant: "acme", PageToken: token}); errs.ReasonOf(err) != "bad_page_token" {
			t.Errorf("page token %q: %v", token, err)
		}
	}
}

// TestTenantsDoNotSeeEachOther tries names that mean something in subjects.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	l := open(t)
	tenants := []string{"", "a", "a.b", "*", ">", "=", "A", "a b"}
	for _, tenant := range tenants {
		must(t, l.Write(t.Context(), audit.Entry{Tenant: tenant, Action: "sign_in", Detail: tenant}))
	}
	for _, tenant := range tenants {
		if got := details(all(t, l, audit.Query{Tenant: tenant})); !cmp.Equal(got, []string{tenant}) {
			t.Errorf("tenant %q sees %q", tenant, got)
		}
	}
}

// TestNothingGoes tries to remove entries as somebody with access to the bus.
func TestNothingGoes(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	l, err := audit.Open(t.Context(), b, "gateway")
	must(t, err)
	must(t, l.Write(t.Context(), audit.Entry{Tenant: "acme", Action: "key.rotate"}))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // the bus goes on trying what a server refuses like this
	defer cancel()
	if err := b.Purge(ctx, event.StreamAudit, ""); err == nil {
		t.Error("the log was purged")
	}
	if err := b.PurgeTo(ctx, event.StreamAudit, event.AuditOfTenant("acme"), 1); err == nil {
		t.Error("a tenant's entries were purged")
	}
	if got := all(t, l, audit.Query{Tenant: "acme"}); len(got) != 1 {
		t.Errorf("%d entries are left", len(got))
	}
}

func TestNoEntryNoAct(t *testing.T) {
	t.Parallel()
	srv := testkit.NATS(t)
	l, err := audit.Open(t.Context(), srv.Bus(t), "auth")
	must(t, err)
	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = l.Write(ctx, audit.Entry{Tenant: "acme", Action: "token.refresh"})
	if errs.KindOf(err) != errs.Unavailable || errs.ReasonOf(err) != "audit_unavailable" || !strings.Contains(errs.Message(err), "token.refresh was not done") {
		t.Errorf("error is %v", err)
	}
	srv.Start(t)
	must(t, l.Write(t.Context(), audit.Entry{Tenant: "acme", Action: "token.refresh"}))
}
