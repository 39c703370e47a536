package values

import (
	"github.com/nyaruka/phonenumbers"
)

// PhoneStyle is how phone numbers are written.
type PhoneStyle uint8

// Styles.
const (
	PhoneKeep          PhoneStyle = iota // as they are
	PhoneE164                            // +4930123456
	PhoneInternational                   // +49 30 123456
	PhoneNational                        // 030 123456
)

// maxPhone bounds what is looked at: no number is longer, and the parser is no faster than the text is long.
const maxPhone = 60

// phone writes a number in the style that the pair asks for. A number that names no country is of the region.
func (c *Converter) phone(s, region string) (string, *Problem) {
	n, ok := parsePhone(s, region)
	if ok {
		out := c.written(n, region)
		// What reads differently once it is written (a row of zeros) is no number.
		if again, ok := parsePhone(out, region); ok && c.written(again, region) == out {
			return c.fit(out)
		}
	}
	hint := "correct it in the Catalog"
	if region == "" {
		hint = "write it with + and the country's code, or name the country in the pair or with the person"
	}
	return "", c.problem(CodeInvalidPhone, "%s is no phone number: %s", Clip(s), hint)
}

func (c *Converter) written(n *phonenumbers.PhoneNumber, region string) string {
	format := phonenumbers.E164
	switch c.options.Phones {
	case PhoneInternational:
		format = phonenumbers.INTERNATIONAL
	case PhoneNational:
		format = phonenumbers.NATIONAL
		if phonenumbers.GetCountryCodeForRegion(region) != int(n.GetCountryCode()) {
			format = phonenumbers.INTERNATIONAL // a number of elsewhere would lose its country
		}
	}
	out := phonenumbers.Format(n, format)
	if extension := n.GetExtension(); extension != "" && format == phonenumbers.E164 {
		out += " ext. " + extension // E.164 has none, and it must not be lost
	}
	return out
}

func parsePhone(s, region string) (*phonenumbers.PhoneNumber, bool) {
	if len(s) > maxPhone {
		return nil, false
	}
	n, err := phonenumbers.Parse(s, region)
	if err != nil {
		return nil, false
	}
	// Whether a number is assigned changes by the week: what counts is that it may be one.
	return n, phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE
}

// SamePhone reports whether two texts are the same phone number, whatever their format. A text that names no country is
// of the region, or of the other number's country where the region is empty.
func SamePhone(a, b, region string) bool {
	if a == b {
		return true
	}
	x, okX := parsePhone(a, region)
	y, okY := parsePhone(b, region)
	switch {
	case okX && !okY && region == "":
		y, okY = parsePhone(b, phonenumbers.GetRegionCodeForNumber(x))
	case okY && !okX && region == "":
		x, okX = parsePhone(a, phonenumbers.GetRegionCodeForNumber(y))
	}
	return okX && okY && x.GetCountryCode() == y.GetCountryCode() && x.GetExtension() == y.GetExtension() &&
		phonenumbers.GetNationalSignificantNumber(x) == phonenumbers.GetNationalSignificantNumber(y)
}

// KnownRegion reports whether phone numbers of the region, such as DE, can be read.
func KnownRegion(region string) bool { return phonenumbers.GetCountryCodeForRegion(region) != 0 }
