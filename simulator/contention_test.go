package simulator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

// TestContentionOfChunks saves children of one account in two chunks of a job: a real org saves the chunks at the same
// time, so the second cannot lock the account.
func TestContentionOfChunks(t *testing.T) {
	t.Parallel()
	for _, contention := range []bool{false, true} {
		o := start(t, simulator.Options{LockContention: contention, OrderedResults: true})
		shared, other := o.create("Account", map[string]string{"Name": "shared"}), o.create("Account", map[string]string{"Name": "other"})
		var csv strings.Builder
		csv.WriteString("LastName,AccountId\n")
		for i := range 10_203 {
			switch i {
			case 5, 10_006: // the first batches of both chunks
				fmt.Fprintf(&csv, "clash %d,%s\n", i, shared)
			case 300: // the second batch of the first chunk: not at the time of the first of the second chunk
				fmt.Fprintf(&csv, "alone %d,%s\n", i, other)
			case 10_007:
				fmt.Fprintf(&csv, "alone %d,%s\n", i, other)
			default:
				fmt.Fprintf(&csv, "none %d,\n", i)
			}
		}
		id, info := o.ingest(`{"object":"Contact","operation":"insert"}`, csv.String())
		bad := o.do("GET", "/jobs/ingest/"+id+"/failedResults", "").body
		if !contention {
			if !strings.Contains(info, `"numberRecordsFailed":0`) {
				t.Errorf("without contention: %s", bad)
			}
			continue
		}
		want := `"sf__Id","sf__Error",LastName,AccountId` + "\n" +
			`"","UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: ` + shared + `:--","clash 10006","` + shared + `"` + "\n"
		if bad != want {
			t.Errorf("failed results\ngot  %s\nwant %s", bad, want)
		}
	}
}

// TestContentionOfRequests touches children of an account whose children a Bulk job is saving.
func TestContentionOfRequests(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{LockContention: true, BulkRate: 1})
	locked, free := o.create("Account", map[string]string{"Name": "locked"}), o.create("Account", map[string]string{"Name": "free"})
	old := o.create("Contact", map[string]string{"LastName": "old", "AccountId": locked})
	running := func(csv string) string {
		id := o.open(`{"object":"Contact","operation":"upsert","externalIdFieldName":"CatalogUserId__c"}`, csv)
		o.want(o.do("PATCH", "/jobs/ingest/"+id, `{"state":"UploadComplete"}`), 200, `*`)
		return id
	}
	job := running("CatalogUserId__c,LastName,AccountId\n" + strings.Repeat("k,x,\n", 199) + "l,y," + locked + "\n")
	refused := `[{"message":"unable to obtain exclusive access to this record or 1 records: ` + locked + `","errorCode":"UNABLE_TO_LOCK_ROW","fields":[]}]`
	create := func(account string) reply {
		return o.do("POST", "/sobjects/Contact", `{"LastName":"z","AccountId":"`+account+`"}`)
	}
	o.eventually(func() bool { return create(locked).status == 400 })
	o.want(create(locked), 400, refused)
	o.want(o.do("PATCH", "/sobjects/Contact/"+old, `{"FirstName":"z"}`), 400, refused)
	o.want(o.do("DELETE", "/sobjects/Contact/"+old, ""), 400, refused)
	o.want(create(free), 201, `*"success":true*`)
	o.want(o.do("PATCH", "/jobs/ingest/"+job, `{"state":"Aborted"}`), 200, `*"state":"Aborted"*`)
	o.eventually(func() bool { return create(locked).status == 201 })
	o.want(o.do("PATCH", "/sobjects/Contact/"+old, `{"FirstName":"z"}`), 204, "")
}
