package salesforcetest_test

import (
	"testing"

	"github.com/catalogsync/catalogsync/internal/salesforce/salesforcetest"
)

func TestClientAgainstSimulator(t *testing.T) {
	t.Parallel()
	salesforcetest.Run(t, salesforcetest.Simulator)
}
