// Package reply owns the shapes in which the org answers: JSON bodies and the two kinds of error.
package reply

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// Error is one element of a data API's error array. Fields nil leaves the key out; CodeFirst is the order of NOT_FOUND
// and of Bulk errors.
type Error struct {
	Code      string
	Message   string
	Fields    []string
	CodeFirst bool
	Detail    any // duplicateResut
}

// MarshalJSON keeps Salesforce's order of keys.
func (e Error) MarshalJSON() ([]byte, error) {
	code, message := quote(e.Code), quote(e.Message)
	var b bytes.Buffer
	b.WriteByte('{')
	switch {
	case e.Detail != nil:
		d, err := Marshal(e.Detail)
		if err != nil {
			return nil, err
		}
		b.WriteString(`"duplicateResut":`)
		b.Write(d)
		b.WriteString(`,"errorCode":` + code + `,"message":` + message)
	case e.CodeFirst:
		b.WriteString(`"errorCode":` + code + `,"message":` + message)
	default:
		b.WriteString(`"message":` + message + `,"errorCode":` + code)
	}
	if e.Fields != nil && e.Detail == nil {
		f, err := Marshal(e.Fields)
		if err != nil {
			return nil, err
		}
		b.WriteString(`,"fields":`)
		b.Write(f)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func quote(s string) string {
	b, err := Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// Marshal is json.Marshal without HTML escapes, which Salesforce does not make.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// JSON answers v.
func JSON(w http.ResponseWriter, status int, v any) {
	b, err := Marshal(v)
	if err != nil {
		Errors(w, http.StatusInternalServerError, Error{Code: "UNKNOWN_EXCEPTION", Message: "An unexpected error occurred. Please include this ErrorId if you contact support: 1-1 (1)"})
		return
	}
	Raw(w, status, b)
}

// Raw answers a body that is JSON already.
func Raw(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Errors answers an error array.
func Errors(w http.ResponseWriter, status int, errs ...Error) { JSON(w, status, errs) }

// NotFound answers 404 in the words for a missing record, object or resource.
func NotFound(w http.ResponseWriter) {
	Errors(w, http.StatusNotFound, Error{Code: "NOT_FOUND", Message: "The requested resource does not exist", CodeFirst: true})
}

// MethodNotAllowed answers 405; allowed is the list in Salesforce's text: "GET,HEAD,POST".
func MethodNotAllowed(w http.ResponseWriter, method, allowed string) {
	w.Header().Set("Allow", allowed)
	Errors(w, http.StatusMethodNotAllowed, Error{Code: "METHOD_NOT_ALLOWED", Message: "HTTP Method '" + method + "' not allowed. Allowed are " + allowed})
}

// OAuth answers an OAuth error object with status 400.
func OAuth(w http.ResponseWriter, code, description string) {
	JSON(w, http.StatusBadRequest, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, description})
}
