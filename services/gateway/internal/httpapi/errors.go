package httpapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// errorBody is how an error looks: {"error":{"code":"NOT_FOUND","reason":"no_such_run","message":"..."}}.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code    string `json:"code"`    // gRPC's, in capitals
	Reason  string `json:"reason"`  // stable; programs may branch on it
	Message string `json:"message"` // what happened and what to do
}

func bodyOf(err error) errorBody {
	return errorBody{errorDetail{
		Code:    code.Code(errs.KindOf(err).GRPC()).String(),
		Reason:  errs.ReasonOf(err),
		Message: errs.Message(err),
	}}
}

// describe sets the status and the headers that belong to an error.
func (x *exchange) describe(err error) {
	x.status = errs.KindOf(err).HTTP()
	if after := errs.RetryAfter(err); after > 0 {
		x.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	if x.status == http.StatusUnauthorized {
		x.Header().Set("WWW-Authenticate", `Bearer realm="catalogsync"`)
	}
}

func writeError(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	if _, ours := errors.AsType[*errs.Error](err); x.tooLarge && !ours {
		writeJSON(w, http.StatusRequestEntityTooLarge, bodyOf(errs.New(errs.Invalid, "body_too_large",
			"the body of the request is too large; files with people go to POST /v1/people:import")))
		return
	}
	err = own(err)
	x.describe(err)
	writeJSON(w, x.status, bodyOf(err))
}

// own gives errors that were made on the way to the gRPC server, such as about JSON that cannot be read, a reason and
// their text. Errors of the server are of package errs already.
func own(err error) error {
	if _, ok := errors.AsType[*errs.Error](err); ok {
		return err
	}
	if st, ok := status.FromError(err); ok && st.Code() == codes.InvalidArgument {
		return errs.New(errs.Invalid, "invalid_request", "%s", strings.ReplaceAll(st.Message(), "\u00a0", " "))
	}
	return err
}

func writeRoutingError(w http.ResponseWriter, r *http.Request, status int) {
	b := errorBody{errorDetail{Code: code.Code_NOT_FOUND.String(), Reason: "no_such_path", Message: "there is nothing at " + r.URL.Path + ": see /v1/openapi.json"}}
	switch status {
	case http.StatusMethodNotAllowed:
		b.Error = errorDetail{Code: code.Code_UNIMPLEMENTED.String(), Reason: "no_such_method", Message: "the path does not take " + r.Method + ": see /v1/openapi.json"}
	case http.StatusBadRequest:
		b.Error = errorDetail{Code: code.Code_INVALID_ARGUMENT.String(), Reason: "invalid_path", Message: "the path cannot be read"}
	}
	writeJSON(w, status, b)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// Server is an http.Server with the limits that everything that listens needs.
func Server(h http.Handler, stall time.Duration) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       stall,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}
