package store_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/store/storetest"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEmbedded(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) storetest.Server { return testkit.NATS(t) })
}

func TestProcess(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) storetest.Server { return testkit.NATSProcess(t) })
}

func FuzzKey(f *testing.F) {
	f.Add("a", "")
	f.Add("a.b", "=2E")
	f.Add("\x00*>", "ü")
	f.Fuzz(func(t *testing.T, a, b string) {
		key := store.Key(a, b)
		if strings.ContainsAny(key, " *>\t\r\n\x00") || strings.Contains(key, "..") || strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") {
			t.Errorf("key %q", key)
		}
		parts, err := store.Parts(key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{a, b}, parts); diff != "" {
			t.Errorf("parts (-want +got):\n%s", diff)
		}
	})
}
