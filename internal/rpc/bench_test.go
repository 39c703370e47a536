package rpc_test

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/catalogsync/catalogsync/internal/rpc"
)

// BenchmarkUnary is the cost of one call with all interceptors, made by 32 callers at once.
func BenchmarkUnary(b *testing.B) {
	network := rpc.NewMemNet()
	kinds := map[string]func(b *testing.B) (net.Listener, *grpc.ClientConn, error){
		"memory": func(*testing.B) (net.Listener, *grpc.ClientConn, error) {
			lis := network.Listen("x")
			conn, err := network.Dial("x", rpc.DialOptions{})
			return lis, conn, err
		},
		"TCP": func(b *testing.B) (net.Listener, *grpc.ClientConn, error) {
			lis, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				return nil, nil, err
			}
			conn, err := rpc.Dial(lis.Addr().String(), rpc.DialOptions{})
			return lis, conn, err
		},
	}
	for name, open := range kinds {
		b.Run(name, func(b *testing.B) {
			lis, conn, err := open(b)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			server := rpc.NewServer(rpc.ServerOptions{Log: slog.New(slog.DiscardHandler)})
			grpc_testing.RegisterTestServiceServer(server, answering(nil))
			served := make(chan error, 1)
			go func() { served <- rpc.Serve(ctx, server, lis, grace) }()
			caller := rpc.WithCaller(ctx, rpc.Caller{Tenant: "acme", Subject: "benchmark"})
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := call(caller, conn); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			cancel()
			if err := <-served; err != nil {
				b.Error(err)
			}
			_ = conn.Close()
		})
	}
}
