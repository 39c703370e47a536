package salesforce

import (
	"errors"
	"strings"
)

// Action is what to do about an answer of Salesforce.
type Action int

// The actions. For an error of a whole request and for an error of one row the same code can ask for
// different ones; Classify knows which.
const (
	ActionNone            Action = iota // no error
	ActionRow                           // this record fails, go on with the others
	ActionRetryRow                      // this record may pass later, go on with the others
	ActionRetry                         // the request may pass later; the client has already repeated it where that was safe
	ActionRefresh                       // the token is refused; the client has already asked for another one where it could
	ActionJob                           // the run cannot go on: a bug or a state that nobody foresaw
	ActionConfig                        // mapping, permission or edition: stop and tell the admin
	ActionStopUntilWindow               // the org takes no more for minutes to hours: allocation, storage of results, maintenance
	ActionRestartQuery                  // the cursor is gone: start the query again
	ActionSplit                         // the request asks for too much: ask for less
	ActionLookUp                        // the outcome is unknown: read before doing anything
)

var actionNames = [...]string{"none", "row", "retry_row", "retry", "refresh", "job", "config", "stop_until_window", "restart_query", "split", "look_up"}

// String returns a stable name, such as "retry_row".
func (a Action) String() string {
	if a < 0 || int(a) >= len(actionNames) {
		return "unknown"
	}
	return actionNames[a]
}

// ActionOf returns what an error of this package asks for: ActionNone for nil, ActionJob for errors that
// it does not know.
func ActionOf(err error) Action {
	if err == nil {
		return ActionNone
	}
	if _, ok := errors.AsType[*UnknownOutcomeError](err); ok {
		return ActionLookUp
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Action
	}
	if _, ok := errors.AsType[*TransportError](err); ok {
		return ActionRetry
	}
	if errors.Is(err, ErrReplyChanged) {
		return ActionRestartQuery
	}
	return ActionJob
}

// rule says what a code asks for, as an error of a row and as an error of a whole request.
type rule struct{ row, request Action }

func both(a Action) rule { return rule{a, a} }

// rules holds the codes whose action does not depend on the message. The keys are upper-case without
// underscores, because Bulk spells its own codes INVALIDJOBSTATE in JSON and InvalidBatch in a job.
var rules = map[string]rule{
	"INVALIDSESSIONID":                              both(ActionRefresh),
	"INVALIDAUTHHEADER":                             both(ActionJob),
	"APIDISABLEDFORORG":                             both(ActionConfig),
	"APICURRENTLYDISABLED":                          both(ActionConfig),
	"CLIENTNOTACCESSIBLEFORUSER":                    both(ActionConfig),
	"FUNCTIONALITYNOTENABLED":                       both(ActionConfig),
	"FEATURENOTENABLED":                             both(ActionConfig),
	"INSUFFICIENTACCESS":                            both(ActionConfig),
	"INSUFFICIENTACCESSORREADONLY":                  both(ActionRow),
	"INSUFFICIENTACCESSONCROSSREFERENCEENTITY":      both(ActionRow),
	"NOTFOUND":                                      {ActionRow, ActionJob},
	"ENTITYISDELETED":                               both(ActionRow),
	"MALFORMEDID":                                   both(ActionRow),
	"DELETEFAILED":                                  both(ActionRow),
	"INVALIDCROSSREFERENCEKEY":                      both(ActionRow),
	"INVALIDFIELDFORINSERTUPDATE":                   both(ActionConfig),
	"INVALIDTYPE":                                   both(ActionConfig),
	"INVALIDENTITY":                                 both(ActionConfig),
	"INVALIDTYPEONFIELDINRECORD":                    both(ActionRow),
	"INVALIDTYPEFOROPERATION":                       both(ActionJob),
	"POSTBODYPARSEERROR":                            both(ActionJob),
	"MALFORMEDQUERY":                                both(ActionJob),
	"INVALIDQUERYFILTEROPERATOR":                    both(ActionJob),
	"QUERYTOOCOMPLICATED":                           both(ActionJob),
	"INVALIDQUERYLOCATOR":                           both(ActionRestartQuery),
	"QUERYTIMEOUT":                                  both(ActionSplit),
	"REQUESTRUNNINGTOOLONG":                         both(ActionSplit),
	"EXCEEDEDIDLIMIT":                               both(ActionSplit),
	"REQUIREDFIELDMISSING":                          both(ActionRow),
	"STRINGTOOLONG":                                 both(ActionRow),
	"NUMBEROUTSIDEVALIDRANGE":                       both(ActionRow),
	"INVALIDEMAILADDRESS":                           both(ActionRow),
	"INVALIDORNULLFORRESTRICTEDPICKLIST":            both(ActionRow),
	"FIELDCUSTOMVALIDATIONEXCEPTION":                both(ActionRow),
	"FIELDINTEGRITYEXCEPTION":                       both(ActionRow),
	"FIELDFILTERVALIDATIONEXCEPTION":                both(ActionRow),
	"DUPLICATEVALUE":                                both(ActionRow),
	"DUPLICATEEXTERNALID":                           both(ActionRow),
	"DUPLICATESDETECTED":                            both(ActionRow),
	"CANNOTUPDATECONVERTEDLEAD":                     both(ActionRow),
	"CANNOTEXECUTEFLOWTRIGGER":                      both(ActionRow),
	"ALLORNONEOPERATIONROLLEDBACK":                  both(ActionRow),
	"PROCESSINGHALTED":                              both(ActionRow),
	"UNABLETOLOCKROW":                               both(ActionRetryRow),
	"TOOMANYLOCKFAILURE":                            both(ActionRetryRow),
	"ENTITYISLOCKED":                                both(ActionRow),
	"INACTIVEOWNERORUSER":                           both(ActionRow),
	"TRANSFERREQUIRESREAD":                          both(ActionRow),
	"DUPLICATEUSERNAME":                             both(ActionRow),
	"DUPLICATECOMMNICKNAME":                         both(ActionRow),
	"LICENSELIMITEXCEEDED":                          both(ActionRow),
	"MIXEDDMLOPERATION":                             both(ActionJob),
	"STORAGELIMITEXCEEDED":                          both(ActionJob),
	"MISSINGARGUMENT":                               {ActionRow, ActionJob},
	"IDREQUIRED":                                    {ActionRow, ActionJob},
	"TOOMANYAPEXREQUESTS":                           {ActionRetryRow, ActionStopUntilWindow},
	"LIMITEXCEEDED":                                 {ActionRetryRow, ActionStopUntilWindow},
	"EXCEEDEDQUOTA":                                 {ActionRetryRow, ActionStopUntilWindow},
	"ORGLOCKED":                                     both(ActionStopUntilWindow),
	"ORGINMAINTENANCE":                              both(ActionStopUntilWindow),
	"INSERTUPDATEDELETENOTALLOWEDDURINGMAINTENANCE": both(ActionStopUntilWindow),
	"SERVERUNAVAILABLE":                             {ActionRetryRow, ActionRetry},
	"UNKNOWNEXCEPTION":                              {ActionRetryRow, ActionRetry},
	"UNSUPPORTEDAPIVERSION":                         both(ActionConfig),
	"GONE":                                          both(ActionConfig),
	"INVALIDUSER":                                   both(ActionConfig),
	"CLIENTINPUTERROR":                              both(ActionJob),
	"INVALIDJOB":                                    both(ActionJob),
	"INVALIDJOBSTATE":                               both(ActionJob),
}

func foldCode(code string) string {
	return strings.ToUpper(strings.ReplaceAll(code, "_", ""))
}

// ClassifyRow returns what an error of one record asks for: an entry of a Collections reply or a line of
// a Bulk result. Messages are read only where the code does not suffice.
func ClassifyRow(code, message string) Action {
	return classify(code, message, func(r rule) Action { return r.row }, ActionRow)
}

// ClassifyRequest returns what an error of a whole request asks for. status is the HTTP status.
func ClassifyRequest(status int, code, message string) Action {
	var unknown Action
	switch {
	case status == 410:
		return ActionConfig
	case status >= 500, status == 406, status == 408, status == 420, status == 429, status < 300:
		unknown = ActionRetry
	case status == 401:
		unknown = ActionRefresh
	default:
		unknown = ActionJob
	}
	return classify(code, message, func(r rule) Action { return r.request }, unknown)
}

func classify(code, message string, pick func(rule) Action, unknown Action) Action {
	folded := foldCode(code)
	has := func(s string) bool { return strings.Contains(message, s) }
	switch folded {
	case "INVALIDSESSIONID":
		// The grant lacks the api scope or the app is blocked: another token changes nothing.
		if has("not valid for use with the REST API") || has("not attached to Agent") {
			return ActionConfig
		}
	case "INVALIDAUTHHEADER":
		if has("INVALID_JWT_FORMAT") {
			return ActionRefresh
		}
	case "REQUESTLIMITEXCEEDED":
		// One code for the day's allowance and for too many long calls at once, which clears in seconds.
		if has("Concurrent") {
			return pick(rule{ActionRetryRow, ActionRetry})
		}
		return ActionStopUntilWindow
	case "INVALIDFIELD":
		switch {
		case has("No such column"):
			return ActionConfig
		case has("Foreign key external ID"), has("deserialize"):
			return ActionRow
		}
		return pick(rule{ActionRow, ActionConfig})
	case "JSONPARSERERROR":
		if has("Cannot deserialize instance of") {
			return ActionRow
		}
		return ActionJob
	case "CANNOTINSERTUPDATEACTIVATEENTITY":
		if has("UNABLE_TO_LOCK_ROW") {
			return ActionRetryRow
		}
		return ActionRow
	case "INVALIDBATCH":
		if has("Field name not found") {
			return ActionConfig
		}
		return ActionJob
	}
	if strings.HasPrefix(folded, "TXNSECURITY") {
		return pick(rule{ActionRetryRow, ActionRetry})
	}
	if r, ok := rules[folded]; ok {
		return pick(r)
	}
	return unknown
}
