package demo

import (
	"fmt"
	"io"
	"time"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
)

// screen is where people read along; with JSON it is nowhere.
type screen struct {
	w     io.Writer
	style view.Style
	live  bool
	steps *int
}

func newScreen(o Options) screen {
	if o.JSON {
		return screen{w: io.Discard, steps: new(int)}
	}
	return screen{w: o.Stdout, style: o.Style, live: o.Live, steps: new(int)}
}

func (s screen) say(text string) { _, _ = io.WriteString(s.w, text) }

// head begins the tour.
func (s screen) head(text string) {
	s.say(s.style.Paint(view.Bold, "catalogsync demo") + "\n" + text + "\n\n")
}

// step shows a step that was taken, and how long it took where that is worth a word.
func (s screen) step(name, text string, took time.Duration) {
	*s.steps++
	if took > 0 {
		text += "  " + s.style.Paint(view.Dim, view.Duration(took))
	}
	s.say(fmt.Sprintf("%2d  %s  %s\n", *s.steps, s.style.Paint(view.Bold, fmt.Sprintf("%-11s", name)), text))
}

// more adds a line to the step before.
func (s screen) more(text string) { s.say("                 " + text + "\n") }

func (s screen) progress() *view.Progress { return view.NewProgress(s.w, s.style, s.live) }
