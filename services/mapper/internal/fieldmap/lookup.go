package fieldmap

import (
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/expression"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// lookupLength is what names, web addresses and external ids of text may have at the most.
const lookupLength = 255

// website is the field that is compared by its domain.
const website = "Website"

// lookupKey returns the value that a new record would have, and the key by which records are compared: Salesforce's own
// comparison of names knows neither case nor blanks in a row, and of web addresses it is the domain that is meant.
func lookupKey(target string, l Lookup, text string) (out, key string, problem *values.Problem) {
	line := values.New(values.Spec{Name: target, Type: "string", Length: lookupLength}, values.Options{})
	if out, problem = line.Convert(text); problem != nil || out == "" {
		return "", "", problem
	}
	if strings.EqualFold(l.Field, website) {
		if key = expression.Domain(out); key == "" || !strings.Contains(key, ".") {
			return "", "", &values.Problem{Code: CodeInvalidLookup, Field: target, Scope: values.ScopePerson, Message: target + ": " +
				values.Clip(out) + " is no web address to find a " + l.Object + " by: correct it in the Catalog"}
		}
		return out, key, nil
	}
	return out, strings.Join(strings.Fields(values.Fold(out)), " "), nil
}
