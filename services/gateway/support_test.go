package gateway_test

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/gateway"
)

type message = proto.Message

const watchRun = syncv1.RunService_WatchRun_FullMethodName

func (w *world) runs() syncv1.RunServiceClient { return syncv1.NewRunServiceClient(w.conn) }

func watchRequest() *syncv1.WatchRunRequest { return &syncv1.WatchRunRequest{RunId: "run_1"} }

func watchAnswer() message { return &syncv1.WatchRunResponse{} }

// slow lets each caller make five calls, and then one in a quarter of an hour.
func slow(c *gateway.Config) { c.CallsPerSecond, c.CallBurst = 0.001, 5 }

// withAuthorization returns a context that carries the header.
func withAuthorization(ctx context.Context, value string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", value)
}

// noConn leads nowhere.
type noConn struct{ grpc.ClientConnInterface }
