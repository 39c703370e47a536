package suggest

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// synonyms are what the Catalog's fields are called elsewhere, folded.
var synonyms = map[string][]string{
	"email":        {"email", "mail", "emailaddress", "mailaddress", "workemail", "businessemail", "primaryemail"},
	"first_name":   {"firstname", "givenname", "forename", "vorname", "prenom", "nombre"},
	"last_name":    {"lastname", "surname", "familyname", "nachname", "nomdefamille", "apellido"},
	"phone":        {"phone", "phonenumber", "telephone", "telephonenumber", "tel", "businessphone", "workphone", "officephone"},
	"mobile_phone": {"mobilephone", "mobile", "mobilenumber", "cell", "cellphone", "cellular", "handy"},
	"title":        {"title", "jobtitle", "position", "jobposition", "jobrole"},
	"organization": {"organization", "organisation", "company", "companyname", "account", "accountname", "employer", "institution", "firma"},
	"department":   {"department", "dept", "division", "faculty", "abteilung"},
	"street":       {"street", "streetaddress", "address", "addressline", "addressline1", "strasse"},
	"city":         {"city", "town", "locality", "ort", "ville"},
	"state":        {"state", "province", "stateprovince", "region", "statecode", "bundesland"},
	"postal_code":  {"postalcode", "zip", "zipcode", "postcode", "plz"},
	"country":      {"country", "countrycode", "land", "pays"},
	"locale":       {"locale", "language", "preferredlanguage", "languagelocale"},
	"time_zone":    {"timezone", "tz"},
	"active":       {"active", "isactive", "enabled"},
	"groups":       {"groups", "group", "teams", "memberships"},
	"subaccount":   {"subaccount", "campus", "branch", "site"},
	"created_at":   {"createdat", "joined", "joinedat", "membersince", "registeredat", "signupdate", "enrolledat"},
	"updated_at":   {"updatedat", "changedat", "lastchanged", "modifiedat"},
}

// concepts are the synonyms the other way round.
var concepts = func() map[string]string {
	out := map[string]string{}
	for concept, names := range synonyms {
		for _, name := range names {
			out[name] = concept
		}
	}
	return out
}()

func conceptOf(folded string) string { return concepts[folded] }

// tokens are the words of a name, in lower case without accents: Preferred_Language__c is "preferred", "language".
func tokens(name string) (words []string) {
	name = strings.TrimPrefix(name, "attributes.")
	if base, ok := strings.CutSuffix(name, "__c"); ok {
		if i := strings.Index(base, "__"); i > 0 { // of a package
			base = base[i+2:]
		}
		name = base
	}
	var word []rune
	flush := func() {
		if len(word) > 0 {
			words = append(words, string(word))
			word = nil
		}
	}
	runes := []rune(norm.NFD.String(name))
	for i, r := range runes {
		switch {
		case unicode.Is(unicode.Mn, r):
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
		default:
			// A capital begins a word, unless it stands among capitals.
			if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1])) {
				flush()
			}
			word = append(word, unicode.ToLower(r))
		}
	}
	flush()
	return words
}

func fold(name string) string { return strings.Join(tokens(name), "") }

// overlap returns how many words two names share, and how many they have in all.
func overlap(a, b []string) (shared, whole int) {
	for _, t := range a {
		if slices.Contains(b, t) {
			shared++
		}
	}
	return shared, len(a) + len(b) - shared
}
