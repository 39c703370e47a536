package similar_test

import (
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/services/mapper/internal/similar"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"first_name", "last_name", "Title", "Job_Title__c", "Level__c", "Email", "State", "id"}
	for name, want := range map[string]string{
		"Titel": "Title", "firstname": "first_name", "lastName": "last_name", "Job_Titel__c": "Job_Title__c", "LEVEL": "Level__c", "e-mail": "Email", "Stat": "State", "ID": "id",
		"Work_Email__c": "Email", "Shoe_Size__c": "", "": "", "x": "", strings.Repeat("x", 200): "",
	} {
		if got, ok := similar.Nearest(name, known); got != want || ok != (want != "") {
			t.Errorf("Nearest(%.20s) = %q, %v; want %q", name, got, ok, want)
		}
	}
	if got, ok := similar.Nearest("Title", nil); ok {
		t.Errorf("of nothing: %q", got)
	}
}
