package cli

import (
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
)

// styleOf finds out what can be shown on w, and whether it is a terminal that can draw a line again.
func styleOf(w io.Writer, environ []string) (view.Style, bool) {
	s := view.Style{Zone: time.Local}
	vars := map[string]string{}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		vars[name] = value
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := vars[name]; v != "" {
			v = strings.ToLower(v)
			s.Unicode = strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
			break
		}
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s, false
	}
	s.Width = 80
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		s.Width = width
	}
	live := vars["TERM"] != "dumb"
	s.Color = live && vars["NO_COLOR"] == ""
	return s, live
}
