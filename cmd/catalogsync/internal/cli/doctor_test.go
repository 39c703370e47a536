package cli_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

// An admin finds out what is wrong, mends it, and sees that it is mended.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.fails(t, 1, []string{"link"}, "doctor")
	w.link(t)
	contains(t, w.ok(t, "doctor"), "admin@simulator.example", "System Administrator", "may modify all data", "Latest sign-ins", "CatalogUserId__c is an external id and unique")
	found := lines[struct {
		Findings []struct{ Code, Severity, Mend string }
		User     struct{ Username string }
	}](t, w.ok(t, "doctor", "--json"))
	if len(found) != 1 || len(found[0].Findings) < 10 || found[0].User.Username == "" {
		t.Errorf("as JSON: %+v", found)
	}
	contains(t, w.ok(t, "doctor", "setup"), "Field Contact.CatalogUserId__c, an external id and unique: already there.", "Permission set Catalogsync Integration: made.", "Assignment")
	contains(t, w.ok(t, "doctor"), "The permission set Catalogsync Integration is assigned.")

	file := filepath.Join(w.files, "setup.zip")
	contains(t, w.ok(t, "doctor", "package", "-o", file), w.org.URL, "permissionsets/Catalogsync.permissionset")
	w.fails(t, 2, []string{"is there already"}, "doctor", "package", "-o", file)
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	if _, err := os.Stat(file); err != nil || len(z.File) != 3 {
		t.Errorf("the package holds %d files, %v", len(z.File), err)
	}
	w.fails(t, 2, []string{"there is no command \"setpu\"", "doctor setup"}, "doctor", "setpu")

	w.org.SetLoginPolicy(simulator.LoginPolicy{RestrictIP: true})
	r := w.fails(t, 4, []string{"1 thing does not work"}, "doctor")
	contains(t, r.out, "IP Relaxation", "ip restricted", "were not examined")
}
