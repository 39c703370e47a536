package importer

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// checkText returns what is wrong with a value whatever its field, or nothing.
func checkText(c *cell) string {
	switch {
	case c.err != "":
		return c.err
	case strings.IndexByte(c.text, 0) >= 0:
		return "the value holds a NUL character; remove it"
	case !utf8.ValidString(c.text):
		return "the value is not valid UTF-8; save the file as UTF-8"
	case len(c.text) > directory.MaxValue && utf8.RuneCountInString(c.text) > directory.MaxValue:
		return fmt.Sprintf("the value has %d characters, more than %d; shorten it", utf8.RuneCountInString(c.text), directory.MaxValue)
	}
	return ""
}

// normalBool returns "true" or "false". Empty stays empty.
func normalBool(s string) (string, string) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "":
		return "", ""
	case "true", "t", "yes", "y", "1", "on", "active":
		return "true", ""
	case "false", "f", "no", "n", "0", "off", "inactive":
		return "false", ""
	}
	return s, "the value is neither true nor false; use true, false, yes, no, 1 or 0"
}

var timeLayouts = []string{
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 Z07:00",
	"2006-01-02 15:04:05 MST", // UTC only
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04",
	"2006-01-02 15:04",
	time.DateOnly,
}

// normalTime returns the time in UTC as RFC 3339 has it; a time without zone is taken as UTC, a date as its midnight.
// Empty stays empty.
func normalTime(s string) (string, string) {
	text := strings.TrimSpace(s)
	if text == "" {
		return "", ""
	}
	for _, layout := range timeLayouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if zone, _ := t.Zone(); strings.HasSuffix(layout, "MST") && zone != "UTC" {
			break // Go knows no offset for the abbreviations of zones
		}
		if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
			break
		}
		if strings.HasSuffix(text, "Z") && len(text) == len("2006-01-02T15:04:05Z") && text[10] == 'T' {
			return text, "" // as it should be already
		}
		return t.Format(time.RFC3339Nano), ""
	}
	return s, "the value is not a time; use the form 2026-03-31T14:05:00Z or 2026-03-31"
}

// cut shortens a text to 80 characters and makes it valid UTF-8, for messages.
func cut(s string) string {
	const most = 80
	if len(s) > most*utf8.UTFMax {
		s = s[:most*utf8.UTFMax]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most])
}
