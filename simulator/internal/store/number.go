package store

import (
	"strconv"
	"strings"
)

// JavaDouble writes a number as Java's Double.toString does, which is what Salesforce sends: 300.0, 9.12260031E8.
func JavaDouble(v string) string {
	x, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return v
	}
	if x == 0 {
		return "0.0"
	}
	if a := max(x, -x); a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(x, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	m, e, _ := strings.Cut(strconv.FormatFloat(x, 'E', -1, 64), "E")
	if !strings.Contains(m, ".") {
		m += ".0"
	}
	n, _ := strconv.Atoi(e)
	return m + "E" + strconv.Itoa(n)
}
