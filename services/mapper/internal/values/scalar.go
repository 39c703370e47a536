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

func (c *Converter) notNumber(s string) *Problem {
	if strings.Contains(s, ",") {
		return c.problem(CodeInvalidNumber, "%s has a comma, which means decimals in some places and thousands in others: write a point before decimals and nothing between thousands, as in 1234.5", Clip(s))
	}
	return c.problem(CodeInvalidNumber, "%s is not a number: write plain digits, with a point before decimals and nothing between thousands", Clip(s))
}

// decimal rounds to the field's scale, as Salesforce would, and refuses numbers that are too great for the field.
func (c *Converter) decimal(s string) (string, *Problem) {
	n, ok := ParseNumber(s)
	if !ok {
		return "", c.notNumber(s)
	}
	n = n.round(max(c.spec.Scale, 0))
	if len(n.whole)+len(n.fraction) > exactDigits {
		n = n.double()
	}
	if room := c.spec.Precision - c.spec.Scale; c.spec.Precision > 0 && len(n.whole) > room {
		return "", c.problem(CodeInvalidNumber, "%s has %d digits before the decimal point and the field takes %d: correct it in the Catalog", Clip(s), len(n.whole), room)
	}
	return n.String(), nil
}

func (c *Converter) integer(s string) (string, *Problem) {
	n, ok := ParseNumber(s)
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

// date reads a date, or the date of a time: in the pair's zone, or as it is written where the pair names none.
func (c *Converter) date(s string) (string, *Problem) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		var zoned bool
		if t, zoned, err = parseWall(s); err == nil && zoned && c.options.Zone != nil {
			t = t.In(c.options.Zone)
		}
	}
	if err != nil || t.Year() < firstYear || t.Year() > lastYear {
		return "", c.problem(CodeInvalidDate, "%s is not a date between the years 1700 and 4000: write it as 2026-01-31", Clip(s))
	}
	return t.Format(time.DateOnly), nil
}

// datetime gives times in UTC and in whole seconds, which is what Salesforce keeps. What names no zone is in the pair's.
func (c *Converter) datetime(s string) (string, *Problem) {
	t, err := ParseTime(s, c.options.Zone)
	t = t.UTC()
	if err != nil || t.Year() < firstYear || t.Year() > lastYear {
		return "", c.problem(CodeInvalidDatetime, "%s is not a time between the years 1700 and 4000: write it as 2026-01-31T08:30:00Z", Clip(s))
	}
	return t.Format("2006-01-02T15:04:05") + ".000Z", nil
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
