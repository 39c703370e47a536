package salesforce

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// FieldType is the type of a field as describe names it.
type FieldType string

// The types that are not plain text. Every other type (string, picklist, email, phone, ...) is text.
const (
	TypeBoolean   FieldType = "boolean"
	TypeInt       FieldType = "int"
	TypeLong      FieldType = "long"
	TypeDouble    FieldType = "double"
	TypeCurrency  FieldType = "currency"
	TypePercent   FieldType = "percent"
	TypeDate      FieldType = "date"
	TypeDateTime  FieldType = "datetime"
	TypeTime      FieldType = "time"
	TypeID        FieldType = "id"
	TypeReference FieldType = "reference"
)

// IsNumber reports whether values of the type are numbers in JSON.
func (t FieldType) IsNumber() bool {
	switch t {
	case TypeInt, TypeLong, TypeDouble, TypeCurrency, TypePercent:
		return true
	}
	return false
}

// Forms of canonical dates and times.
const (
	dateLayout     = "2006-01-02"
	dateTimeLayout = "2006-01-02T15:04:05.000Z"
	timeLayout     = "15:04:05.000Z"
)

// Canonical returns the one spelling that a value has in this program, whichever API it came from:
//
//	boolean                               true, false
//	int, long, double, currency, percent  decimal without exponent, leading or trailing zeros: 912260031, -0.5
//	date                                  2026-11-21
//	datetime                              2026-11-21T19:23:38.000Z, in UTC
//	time                                  10:30:00.000Z
//	id, reference                         18 characters
//	everything else                       as it is, line breaks as LF, NUL dropped
//
// The empty string is null and stays empty. Canonical(t, Canonical(t, x)) is Canonical(t, x). The error
// names the type and never the value, which may be personal data.
func Canonical(t FieldType, raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	switch t {
	case TypeBoolean:
		switch {
		case raw == "true", raw == "false":
			return raw, nil
		case raw == "1", strings.EqualFold(raw, "true"):
			return "true", nil
		case raw == "0", strings.EqualFold(raw, "false"):
			return "false", nil
		}
		return "", notOf(t)
	case TypeInt, TypeLong:
		s, err := decimal(t, raw)
		if err == nil && strings.Contains(s, ".") {
			return "", notOf(t)
		}
		return s, err
	case TypeDouble, TypeCurrency, TypePercent:
		return decimal(t, raw)
	case TypeDate:
		v, err := time.Parse(dateLayout, raw)
		if err != nil {
			return "", notOf(t)
		}
		return v.Format(dateLayout), nil
	case TypeDateTime:
		if s, ok := utc(raw); ok {
			return s, nil
		}
		v, err := parseTime(raw)
		if err != nil || v.Year() < 0 || v.Year() > 9999 {
			return "", notOf(t)
		}
		return v.Format(dateTimeLayout), nil
	case TypeTime:
		for _, layout := range []string{timeLayout, "15:04:05Z", "15:04:05.000", "15:04:05"} {
			if v, err := time.Parse(layout, raw); err == nil {
				return v.Format(timeLayout), nil
			}
		}
		return "", notOf(t)
	case TypeID, TypeReference:
		return ID18(raw)
	}
	return text(raw), nil
}

func notOf(t FieldType) error { return fmt.Errorf("salesforce: a value is no %s", t) }

// text makes line breaks LF and drops NUL. Most texts hold neither and are returned as they are.
func text(s string) string {
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(s, "\r\n", "\n")
		s = strings.ReplaceAll(s, "\r", "\n")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return s
}

// utc is the short way for the two spellings that Salesforce sends, whose fields need no arithmetic:
// a million rows hold several each.
func utc(s string) (string, bool) {
	const shape = "0000-00-00T00:00:00.000"
	if len(s) < len(shape) || s[len(shape):] != "Z" && s[len(shape):] != "+0000" {
		return "", false
	}
	for i := range len(shape) {
		if digit := s[i] >= '0' && s[i] <= '9'; digit != (shape[i] == '0') || !digit && s[i] != shape[i] {
			return "", false
		}
	}
	// Days after the 28th and whatever else is rare are left to package time.
	month, day, hour := s[5:7], s[8:10], s[11:13]
	if month < "01" || month > "12" || day < "01" || day > "28" || hour > "23" || s[14] > '5' || s[17] > '5' {
		return "", false
	}
	if s[len(s)-1] == 'Z' {
		return s, true
	}
	return s[:len(shape)] + "Z", true
}

// parseTime reads the spellings of a datetime: JSON has +0000, Bulk files Z with milliseconds, identity
// answers Z without.
func parseTime(raw string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999Z07:00", "2006-01-02T15:04:05.999-0700"} {
		if v, err := time.Parse(layout, raw); err == nil {
			return v.UTC(), nil
		}
	}
	return time.Time{}, notOf(TypeDateTime)
}

// maxDigits bounds a number's digits once the exponent is applied; Salesforce keeps 18.
const maxDigits = 400

// decimal rewrites a number on its digits, so that nothing is rounded.
func decimal(t FieldType, raw string) (string, error) {
	if isPlain(raw) {
		return raw, nil
	}
	s := raw
	neg := false
	if s[0] == '-' || s[0] == '+' {
		neg = s[0] == '-'
		s = s[1:]
	}
	exp := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e > math.MaxInt16 || e < math.MinInt16 {
			return "", notOf(t)
		}
		exp, s = e, s[:i]
	}
	whole, frac, _ := strings.Cut(s, ".")
	digits := whole + frac
	if digits == "" || len(digits) > maxDigits+1 || strings.Trim(digits, "0123456789") != "" {
		return "", notOf(t)
	}
	point := len(whole) + exp // position of the decimal point in digits
	lead := len(digits) - len(strings.TrimLeft(digits, "0"))
	digits, point = digits[lead:], point-lead
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return "0", nil
	}
	if max(point, len(digits), len(digits)-point) > maxDigits {
		return "", notOf(t)
	}
	switch {
	case point <= 0:
		s = "0." + strings.Repeat("0", -point) + digits
	case point >= len(digits):
		s = digits + strings.Repeat("0", point-len(digits))
	default:
		s = digits[:point] + "." + digits[point:]
	}
	if neg {
		s = "-" + s
	}
	return s, nil
}

// isPlain recognises a whole number that is canonical already.
func isPlain(s string) bool {
	if s[0] == '-' {
		s = s[1:]
	}
	if s == "" || s[0] < '1' || len(s) > 18 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// ID18 returns the 18-character form of a record id; the 15-character form is case-sensitive and not to be
// compared or stored.
func ID18(id string) (string, error) {
	if len(id) != 15 && len(id) != 18 {
		return "", notOf(TypeID)
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "", notOf(TypeID)
		}
	}
	if len(id) == 18 {
		return id, nil
	}
	var suffix [3]byte
	for block := range 3 {
		n := 0
		for k := range 5 {
			if c := id[block*5+k]; c >= 'A' && c <= 'Z' {
				n |= 1 << k
			}
		}
		suffix[block] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[n]
	}
	return id + string(suffix[:]), nil
}
