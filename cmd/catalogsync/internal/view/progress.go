package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Progress shows how far something is: a bar on a terminal, a line every few seconds elsewhere.
type Progress struct {
	w    io.Writer
	s    Style
	live bool

	bar     *progressbar.ProgressBar
	barName string
	most    int64
	turns   bool      // the bar only turns
	printed time.Time // the last line in between, when there is no bar

	stage  string // of the run that is watched
	waited string // the reason that was shown
}

// every is how often a line says how far things are where there is no bar.
const every = 5 * time.Second

// NewProgress returns a progress display on w. live says that w is a terminal, on which lines can be drawn again.
func NewProgress(w io.Writer, s Style, live bool) *Progress {
	return &Progress{w: w, s: s, live: live, printed: time.Now()}
}

// Amount shows how much of something named is done, in units such as "rows" or, with bytes, in bytes. A total of 0
// means that it is not known.
func (p *Progress) Amount(name string, done, total int64, bytes bool) {
	if total > 0 {
		done = min(done, total)
	}
	if !p.live {
		if time.Since(p.printed) >= every && total > 0 {
			p.printed = time.Now()
			fmt.Fprintf(p.w, "  %s%s of %s (%s)\n", pad(name, nameWidth, false), amount(done, bytes), amount(total, bytes), Share(done, total))
		}
		return
	}
	turns := !bytes && done == 0 // nothing is known yet but that it is at work
	if most := max(total, 1); p.bar == nil || p.barName != name || p.turns != turns || p.most != most {
		p.Clear()
		p.barName, p.turns, p.most = name, turns, most
		p.bar = p.newBar(name, most, bytes)
	}
	if !turns && done < p.most { // a full bar would draw itself once more and be gone
		_ = p.bar.Set64(done)
	}
}

// nameWidth is the column after the names of stages.
const nameWidth = 10

func amount(n int64, bytes bool) string {
	if bytes {
		return Bytes(n)
	}
	return Count(n)
}

func (p *Progress) newBar(name string, total int64, bytes bool) *progressbar.ProgressBar {
	theme := progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}
	spinner := 9 // |/-\
	if p.s.Unicode {
		theme = progressbar.Theme{Saucer: "█", SaucerPadding: "░"}
		spinner = 14 // ⠋⠙⠹
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
	}
	if p.turns {
		text := pad(name, nameWidth, false)
		if total > 1 {
			text += amount(total, bytes)
		}
		return progressbar.NewOptions64(-1, append(options,
			progressbar.OptionSetDescription(strings.TrimRight(text, " ")),
			progressbar.OptionSpinnerType(spinner),
			progressbar.OptionSetElapsedTime(true),
		)...)
	}
	width := 30
	if p.s.Width > 0 {
		width = min(max(p.s.Width-50, 5), 40)
	}
	return progressbar.NewOptions64(total, append(options,
		progressbar.OptionSetDescription("  "+pad(name, nameWidth-1, false)),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionSetWidth(width),
		progressbar.OptionShowCount(),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false),
	)...)
}

// Clear takes the bar away, so that something else can be written.
func (p *Progress) Clear() {
	if p.bar != nil {
		if p.turns {
			_ = p.bar.Finish() // ends its turning too
		} else {
			_ = p.bar.Clear()
		}
		p.bar = nil
	}
}

// Line writes a line that stays.
func (p *Progress) Line(name, text string) {
	p.Clear()
	p.printed = time.Now()
	fmt.Fprintf(p.w, "  %s%s\n", pad(name, nameWidth, false), text)
}

// stages of a run that are shown, in their order.
var stages = []string{"snapshot", "pull", "plan", "apply", "verify"}

// Run shows how a watched run stands. A stage that has ended leaves a line that says what it came to.
func (p *Progress) Run(r *syncv1.Run) {
	for _, stage := range p.passed(r) {
		if text := came(r, stage); text != "" {
			p.Line(stage, text)
		}
	}
	if Ended(r) {
		p.Clear()
		return
	}
	p.stage = r.GetStage()
	if waiting := r.GetState() != syncv1.RunState_RUN_STATE_RUNNING; waiting && r.GetReason() != "" && r.GetReason() != p.waited {
		p.waited = r.GetReason()
		p.Line(Words(r.GetState()), Clean(r.GetReason()))
	}
	p.Stage(r)
}

// Stage shows how far the present stage of a run is, and leaves nothing behind.
func (p *Progress) Stage(r *syncv1.Run) {
	switch {
	case r.GetStage() == "" || Ended(r):
		p.Clear()
	case r.GetRowsTotal() > 0:
		p.Amount(r.GetStage(), r.GetRowsDone(), r.GetRowsTotal(), false)
	default:
		p.Amount(r.GetStage(), int64(r.GetTasksDone()), int64(r.GetTasksTotal()), false)
	}
}

// passed returns the stages that have ended since the run was shown last.
func (p *Progress) passed(r *syncv1.Run) []string {
	from := max(slices.Index(stages, p.stage), 0)
	to := slices.Index(stages, r.GetStage())
	switch {
	case p.stage == closing:
		return nil
	case r.GetStage() == closing:
		to = len(stages)
	case r.GetState() == syncv1.RunState_RUN_STATE_SUCCEEDED, r.GetState() == syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES:
		to = len(stages)
	}
	if to <= from {
		return nil
	}
	return stages[from:to]
}

// closing is the stage after those that are shown.
const closing = "close"

// came says what a stage came to.
func came(r *syncv1.Run, stage string) string {
	n, plan := r.GetCounts(), r.GetPlan()
	switch stage {
	case "snapshot":
		return Plural(n.GetPeople(), "person", "people") + " in the Catalog"
	case "pull":
		return Plural(n.GetRecords(), "record", "records") + " fetched from the org"
	case "plan":
		if plan == nil {
			return ""
		}
		return strings.TrimSuffix(runCounts(Style{}, r), ".")
	case "apply":
		sent := plan.GetCreates() + plan.GetUpdates() + plan.GetDeletes()
		if sent == 0 || r.GetPlanOnly() {
			return ""
		}
		// Who was created and who was updated is counted when it has been read back.
		text := Plural(sent, "change", "changes") + " sent to Salesforce"
		if n.GetFailed() > 0 {
			text += ", " + Count(n.GetFailed()) + " refused"
		}
		return text
	case "verify":
		if n.GetVerified()+n.GetMismatched() == 0 {
			return ""
		}
		text := Plural(n.GetVerified(), "record", "records") + " read back, equal to what was written"
		if n.GetMismatched() > 0 {
			text += "; " + Count(n.GetMismatched()) + " different"
		}
		return text
	}
	return ""
}
