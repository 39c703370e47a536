package bus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/internal/bus/bustest"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestMain(m *testing.M) {
	// The server leaves a store behind when a stream is made twice at once while it is missing.
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"), goleak.IgnoreAnyFunction(server+"/ats.Register.func1"))
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t testing.TB) bustest.Server { return testkit.NATS(t) })
}

func TestProcess(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t testing.TB) bustest.Server { return testkit.NATSProcess(t) })
}
