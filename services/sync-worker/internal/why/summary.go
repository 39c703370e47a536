package why

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// summary is the answer in a sentence or three: where the person stands in Salesforce, what came last, what comes next.
func summary(a *syncv1.PersonAnswer, record string) string {
	var parts []string
	if !a.GetInCatalog() {
		parts = append(parts, "The person is gone from the Catalog.")
	}
	present := a.GetRecord() != nil
	switch {
	case present, record != "" && a.GetNext() == nil:
		parts = append(parts, fmt.Sprintf("In Salesforce as %s.", record))
	case record != "":
		parts = append(parts, fmt.Sprintf("The record was %s; it is not there any more, or may not be seen.", record))
	case a.GetNext() != nil || len(a.GetHistory()) > 0:
		parts = append(parts, "Not in Salesforce, as far as is known.")
	}
	if h := a.GetHistory(); len(h) > 0 {
		parts = append(parts, fmt.Sprintf("Latest outcome: %s.", outcome(h[0].GetOutcome())))
	} else {
		parts = append(parts, "No run has dealt with this person yet.")
	}
	switch next := a.GetNext(); {
	case next.GetChange() != nil:
		parts = append(parts, "The next run would "+change(next.GetChange())+".")
	case next.GetOutcome() != nil:
		parts = append(parts, fmt.Sprintf("The next run would end the person %s.", outcome(next.GetOutcome())))
	case a.GetNextProblem() != "":
		parts = append(parts, a.GetNextProblem())
	}
	return strings.Join(parts, " ")
}

func outcome(o *syncv1.Outcome) string {
	text := word(o.GetKind())
	switch {
	case o.GetMessage() != "":
		text += ": " + strings.TrimSuffix(o.GetMessage(), ".")
	case o.GetCode() != "":
		text += ": " + o.GetCode()
	}
	return text
}

func change(c *syncv1.Change) string {
	switch c.GetAction() {
	case syncv1.Action_ACTION_CREATE:
		return "create a record"
	case syncv1.Action_ACTION_DELETE:
		return "delete record " + c.GetRecordId()
	case syncv1.Action_ACTION_UNDELETE:
		return "take record " + c.GetRecordId() + " out of the recycle bin"
	}
	names := make([]string, len(c.GetFields()))
	for i, f := range c.GetFields() {
		names[i] = f.GetField()
	}
	return fmt.Sprintf("change %s of record %s", strings.Join(names, ", "), c.GetRecordId())
}

// word writes a value of an enum as people say it: OUTCOME_KIND_CREATED is "created".
func word(e protoreflect.Enum) string {
	v := e.Descriptor().Values()
	name := string(v.ByNumber(e.Number()).Name())
	prefix := strings.TrimSuffix(string(v.ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", " ")
}
