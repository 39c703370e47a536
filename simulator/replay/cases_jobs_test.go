package replay_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

const (
	upsertOpportunity = `{"operation":"upsert","object":"Opportunity","externalIdFieldName":"external_id__c","contentType":"CSV","lineEnding":"LF"}`
	deleteOpportunity = `{"operation":"delete","object":"Opportunity","contentType":"CSV","lineEnding":"LF"}`
	updateAccount     = `{"operation":"update","object":"Account","contentType":"CSV","lineEnding":"LF"}`
	queryAccounts     = `{"operation":"query","query":"SELECT Id, Name, Phone FROM Account"}`
	opportunityHeader = "Name,StageName,external_id__c,CloseDate\n"
)

// slow is an org that processes so few rows a second that a job is surely met while it runs.
var slow = simulator.Options{BulkRate: 1}

func jobCases() []replay {
	create := func(body string) func(*org, *node) reply {
		return func(o *org, _ *node) reply { return o.do("POST", "jobs/ingest", body) }
	}
	// info runs a job until a state and asks for it.
	info := func(job, csv, state string) func(*org, *node) reply {
		return func(o *org, _ *node) reply { return o.get("jobs/ingest/" + o.run(job, csv, state)) }
	}
	file := func(job, csv, name string) func(*org, *node) reply {
		return func(o *org, _ *node) reply { return o.get("jobs/ingest/" + o.run(job, csv) + "/" + name) }
	}
	accountRows := func(o *org) string {
		var b strings.Builder
		b.WriteString("Id,Phone\n")
		for range 4 {
			b.WriteString(o.create("Account", "Name", "a") + ",1\n")
		}
		return b.String()
	}
	patch := func(job, csv string) func(*org, *node) reply {
		return func(o *org, _ *node) reply {
			return o.do("PATCH", "jobs/ingest/"+o.upload(job, csv), `{"state":"UploadComplete"}`)
		}
	}
	opportunities := func(n int) string {
		return opportunityHeader + strings.Join(strings.Fields(strings.Repeat("x ", n)), ",Prospecting,,2026-01-01\n") + ",Prospecting,,2026-01-01\n"
	}
	times := []meant{
		{"$.totalProcessingTime: is *", "milliseconds differ from run to run"},
		{"$.apiActiveProcessingTime: is *", "the same"},
	}
	return []replay{
		{file: "bulk-ingest/abort-completed-400.json", version: "49.0", status: 400, ask: func(o *org, _ *node) reply {
			return o.do("PATCH", "jobs/ingest/"+o.run(updateAccount, accountRows(o)), `{"state":"Aborted"}`)
		}},
		{file: "bulk-ingest/create-delete-job.json", ask: create(deleteOpportunity)},
		{file: "bulk-ingest/create-upsert-job.json", ask: create(upsertOpportunity)},
		{file: "bulk-ingest/failed-results-empty.csv", version: "52.0", ask: func(o *org, _ *node) reply {
			return o.get("jobs/ingest/" + o.run(updateAccount, accountRows(o)) + "/failedResults/")
		}},
		{file: "bulk-ingest/unprocessed-records-empty.csv", version: "52.0", ask: func(o *org, _ *node) reply {
			return o.get("jobs/ingest/" + o.run(updateAccount, accountRows(o)) + "/unprocessedrecords/")
		}},
		{file: "bulk-ingest/failed-results.csv", ask: file(upsertOpportunity, opportunityHeader+"Noemi Miller,GENERATED,external-id-3,2003-04-987654321987654321\n", "failedResults")},
		{file: "bulk-ingest/info-failed-unknown-column.json", ask: info(upsertOpportunity, "external_id__c,StageName_invalid_field_on_purpose\nx,y\n", "Failed")},
		{
			file: "bulk-ingest/info-in-progress.json", options: slow, ask: info(upsertOpportunity, strings.ReplaceAll(opportunities(401), ",,", ",k,"), "InProgress"),
			meant: []meant{
				{"$.numberRecordsProcessed: is 0, captured 2000", "met earlier in its run"},
				{"$.apiActiveProcessingTime: is *", "milliseconds differ from run to run"},
			},
		},
		{
			file: "bulk-ingest/info-job-complete-one-row-failed.json", meant: times,
			ask: info(upsertOpportunity, opportunityHeader+"a,Prospecting,1,2026-01-01\na,Prospecting,2,2026-01-01\na,Prospecting,3,2026-01-01\na,Prospecting,4,2026-01-01\n"+
				"a,Prospecting,5,2026-01-01\na,Prospecting,6,2026-01-01\na,Prospecting,7,2026-01-01\na,Prospecting,8,2003-04-987654321987654321\n", "JobComplete"),
		},
		{file: "bulk-ingest/info-job-complete.json", shape: true, ask: info(upsertOpportunity, strings.ReplaceAll(opportunities(1), ",,", ",k,"), "JobComplete")},
		{file: "bulk-ingest/lifecycle-1-create-v52.json", version: "52.0", ask: create(updateAccount)},
		{file: "bulk-ingest/lifecycle-2-info-open-v52.json", version: "52.0", ask: func(o *org, _ *node) reply {
			return o.get("jobs/ingest/" + o.id(o.do("POST", "jobs/ingest", updateAccount)) + "/")
		}},
		{file: "bulk-ingest/lifecycle-3-info-after-put-v52.json", version: "52.0", ask: func(o *org, _ *node) reply {
			return o.get("jobs/ingest/" + o.upload(updateAccount, accountRows(o)) + "/")
		}},
		{file: "bulk-ingest/lifecycle-4-patch-upload-complete-v52.json", version: "52.0", ask: func(o *org, _ *node) reply {
			return patch(updateAccount, accountRows(o))(o, nil)
		}},
		{file: "bulk-ingest/lifecycle-5-info-in-progress-v52.json", version: "52.0", options: slow, shape: true, ask: func(o *org, _ *node) reply {
			return o.get("jobs/ingest/" + o.run(updateAccount, accountRows(o), "InProgress"))
		}},
		{file: "bulk-ingest/lifecycle-6-info-job-complete-v52.json", version: "52.0", ask: func(o *org, _ *node) reply {
			return o.get("jobs/ingest/" + o.run(updateAccount, accountRows(o)))
		}, meant: times},
		{file: "bulk-ingest/list-jobs-v49.json", version: "49.0", options: slow, ask: func(o *org, _ *node) reply {
			o.run(`{"operation":"insert","object":"Contact"}`, "LastName\nx\n", "InProgress")
			return o.get("jobs/ingest")
		}, meant: []meant{{`$.records[0].object: is "Contact", captured "Case"`, "the simulator has no Case"}}},
		{file: "bulk-ingest/patch-upload-complete-delete.json", ask: patch(deleteOpportunity, "Id\n006ak000009BkrxAAC\n")},
		{file: "bulk-ingest/patch-upload-complete-upsert.json", ask: patch(upsertOpportunity, opportunityHeader)},
		{file: "bulk-query/create-400-daily-jobs-used-up.json", status: 400, ask: func(o *org, _ *node) reply {
			for range 10_000 {
				if r := o.do("POST", "jobs/query", queryAccounts); r.status != 200 {
					o.t.Fatal(r.body)
				}
			}
			return o.do("POST", "jobs/query", queryAccounts)
		}, meant: []meant{{"$[0].message: is \"Max bulk v2 query jobs (10000) per 24 hrs has been reached (10001)\", captured *", "how far over the limit the org was"}}},
		{file: "bulk-query/create-query-job-v60.json", ask: func(o *org, _ *node) reply { return o.do("POST", "jobs/query", queryAccounts) }},
		{file: "bulk-query/lifecycle-1-create-v52.json", version: "52.0", ask: func(o *org, _ *node) reply { return o.do("POST", "jobs/query", queryAccounts) }},
		{file: "bulk-query/lifecycle-2-info-in-progress-v52.json", version: "52.0", options: simulator.Options{BulkQueryRate: 1, SeedRecords: map[string]int{"Account": 2000}}, ask: func(o *org, _ *node) reply {
			path := "jobs/query/" + o.id(o.do("POST", "jobs/query", queryAccounts))
			o.await(path, "InProgress")
			return o.get(path)
		}},
		{file: "bulk-query/lifecycle-3-info-job-complete-v52.json", version: "52.0", ask: func(o *org, _ *node) reply {
			for range 5 {
				o.create("Account", "Name", "a")
			}
			path := "jobs/query/" + o.id(o.do("POST", "jobs/query", queryAccounts))
			o.await(path)
			return o.get(path)
		}, meant: []meant{{"$.totalProcessingTime: is *", "milliseconds differ from run to run"}}},
		{file: "bulk-query/results-with-null-v52.csv", version: "52.0", ask: func(o *org, _ *node) reply {
			rows, err := csv.NewReader(strings.NewReader(o.capture("bulk-query/results-with-null-v52.csv"))).ReadAll()
			if err != nil {
				o.t.Fatal(err)
			}
			for _, row := range rows[1:] {
				o.create("Account", "Name", row[1], "Phone", row[2])
			}
			path := "jobs/query/" + o.id(o.do("POST", "jobs/query", queryAccounts))
			o.await(path)
			return o.get(path + "/results/")
		}},
	}
}

// uploads are sample uploads that other clients are tested with, and their delimiters.
var uploads = []struct{ file, delimiter string }{
	{"sample-data/bulk-upload-comma.csv", "COMMA"},
	{"sample-data/bulk-upload-comma-quoted.csv", "COMMA"},
	{"sample-data/bulk-upload-backquote.csv", "BACKQUOTE"},
	{"sample-data/bulk-upload-caret.csv", "CARET"},
	{"sample-data/bulk-upload-pipe.csv", "PIPE"},
	{"sample-data/bulk-upload-semicolon.csv", "SEMICOLON"},
	{"sample-data/bulk-upload-tab.csv", "TAB"},
	{"sample-data/bulk-upload-multiline.csv", "COMMA"},
}

// TestUploads loads the sample uploads: no reply to them was captured, but each row has to be saved.
func TestUploads(t *testing.T) {
	t.Parallel()
	dir, there := folder(t)
	if !there {
		return
	}
	for _, u := range uploads {
		t.Run(u.file, func(t *testing.T) {
			t.Parallel()
			o := start(t, dir, "60.0", simulator.Options{})
			upload := o.capture(u.file)
			rows := strings.Count(strings.TrimSpace(upload), "\n")
			if strings.Contains(u.file, "multiline") {
				rows = 3
				upload = strings.Replace(upload, ",JIGSAWCOMPANYID,", ",DUNSNUMBER,", 1) // read-only here as in the reference, and empty
			}
			path := "jobs/ingest/" + o.run(`{"operation":"insert","object":"Account","columnDelimiter":"`+u.delimiter+`"}`, upload)
			if n := o.Count("Account"); n != rows {
				t.Errorf("%d accounts of %d rows: %s\n%s", n, rows, o.get(path).body, o.get(path+"/failedResults").body)
			}
		})
	}
}
