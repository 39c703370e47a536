package salesforce_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

func TestUserIDIsTheConnectedUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t, sequence(
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/services/data/v67.0/" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			reply(w, 200, `{"query":"/services/data/v67.0/query","identity":"https://login.example.com/id/00D5g000001AbCdEAK/0055g000001AbCdAAK","limits":"/x"}`)
		},
		func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"query":"/services/data/v67.0/query"}`) },
	))
	if id, err := r.UserID(t.Context()); err != nil || id != "0055g000001AbCdAAK" {
		t.Errorf("user %q, %v", id, err)
	}
	if id, err := r.UserID(t.Context()); !errors.Is(err, salesforce.ErrMalformed) {
		t.Errorf("without an identity: %q, %v", id, err)
	}
}
