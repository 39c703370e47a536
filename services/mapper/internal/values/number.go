package values

import (
	"cmp"
	"strconv"
	"strings"
)

// Number is a decimal number on its digits, without leading zeros in whole and trailing zeros in fraction, so that
// nothing is rounded. Zero has neither digits nor sign.
type Number struct {
	negative        bool
	whole, fraction string
}

// maxDigits bounds the digits of a number once its exponent is applied; Salesforce keeps 18.
const maxDigits = 400

// ParseNumber reads an optional sign, digits, an optional decimal point and an optional exponent: no grouping.
func ParseNumber(s string) (Number, bool) {
	var n Number
	if s == "" || len(s) > maxDigits {
		return n, false
	}
	digits, exponent := s, 0
	if s[0] == '-' || s[0] == '+' {
		n.negative, digits = s[0] == '-', s[1:]
	}
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		e, err := strconv.Atoi(digits[i+1:])
		if err != nil || e < -maxDigits || e > maxDigits {
			return Number{}, false
		}
		digits, exponent = digits[:i], e
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if whole == "" && fraction == "" || !onlyDigits(whole) || !onlyDigits(fraction) {
		return Number{}, false
	}
	switch {
	case exponent > 0:
		fraction += strings.Repeat("0", max(0, exponent-len(fraction)))
		whole, fraction = whole+fraction[:exponent], fraction[exponent:]
	case exponent < 0:
		whole = strings.Repeat("0", max(0, -exponent-len(whole))) + whole
		whole, fraction = whole[:len(whole)+exponent], whole[len(whole)+exponent:]+fraction
	}
	n.whole, n.fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	return n.normal(), true
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (n Number) normal() Number {
	if n.whole == "" && n.fraction == "" {
		n.negative = false
	}
	return n
}

// Cmp compares two numbers: -1 where n is less, 0 where they are equal, 1 where n is greater.
func (n Number) Cmp(other Number) int {
	if n.negative != other.negative {
		if n.negative {
			return -1
		}
		return 1
	}
	c := cmp.Or(
		cmp.Compare(len(n.whole), len(other.whole)),
		strings.Compare(n.whole, other.whole),
		strings.Compare(n.fraction, other.fraction), // no trailing zeros: a prefix is the lesser
	)
	if n.negative {
		return -c
	}
	return c
}

// round cuts the fraction to scale digits, half away from zero.
func (n Number) round(scale int) Number {
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

// exactDigits is how many digits of a number every binary double keeps.
const exactDigits = 15

// double returns the number as a binary double shows it, which is how Salesforce's APIs tell every number: further
// digits would never be seen again, and would look like a change each time.
func (n Number) double() Number {
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil { // beyond all doubles, and so beyond all fields
		return n
	}
	shown, _ := ParseNumber(strconv.FormatFloat(f, 'f', -1, 64))
	return shown
}

func (n Number) String() string {
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
