// Package view owns how things look on a terminal and as JSON: tables, plans, progress and summaries. It asks nobody
// for anything: what it is given is what it shows, and what people typed or Salesforce said never reaches the terminal
// as control characters.
package view

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/rivo/uniseg"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Style is what is known of the place where output goes. The zero value suits files and pipes.
type Style struct {
	// Width of the terminal in columns; 0 for as wide as it takes.
	Width int
	// Color may be used.
	Color bool
	// Unicode characters may be used for what is drawn, such as bars.
	Unicode bool
	// Zone in which times are shown; UTC where nil.
	Zone *time.Location
}

// Tone is what a piece of text means, and so its colour.
type Tone string

// Tones are ANSI attributes.
const (
	Plain Tone = ""
	Bold  Tone = "1"
	Dim   Tone = "2"
	Good  Tone = "32"
	Warn  Tone = "33"
	Bad   Tone = "31"
)

// Paint gives text its tone.
func (s Style) Paint(t Tone, text string) string {
	if !s.Color || t == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(t) + "m" + text + "\x1b[0m"
}

// Clean makes text of others fit for one line of a terminal: control characters, line breaks and characters that
// change the direction of text become spaces or escapes.
func Clean(text string) string {
	clean := func(r rune) bool { return r == ' ' || unicode.IsPrint(r) }
	if strings.IndexFunc(text, func(r rune) bool { return !clean(r) || r == unicode.ReplacementChar }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case clean(r):
			b.WriteRune(r)
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// Clip shortens text to a number of columns.
func (s Style) Clip(text string, columns int) string {
	if columns <= 0 || uniseg.StringWidth(text) <= columns {
		return text
	}
	mark := s.ellipsis()
	room := columns - len([]rune(mark))
	var b strings.Builder
	state := -1
	for rest := text; rest != ""; {
		var cluster string
		var width int
		cluster, rest, width, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if room -= width; room < 0 {
			break
		}
		b.WriteString(cluster)
	}
	return b.String() + mark
}

func (s Style) ellipsis() string {
	if s.Unicode {
		return "…"
	}
	return "..."
}

// pad fills text up to a number of columns.
func pad(text string, columns int, right bool) string {
	fill := strings.Repeat(" ", max(0, columns-uniseg.StringWidth(text)))
	if right {
		return fill + text
	}
	return text + fill
}

// Count writes a number with separators of thousands.
func Count(n int64) string { return humanize.Comma(n) }

// Plural writes a count with its noun: "1 person", "5,000 people".
func Plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

// Share writes a part of a whole as per cent: "0.3 %", "61 %", "100 %". Only the whole is 100 %, only nothing 0 %.
func Share(part, whole int64) string {
	if whole <= 0 {
		return "0 %"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case part > 0 && p < 0.1:
		return "under 0.1 %"
	case part != 0 && p < 10:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	case part < whole && p > 99:
		return "99 %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

// Duration writes a time span as people say it: "0.42 s", "12.3 s", "4 min 05 s", "2 h 10 min".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
}

// Time writes a point in time in the style's zone, or a dash for none.
func (s Style) Time(t *timestamppb.Timestamp) string { return s.format(t, "2006-01-02 15:04:05 MST") }

// minute is Time for tables.
func (s Style) minute(t *timestamppb.Timestamp) string { return s.format(t, "2006-01-02 15:04") }

func (s Style) format(t *timestamppb.Timestamp, layout string) string {
	if t == nil {
		return "-"
	}
	zone := s.Zone
	if zone == nil {
		zone = time.UTC
	}
	return t.AsTime().In(zone).Format(layout)
}

// Word writes a value of an enum as one word: RUN_STATE_NEEDS_RECONNECT is "needs_reconnect". It is empty for the
// value that means not set.
func Word(e protoreflect.Enum) string {
	return word(e.Descriptor(), e.Number())
}

func word(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	if n == 0 {
		return ""
	}
	v := d.Values().ByNumber(n)
	if v == nil {
		return strconv.Itoa(int(n))
	}
	prefix := strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix))
}

// Words is Word for people: "needs reconnect".
func Words(e protoreflect.Enum) string { return strings.ReplaceAll(Word(e), "_", " ") }

// orDash shows that there is nothing.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
