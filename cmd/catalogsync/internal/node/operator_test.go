package node

import (
	"os"
	"path/filepath"
	"testing"
)

// The token stays what it is, and a file that a killed process left empty locks nobody out.
func TestOperatorToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "operator.token")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := operatorToken(path)
	if err != nil || len(made) < 24 {
		t.Fatalf("%d characters, %v", len(made), err)
	}
	if again, err := operatorToken(path); err != nil || again != made {
		t.Errorf("another token the next time, %v", err)
	}
}
