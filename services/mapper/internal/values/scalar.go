package values

import (
	"strconv"
	"strings"
	"time"
)

func (c *Converter) boolean(s string) (string, *Problem) {
	switch strings.ToLower(s) {
	case "true", "yes", "1":
		return "true", nil
	case "false", "no", "0":
		return "false", nil
	}
	return "", c.problem(CodeInvalidBoolean, "%s is neither true nor false: write true or false (yes, no, 1 and 0 are understood too)", Clip(s))
}

// number is a decimal number without leading zeros in whole and trailing zeros in fraction. Zero has neither digits nor
// sign.
type number struct {
	negative        bool
	whole, fraction string
}

// parseNumber reads an optional sign, digits and an optional decimal point: no exponent, no grouping.
func parseNumber(s string) (number, bool) {
	var n number
	digits := s
	if s[0] == '-' || s[0] == '+' {
		n.negative, digits = s[0] == '-', s[1:]
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if whole == "" && fraction == "" {
		return number{}, false
	}
	for _, part := range [2]string{whole, fraction} {
		for i := range len(part) {
			if part[i] < '0' || part[i] > '9' {
				return number{}, false
			}
		}
	}
	n.whole, n.fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	return n.normal(), true
}

func (n number) normal() number {
	if n.whole == "" && n.fraction == "" {
		n.negative = false
	}
	return n
}

// round cuts the fraction to scale digits, half away from zero.
func (n number) round(scale int) number {
	if len(n.fraction) <= scale {
		return n
	}
	up := n.fraction[scale] >= '5'
	digits := []byte(n.whole + n.fraction[:scale])
	for i := len(digits) - 1; up && i >= 0; i-- {
		if digits[i] == '9' {
			digits[i] = '0'
			continue
		}
		digits[i]++
		up = false
	}
	if up {
		digits = append([]byte{'1'}, digits...)
	}
	split := len(digits) - scale
	n.whole = string(digits[:split])
	n.fraction = strings.TrimRight(string(digits[split:]), "0")
	return n.normal()
}

func (n number) String() string {
	var b strings.Builder
	if n.negative {
		b.WriteByte('-')
	}
	if n.whole == "" {
		b.WriteByte('0')
	}
	b.WriteString(n.whole)
	if n.fraction != "" {
		b.WriteByte('.')
		b.WriteString(n.fraction)
	}
	return b.String()
}

func (c *Converter) notNumber(s string) *Problem {
	return c.problem(CodeInvalidNumber, "%s is not a number: write plain digits, with a point before decimals and nothing between thousands", Clip(s))
}

// decimal rounds to the field's scale, as Salesforce would, and refuses numbers that are too great for the field.
func (c *Converter) decimal(s string) (string, *Problem) {
	n, ok := parseNumber(s)
	if !ok {
		return "", c.notNumber(s)
	}
	n = n.round(max(c.spec.Scale, 0))
	if room := c.spec.Precision - c.spec.Scale; c.spec.Precision > 0 && len(n.whole) > room {
		return "", c.problem(CodeInvalidNumber, "%s has %d digits before the decimal point and the field takes %d: correct it in the Catalog", Clip(s), len(n.whole), room)
	}
	return n.String(), nil
}

func (c *Converter) integer(s string) (string, *Problem) {
	n, ok := parseNumber(s)
	if !ok {
		return "", c.notNumber(s)
	}
	if n.fraction != "" {
		return "", c.problem(CodeInvalidNumber, "%s is not a whole number: write it without decimals", Clip(s))
	}
	bits := 64
	if c.kind == integer {
		bits = 32
	}
	out := n.String()
	if _, err := strconv.ParseInt(out, 10, bits); err != nil || c.spec.Digits > 0 && len(n.whole) > c.spec.Digits {
		return "", c.problem(CodeInvalidNumber, "%s is too great for the field: correct it in the Catalog", Clip(s))
	}
	return out, nil
}

// Salesforce knows the years 1700 to 4000.
const firstYear, lastYear = 1700, 4000

// date reads a date, or the date of a time as it is written, whatever its zone.
func (c *Converter) date(s string) (string, *Problem) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t, err = parseTime(s)
	}
	if err != nil || t.Year() < firstYear || t.Year() > lastYear {
		return "", c.problem(CodeInvalidDate, "%s is not a date between the years 1700 and 4000: write it as 2026-01-31", Clip(s))
	}
	return t.Format(time.DateOnly), nil
}

// datetime gives times in UTC and in whole seconds, which is what Salesforce keeps.
func (c *Converter) datetime(s string) (string, *Problem) {
	t, err := parseTime(s)
	if err == nil {
		t = t.UTC()
	}
	if err != nil || t.Year() < firstYear || t.Year() > lastYear {
		return "", c.problem(CodeInvalidDatetime, "%s is not a time with a zone between the years 1700 and 4000: write it as 2026-01-31T08:30:00Z", Clip(s))
	}
	return t.Format("2006-01-02T15:04:05") + ".000Z", nil
}

// parseTime reads RFC 3339, and the offsets without a colon that Salesforce itself writes.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05Z0700", s)
	}
	return t, err
}

func (c *Converter) time(s string) (string, *Problem) {
	bare := strings.TrimSuffix(s, "Z")
	t, err := time.Parse("15:04:05", bare)
	if err != nil {
		t, err = time.Parse("15:04", bare)
	}
	if err != nil {
		return "", c.problem(CodeInvalidTime, "%s is not a time of day: write it as 08:30:00", Clip(s))
	}
	return t.Format("15:04:05.000") + "Z", nil
}
