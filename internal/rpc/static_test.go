package rpc_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// A list of addresses is called in turn, and one that is gone is passed over.
func TestDialPassesOverAnAddressThatIsGone(t *testing.T) {
	t.Parallel()
	var addresses []string
	var servers []*grpc.Server
	for range 2 {
		lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t)})
		go func() { _ = s.Serve(lis) }()
		t.Cleanup(s.Stop)
		addresses, servers = append(addresses, lis.Addr().String()), append(servers, s)
	}
	conn, err := rpc.Dial(strings.Join(addresses, ","), rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	check := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return rpc.CheckHealth(ctx, conn)
	}
	testkit.Eventually(t, 10*time.Second, check)
	servers[0].Stop()
	testkit.Eventually(t, 10*time.Second, func() error {
		for range 4 {
			if err := check(); err != nil {
				return err
			}
		}
		return nil
	})
}
