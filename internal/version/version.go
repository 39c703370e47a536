// Package version owns the one answer to "which build is this?".
package version

import (
	"runtime/debug"
	"sync"
)

// released is set by release builds: -ldflags "-X github.com/catalogsync/catalogsync/internal/version.released=v1.2.3".
var released string

// String returns the released version, else the version that the module was installed with, else the short revision
// that it was built from, else "devel".
var String = sync.OnceValue(func() string {
	info, _ := debug.ReadBuildInfo()
	return describe(released, info)
})

func describe(released string, info *debug.BuildInfo) string {
	if released != "" {
		return released
	}
	if info == nil {
		return devel
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	if revision == "" {
		return devel
	}
	revision = revision[:min(12, len(revision))]
	if settings["vcs.modified"] == "true" {
		revision += "+changes"
	}
	return revision
}

const devel = "devel"
