package version

import (
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	built := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	tests := []struct {
		name     string
		released string
		info     *debug.BuildInfo
		want     string
	}{
		{"release", "v1.2.3", built("(devel)", revision), "v1.2.3"},
		{"go install", "", built("v1.2.4"), "v1.2.4"},
		{"work tree", "", built("(devel)", revision), "0123456789ab"},
		{"changed work tree", "", built("(devel)", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "0123456789ab+changes"},
		{"no revision", "", built("(devel)"), "devel"},
		{"no build info", "", nil, "devel"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := describe(tt.released, tt.info); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if String() == "" {
		t.Error("this build has no version")
	}
}
