package migrate_test

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/migrate"
)

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func TestLoad(t *testing.T) {
	t.Parallel()
	steps, err := migrate.Load(fstest.MapFS{"m/0002_b.sql": file("B"), "m/0001_a.sql": file("A")}, "m")
	if err != nil {
		t.Fatal(err)
	}
	want := []migrate.Step{{Version: 1, Name: "0001_a.sql", SQL: "A"}, {Version: 2, Name: "0002_b.sql", SQL: "B"}}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got, err := migrate.Pending(steps, 1); err != nil || len(got) != 1 || got[0].Version != 2 {
		t.Errorf("Pending(1) = %v, %v; want step 2", got, err)
	}
	if _, err := migrate.Pending(steps, 3); errs.ReasonOf(err) != "directory_too_new" {
		t.Errorf("Pending(3) = %v, want directory_too_new", err)
	}
	for _, files := range []fstest.MapFS{{"m/0002_b.sql": file("")}, {"m/x.sql": file("")}, {}} {
		if _, err := migrate.Load(files, "m"); err == nil {
			t.Errorf("Load(%v) succeeded", files)
		}
	}
}
