package store_test

import (
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	for id, check := range map[string]string{"0018c00002FInbo": "AAD", "750ak000009BWKL": "AA4", "0035500001H9cak": "AAB", "00D5g000001AbCd": "EAK"} {
		if got := store.Long(id); got != id+check {
			t.Errorf("Long(%s) = %s", id, got)
		}
		for _, form := range []string{id, id + check, strings.ToUpper(id + check), strings.ToLower(id + check)} {
			if got, ok := store.ValidID(form); len(form) == 18 && (!ok || got != id+check) || len(form) == 15 && !ok {
				t.Errorf("ValidID(%s) = %s %v", form, got, ok)
			}
		}
	}
	for _, bad := range []string{"", "0018c00002FInb", "0018c00002FInboXYZ0", "0018c00002FIn-o", "0018c00002FInbo!!!"} {
		if got, ok := store.ValidID(bad); ok {
			t.Errorf("ValidID(%q) = %s", bad, got)
		}
	}
	s, err := schema.New()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seed := range uint64(20) {
		db := store.New(s, seed)
		last := ""
		for n := uint32(1); n < 5000; n += 61 {
			id := db.FixedID("003", n)
			if canonical, ok := store.ValidID(id); !ok || canonical != id || id <= last || seen[id] {
				t.Fatalf("seed %d, serial %d: %s after %s", seed, n, id, last)
			}
			last, seen[id] = id, true
		}
	}
}
