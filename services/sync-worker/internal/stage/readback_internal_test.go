package stage

import (
	"fmt"
	"testing"
)

// The filter may admit a stranger now and then, but never denies a record that was written.
func TestIDFilter(t *testing.T) {
	t.Parallel()
	const n = 200_000
	f := new(idFilter)
	id := func(i int) string { return fmt.Sprintf("003%015d", i) }
	for i := range n {
		f.add(id(i))
	}
	for i := range n {
		if !f.has(id(i)) {
			t.Fatalf("%s was added and is denied", id(i))
		}
	}
	strangers := 0
	for i := n; i < 2*n; i++ {
		if f.has(id(i)) {
			strangers++
		}
	}
	if strangers > n/1000 {
		t.Errorf("%d of %d strangers are admitted", strangers, n)
	}
	t.Logf("%d of %d strangers are admitted", strangers, n)
}
