package errs

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// Domain is the ErrorInfo domain of every error made here.
	Domain = "catalogsync"
	// kindKey is the ErrorInfo metadata that tells kinds apart which share a gRPC code.
	kindKey = "kind"
)

// GRPCStatus returns the error as it crosses the wire: code, Msg, ErrorInfo with reason and kind, and RetryInfo when
// there is something to wait for. The cause stays behind.
func (e *Error) GRPCStatus() *status.Status {
	kind := e.kind()
	st := status.New(kind.GRPC(), Message(e))
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason:   ReasonOf(e),
		Domain:   Domain,
		Metadata: map[string]string{kindKey: kind.String()},
	}}
	if after := RetryAfter(e); after > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	with, err := st.WithDetails(details...)
	if err != nil { // only for details that cannot be marshalled
		return st
	}
	return with
}

// FromGRPC turns the error of a gRPC call back into the [Error] that the server returned. Errors of gRPC itself and of
// other servers become an [Error] with a general text, the original being the cause. Other errors, and nil, are
// returned as they are.
func FromGRPC(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	s, ok := errors.AsType[statusError](err)
	if !ok {
		return err
	}
	st := s.GRPCStatus()
	e := &Error{Kind: KindOf(err), remote: true}
	ours := false
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != Domain {
				continue
			}
			ours = true
			e.Reason, e.Msg = d.GetReason(), st.Message()
			if k, ok := kindNamed(d.GetMetadata()[kindKey]); ok {
				e.Kind = k
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	if !ours {
		e.remote = false
		e.Reason, e.Msg, e.Err = e.Kind.String(), e.Kind.row().text, err
		if st.Code() == codes.DeadlineExceeded {
			e.Msg = tooLong
		}
	}
	return e
}
