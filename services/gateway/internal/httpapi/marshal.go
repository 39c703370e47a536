package httpapi

import (
	"encoding/json"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// marshaler writes messages with the field names of the protos and all fields, and refuses fields that do not exist.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}}}
}

// Marshal writes an error that ends a stream as any other error.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	if chunk, ok := v.(map[string]proto.Message); ok {
		if st, ok := chunk["error"].(*spb.Status); ok {
			return json.Marshal(bodyOf(errs.FromGRPC(status.ErrorProto(st))))
		}
	}
	return m.JSONPb.Marshal(v)
}

// StreamContentType is for streams: one JSON value a line.
func (m *marshaler) StreamContentType(any) string { return "application/x-ndjson" }
