package salesforce

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Error is an answer by which Salesforce refused a request, or which made no sense.
type Error struct {
	Op      string   // what was being done, for example "query"
	Status  int      // HTTP status; 0 when the error comes from the client itself or from a job
	Code    string   // Salesforce's code, for example MALFORMED_QUERY; NO_CODE when there was none
	Message string   // Salesforce's text, at most 512 bytes, secrets removed. It can quote data: show it, do not log it
	Fields  []string // field names, often none
	Action  Action   // what to do about it
	Others  []string // records that a duplicate rule matched, ten at the most
	// MayHaveApplied is false when the answer proves that nothing was done.
	MayHaveApplied bool
	// TokenReplaced is true when the access token was refused and another one is there: a call that is never repeated
	// here may be made again.
	TokenReplaced bool
}

// Codes of the client's own, for answers without one of Salesforce's.
const (
	CodeNone       = "NO_CODE"            // an error status without a readable body
	CodeNotData    = "UNEXPECTED_CONTENT" // status 200 and HTML or something else that was not asked for
	CodeURITooLong = "URI_TOO_LONG"       // found before sending
)

// Error names the operation, status, code and the last line of the message: the lines before it quote the
// query.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("salesforce: ")
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d ", e.Status)
	}
	b.WriteString(e.Code)
	if m := lastLine(e.Message); m != "" {
		b.WriteString(": " + m)
	}
	return b.String()
}

// LogValue leaves the message out, which can quote data.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(slog.String("op", e.Op), slog.Int("status", e.Status), slog.String("code", e.Code), slog.String("action", e.Action.String()))
}

// TransportError is a request that got no usable answer: refused connection, reset, time-out, truncated
// reply. A read is safe to repeat.
type TransportError struct {
	Op   string
	Sent bool  // whether a byte may have reached Salesforce
	Err  error // without URL: it may quote data
}

func (e *TransportError) Error() string { return fmt.Sprintf("salesforce: %s: %v", e.Op, e.Err) }
func (e *TransportError) Unwrap() error { return e.Err }

// UnknownOutcomeError is a call that changes the org and whose answer was lost. It is neither success nor
// failure: look up what happened before doing anything else.
type UnknownOutcomeError struct {
	Op  string
	Err error
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("salesforce: %s: outcome unknown, look it up: %v", e.Op, e.Err)
}
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// IncompleteError is a query that ended well but delivered another number of rows than it announced.
type IncompleteError struct{ Want, Got int64 }

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("salesforce: the query announced %d rows and delivered %d", e.Want, e.Got)
}

var (
	// ErrReplyChanged says that a reply broke off, was asked for again and began with other rows than
	// those already handed out. Start over.
	ErrReplyChanged = errors.New("salesforce: the reply was interrupted and its second copy differs, start again")
	// ErrMalformed says that a reply is not what the API promises. It is never guessed at.
	ErrMalformed = errors.New("salesforce: malformed reply")
	// ErrTooLarge says that a reply, or one value in it, is over the client's limit.
	ErrTooLarge = errors.New("salesforce: reply too large")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

const (
	maxErrorBody = 256 << 10 // read of an error body; duplicate rules list the matches
	maxMessage   = 512       // kept of a message
)

// item holds the spellings of an error that the APIs use: REST, OAuth-like gateways, Bulk 1.
type item struct {
	Message          string   `json:"message"`
	ErrorCode        string   `json:"errorCode"`
	Fields           []string `json:"fields"`
	Error            string   `json:"error"`
	ErrorDescription string   `json:"error_description"`
	ExceptionCode    string   `json:"exceptionCode"`
	ExceptionMessage string   `json:"exceptionMessage"`

	DuplicateResut  json.RawMessage `json:"duplicateResut"`
	DuplicateResult json.RawMessage `json:"duplicateResult"`
}

// parseError reads the body of an error answer: an array, an object, a page or nothing.
func parseError(op string, status int, body io.Reader) *Error {
	// A body that breaks off still leaves the status.
	raw, _ := io.ReadAll(io.LimitReader(body, maxErrorBody))
	raw = bytes.TrimSpace(raw)
	e := &Error{Op: op, Status: status, Code: CodeNone}
	var items []item
	if json.Unmarshal(raw, &items) != nil {
		var one item
		if json.Unmarshal(raw, &one) == nil {
			items = []item{one}
		}
	}
	if len(items) > 0 {
		i := items[0]
		e.Code = firstNonEmpty(i.ErrorCode, i.ExceptionCode, i.Error, CodeNone)
		e.Message = cut(firstNonEmpty(i.Message, i.ExceptionMessage, i.ErrorDescription))
		e.Fields = i.Fields
		e.Others = append(matched(i.DuplicateResut), matched(i.DuplicateResult)...)
	} else {
		e.Message = cut(string(raw))
	}
	e.Action = ClassifyRequest(status, e.Code, e.Message)
	e.MayHaveApplied = mayHaveApplied(e)
	return e
}

// mayHaveApplied is false for answers by which Salesforce itself refused the request. Faults of the
// platform and of the edge in front of it prove nothing.
func mayHaveApplied(e *Error) bool {
	switch {
	case e.Status >= 500, e.Status < 400:
		return true
	case foldCode(e.Code) == "REQUESTRUNNINGTOOLONG":
		return true
	case e.Status == 406, e.Status == 408, e.Status == 420:
		return e.Code == CodeNone
	}
	return false
}

func firstNonEmpty(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

var secrets = regexp.MustCompile(`00D\w{9,15}![\w.]+|5Aep[\w.\-]{8,}|eyJ[\w\-]+\.[\w\-]+(\.[\w\-]*)*|(?i:bearer)\s+[\w.!\-~+/]+=*`)

// scrub removes what looks like a token.
func scrub(s string) string {
	if !strings.ContainsAny(s, "!.5bB") {
		return s
	}
	return secrets.ReplaceAllString(s, redacted)
}

// cut scrubs a message, drops control characters other than line breaks and keeps its first 512 bytes.
func cut(s string) string {
	if len(s) > 4*maxMessage {
		s = s[:4*maxMessage]
	}
	s = scrub(strings.ToValidUTF8(s, "?"))
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) <= maxMessage {
		return s
	}
	s = s[:maxMessage]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
