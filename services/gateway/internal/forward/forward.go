// Package forward owns the way of calls from the gateway to the services that serve them. It knows no method: what a
// service has is read from its descriptor, and a method that is added to a proto is forwarded without a line here.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
)

// Prepare may change a request before it is forwarded, or refuse it. It sees requests of unary methods and of methods
// that take one request.
type Prepare func(ctx context.Context, fullMethod string, req proto.Message) error

// Record notes a call before it is made, with its request, which is nil for methods that take a stream of them. After an
// error the call is not made.
type Record func(ctx context.Context, fullMethod string, req proto.Message) error

// Service returns what a gRPC server needs to serve the public methods of a service by calling conn.
func Service(s protoreflect.ServiceDescriptor, rules access.Rules, conn grpc.ClientConnInterface, prepare Prepare, record Record) (*grpc.ServiceDesc, error) {
	desc := &grpc.ServiceDesc{
		ServiceName: string(s.FullName()),
		HandlerType: (*any)(nil),
		Metadata:    s.ParentFile().Path(),
	}
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		if !access.Public(rules[access.FullMethod(m)]) {
			continue
		}
		in, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
		if err != nil {
			return nil, fmt.Errorf("request of %s: %w", m.FullName(), err)
		}
		out, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
		if err != nil {
			return nil, fmt.Errorf("response of %s: %w", m.FullName(), err)
		}
		f := method{
			name: access.FullMethod(m), conn: conn, prepare: prepare, record: record,
			in:     func() proto.Message { return in.New().Interface() },
			out:    func() proto.Message { return out.New().Interface() },
			stream: grpc.StreamDesc{StreamName: string(m.Name()), ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient()},
		}
		if !f.stream.ServerStreams && !f.stream.ClientStreams {
			desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: string(m.Name()), Handler: f.unary})
			continue
		}
		stream := f.stream
		stream.Handler = f.streamed
		desc.Streams = append(desc.Streams, stream)
	}
	return desc, nil
}

// method forwards the calls of one method.
type method struct {
	name    string
	conn    grpc.ClientConnInterface
	prepare Prepare
	record  Record
	in, out func() proto.Message
	stream  grpc.StreamDesc
}

func (f method) unary(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	in := f.in()
	if err := decode(in); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, req any) (any, error) {
		if err := f.prepare(ctx, f.name, req.(proto.Message)); err != nil {
			return nil, err
		}
		if err := f.record(ctx, f.name, req.(proto.Message)); err != nil {
			return nil, err
		}
		out := f.out()
		if err := f.conn.Invoke(ctx, f.name, req, out); err != nil {
			return nil, err
		}
		return out, nil
	}
	if interceptor == nil {
		return call(ctx, in)
	}
	return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: f.name}, call)
}

func (f method) streamed(_ any, from grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(from.Context())
	defer cancel()
	var first proto.Message
	if !f.stream.ClientStreams {
		first = f.in()
		if err := from.RecvMsg(first); err != nil {
			return err
		}
		if err := f.prepare(ctx, f.name, first); err != nil {
			return err
		}
	}
	if err := f.record(ctx, f.name, first); err != nil {
		return err
	}
	to, err := f.conn.NewStream(ctx, &f.stream, f.name)
	if err != nil {
		return err
	}
	if first != nil {
		// Errors of sending are io.EOF; what is wrong is told by RecvMsg.
		if err := to.SendMsg(first); err == nil {
			_ = to.CloseSend()
		}
	} else {
		// It ends with the handler: the server ends the stream of the caller when the handler returns.
		go f.pump(from, to, cancel)
	}
	for {
		out := f.out()
		err := to.RecvMsg(out)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := from.SendMsg(out); err != nil {
			return err
		}
	}
}

// pump sends what the caller sends. A caller who breaks off must not look like one who came to the end.
func (f method) pump(from grpc.ServerStream, to grpc.ClientStream, cancel context.CancelFunc) {
	for {
		in := f.in()
		err := from.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			_ = to.CloseSend() // what is wrong with the stream is told by the other direction
			return
		}
		if err != nil {
			cancel()
			return
		}
		if err := to.SendMsg(in); err != nil {
			return // as above
		}
	}
}
