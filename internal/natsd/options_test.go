package natsd

import "testing"

// TestSync holds on to the one setting that a crash of the machine needs and that no test of a process can miss.
func TestSync(t *testing.T) {
	t.Parallel()
	o := Options{Dir: "dir", MaxStore: 5}
	got, err := o.server()
	if err != nil {
		t.Fatal(err)
	}
	if !got.SyncAlways || !got.NoSigs || !got.DontListen || !got.JetStream || got.StoreDir != "dir" || got.JetStreamMaxStore != 5 {
		t.Errorf("options %+v", got)
	}
	o.NoSync = true
	if got, err = o.server(); err != nil || got.SyncAlways {
		t.Errorf("with NoSync the server syncs (%v)", err)
	}
}
