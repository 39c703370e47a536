package bustest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
)

func testGet(t *testing.T, s Server) {
	for _, kv := range []bool{false, true} {
		name := map[bool]string{false: "DATA", true: "DECISIONS"}[kv]
		prefix := map[bool]string{false: "data.", true: "decisions."}[kv]
		b := connect(t, s, bus.Stream{Name: name, Subjects: []string{prefix + ">"}, MaxBytes: 1 << 20, KeyValue: kv})
		ctx := within(t)
		_, err := b.Get(ctx, name, prefix+"a")
		wantErr(t, err, errs.NotFound, "no_message")
		before := time.Now().Add(-time.Minute)
		must(t, b.Publish(ctx, prefix+"a", []byte("old")))
		must(t, b.Publish(ctx, prefix+"a", []byte("new"), bus.WithHeader("lower-case", "x")))
		must(t, b.Publish(ctx, prefix+"a.b", []byte("other")))
		for _, who := range []*bus.Bus{b, s.Bus(t)} { // the second does not know the stream
			m, err := who.Get(ctx, name, prefix+"a")
			must(t, err)
			if m.Subject != prefix+"a" || string(m.Data) != "new" || m.Seq != 2 || m.Header["lower-case"] != "x" || m.Time.Before(before) || m.Deliveries != 0 {
				t.Errorf("got %+v", m)
			}
		}
		_, err = b.Get(ctx, name, prefix+"c")
		wantErr(t, err, errs.NotFound, "no_message")
		_, err = b.Get(ctx, "MISSING", prefix+"a")
		wantErr(t, err, errs.NotFound, "no_stream")
	}
}

func testRead(t *testing.T, s Server) {
	b := connect(t, s, stream())
	ctx := within(t)
	if got := read(t, b, "TEST", "test.>", 0); len(got) != 0 {
		t.Errorf("an empty stream yields %d messages", len(got))
	}
	const n = 600 // more than one request brings
	var want []uint64
	for i := 1; i <= n; i++ {
		size := 10
		if i%60 == 0 {
			size = 600_000 // larger than a request brings at once
		}
		subject := fmt.Sprintf("test.%d.%d", i%2, i)
		must(t, b.Publish(ctx, subject, bytes.Repeat([]byte{byte(i)}, size)))
		if i%2 == 0 && i != 100 {
			want = append(want, uint64(i))
		}
	}
	must(t, b.Purge(ctx, "TEST", "test.0.100"))
	var got []uint64
	for _, m := range read(t, b, "TEST", "test.0.>", 0) {
		got = append(got, m.Seq)
		if m.Data[0] != byte(m.Seq) || m.Subject != fmt.Sprintf("test.0.%d", m.Seq) {
			t.Errorf("message %d is %q with %d", m.Seq, m.Subject, m.Data[0])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sequences (-want +got):\n%s", diff)
	}
	// Page by page.
	got, after := nil, uint64(0)
	for page := 0; ; page++ {
		size := 0
		for m, err := range b.Read(ctx, "TEST", "test.0.>", after) {
			must(t, err)
			got, after = append(got, m.Seq), m.Seq
			if size++; size == 70 {
				break
			}
		}
		if size == 0 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sequences page by page (-want +got):\n%s", diff)
	}
	if got := read(t, b, "TEST", "test.1.1", 0); len(got) != 1 || got[0].Seq != 1 {
		t.Errorf("a single subject yields %v", got)
	}
	if got := read(t, b, "TEST", "test.>", n); len(got) != 0 {
		t.Errorf("after the end there are %d messages", len(got))
	}
	for _, err := range b.Read(ctx, "MISSING", ">", 0) {
		wantErr(t, err, errs.NotFound, "no_stream")
	}
}

func testReadBound(t *testing.T, s Server) {
	b := connect(t, s, stream())
	publish(t, b, 300)
	got := 0
	for m, err := range b.Read(within(t), "TEST", "test.>", 0) {
		must(t, err)
		got++
		must(t, b.Publish(within(t), "test.more", m.Data)) // never catches up unless bounded
	}
	if got != 300 {
		t.Errorf("read %d messages, want the 300 that were stored at the call", got)
	}
	// Removed while reading.
	got = 0
	for _, err := range b.Read(within(t), "TEST", "test.>", 0) {
		must(t, err)
		if got++; got == 1 {
			must(t, b.Purge(within(t), "TEST", ""))
		}
	}
	if got < 1 || got > 300 {
		t.Errorf("read %d messages of a stream that was emptied meanwhile", got)
	}
}

func testReadLeader(t *testing.T, s Server) {
	b := connect(t, s, stream(func(s *bus.Stream) { s.KeyValue = true }))
	publish(t, b, 10)
	if got := read(t, b, "TEST", "test.>", 4); len(got) != 6 || got[0].Seq != 5 || string(got[5].Data) != "10" {
		t.Errorf("read %d messages, want 6", len(got))
	}
}

func testPurge(t *testing.T, s Server) {
	b := connect(t, s, stream())
	ctx := within(t)
	for range 2 {
		for _, subject := range []string{"test.a.1", "test.a.2", "test.b.1"} {
			must(t, b.Publish(ctx, subject, nil))
		}
	}
	subjects := func(filter string, want map[string]uint64) {
		t.Helper()
		got, err := b.Subjects(ctx, "TEST", filter)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("subjects of %s (-want +got):\n%s", filter, diff)
		}
	}
	subjects("test.a.>", map[string]uint64{"test.a.1": 2, "test.a.2": 2})
	must(t, b.Purge(ctx, "TEST", "test.a.>"))
	subjects("test.>", map[string]uint64{"test.b.1": 2})
	must(t, b.Purge(ctx, "TEST", ""))
	subjects("test.>", map[string]uint64{})
	wantErr(t, b.Purge(ctx, "MISSING", ""), errs.NotFound, "no_stream")
}
