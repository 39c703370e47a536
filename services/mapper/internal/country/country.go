// Package country owns the way from a country's name, as people write it, to its ISO 3166 code. The names are those of
// the Unicode CLDR, which golang.org/x/text brings along in every language: a table of our own would be as long, and
// would be wrong sooner.
package country

import (
	"strings"
	"sync"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"golang.org/x/text/unicode/norm"
)

// languages whose names are known. Where two of them give one name to two countries, the earlier counts.
var languages = []language.Tag{
	language.English, language.German, language.French, language.Spanish, language.Italian, language.Portuguese,
	language.Dutch, language.Swedish, language.Danish, language.Norwegian, language.Finnish, language.Polish,
	language.Czech, language.Slovak, language.Hungarian, language.Romanian, language.Bulgarian, language.Croatian,
	language.Slovenian, language.Greek, language.Turkish, language.Russian, language.Ukrainian, language.Japanese,
	language.Korean, language.SimplifiedChinese, language.TraditionalChinese, language.Arabic, language.Hebrew,
	language.Estonian, language.Latvian, language.Lithuanian, language.Catalan, language.Hindi, language.Thai,
	language.Vietnamese, language.Indonesian,
}

// also are names that people use and the CLDR does not list.
var also = map[string]string{
	"usa": "US", "u.s.a.": "US", "u.s.": "US", "united states of america": "US", "america": "US",
	"uk": "GB", "u.k.": "GB", "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB",
	"northern ireland": "GB", "holland": "NL", "the netherlands": "NL", "czech republic": "CZ", "ivory coast": "CI",
	"south korea": "KR", "republic of korea": "KR", "north korea": "KP", "russian federation": "RU", "uae": "AE",
	"viet nam": "VN", "macedonia": "MK", "swaziland": "SZ", "burma": "MM", "cape verde": "CV", "turkey": "TR", "turkiye": "TR",
	"brd": "DE", "deutschland": "DE", "schweiz": "CH", "suisse": "CH", "svizzera": "CH", "hong kong": "HK", "macau": "MO", "palestine": "PS",
}

// Code returns the two letters of a country from its name in one of many languages, or from its code of two or three
// letters, whatever the case.
func Code(name string) (string, bool) {
	name = strings.TrimSpace(name)
	if code, ok := codes()[fold(name)]; ok {
		return code, true
	}
	return "", false
}

func fold(name string) string { return strings.ToLower(norm.NFC.String(name)) }

var codes = sync.OnceValue(func() map[string]string {
	out := make(map[string]string, 10_000)
	add := func(name, code string) {
		if key := fold(name); key != "" {
			if _, taken := out[key]; !taken {
				out[key] = code
			}
		}
	}
	var regions []language.Region
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			r, err := language.ParseRegion(code)
			if err == nil && r.IsCountry() && r.String() == code && r.Canonicalize() == r {
				regions = append(regions, r)
			}
		}
	}
	for _, r := range regions {
		add(r.String(), r.String())
		add(r.ISO3(), r.String())
	}
	for name, code := range also {
		add(name, code)
	}
	for _, tag := range languages {
		if namer := display.Regions(tag); namer != nil {
			for _, r := range regions {
				add(namer.Name(r), r.String())
			}
		}
	}
	return out
})
