package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFlagsAndEnvironment(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--external-id-field", "Contact.A__c,Lead.A__c", "--external-id-field=Contact.B__c", "--daily-limit", "7", "--seed-records", "Contact=5", "--record-type", "Contact.Teacher", "--lock-contention", "--bulk-query-rate", "9", "--state-country-picklists"},
		[]string{"SALESFORCE_SIM_DAILY_LIMIT=9", "SALESFORCE_SIM_BULK_RATE=100", "SALESFORCE_SIM_LATENCY=20ms", "SALESFORCE_SIM_REDIRECT_URI=http://a/,http://b/", "OTHER=1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.ExternalIDFields, []string{"Contact.A__c", "Lead.A__c", "Contact.B__c"}) || o.DailyLimit != 7 || o.BulkRate != 100 || o.Latency != 20*time.Millisecond ||
		len(o.RedirectURIs) != 2 || o.SeedRecords["Contact"] != 5 || !slices.Equal(o.RecordTypes, []string{"Contact.Teacher"}) || !o.LockContention || o.BulkQueryRate != 9 || !o.StateCountryPicklists || o.Listen != "127.0.0.1:8089" {
		t.Errorf("%+v", o)
	}
	for _, args := range [][]string{{"--daily-limit", "x"}, {"stray"}, {"--seed-records", "Contact"}, {"--jwt-cert", "/does/not/exist"}, {"--nope"}} {
		if _, err := parse(args, nil, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	if _, err := parse(nil, []string{"SALESFORCE_SIM_DAILY_LIMIT=x"}, io.Discard); err == nil || !strings.Contains(err.Error(), "SALESFORCE_SIM_DAILY_LIMIT") {
		t.Errorf("wrong environment: %v", err)
	}
	if _, err := parse([]string{"--help"}, nil, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(context.Background())
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"}, nil, w, io.Discard)
	}()
	var text bytes.Buffer
	for !strings.Contains(text.String(), "sf data query") {
		if _, err := io.CopyN(&text, out, 1); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	_, rest, _ := strings.Cut(text.String(), " at ")
	url, _, _ := strings.Cut(rest, "\n")
	res, err := http.Get(url + "/services/data")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("versions: %s", res.Status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
