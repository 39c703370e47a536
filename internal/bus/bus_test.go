package bus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/internal/bus/bustest"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEmbedded(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t testing.TB) bustest.Server { return testkit.NATS(t) })
}

func TestProcess(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t testing.TB) bustest.Server { return testkit.NATSProcess(t) })
}
