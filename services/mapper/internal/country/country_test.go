package country_test

import (
	"testing"

	"github.com/catalogsync/catalogsync/services/mapper/internal/country"
)

func TestCode(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"DE": "DE", "de": "DE", "DEU": "DE", " Germany ": "DE", "Deutschland": "DE", "Allemagne": "DE", "Alemania": "DE", "ドイツ": "DE",
		"USA": "US", "United States": "US", "Vereinigte Staaten": "US", "UK": "GB", "Great Britain": "GB", "GB": "GB", "Österreich": "AT", "O\u0308sterreich": "AT",
		"CH": "CH", "Schweiz": "CH", "Czech Republic": "CZ", "Czechia": "CZ", "Türkiye": "TR", "Turkey": "TR", "Côte d’Ivoire": "CI", "South Korea": "KR", "中国": "CN",
		"XK": "XK", "Kosovo": "XK", "Niger": "NE", "Nigeria": "NG", "Guinea": "GN", "Georgia": "GE", "Jersey": "JE",
	} {
		if got, ok := country.Code(name); got != want || !ok {
			t.Errorf("Code(%q) = %q, %v; want %s", name, got, ok, want)
		}
	}
	for _, name := range []string{"", " ", "Atlantis", "EU", "World", "XX", "ZZ", "001", "Europe", "D"} {
		if got, ok := country.Code(name); ok {
			t.Errorf("Code(%q) = %q", name, got)
		}
	}
}
