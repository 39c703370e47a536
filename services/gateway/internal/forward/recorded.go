package forward

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Recorded returns the description of a service of the gateway's own, whose unary calls are noted before they are made.
func Recorded(desc *grpc.ServiceDesc, record Record) *grpc.ServiceDesc {
	d := *desc
	d.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		handle := m.Handler
		m.Handler = func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			return handle(srv, ctx, decode, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				call := func(ctx context.Context, req any) (any, error) {
					if err := record(ctx, info.FullMethod, req.(proto.Message)); err != nil {
						return nil, err
					}
					return next(ctx, req)
				}
				if interceptor == nil {
					return call(ctx, req)
				}
				return interceptor(ctx, req, info, call)
			})
		}
		d.Methods[i] = m
	}
	return &d
}
