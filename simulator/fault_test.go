package simulator_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

const oneContact = `{"records":[{"attributes":{"type":"Contact"},"LastName":"x"}]}`

// try sends a create with a deadline and tells the status and whether the whole body came.
func (o *org) try(wait time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	req := o.request("POST", "/composite/sobjects", oneContact, "Sforce-Call-Options", "client=probe").WithContext(ctx)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.ReadAll(res.Body)
	return res.StatusCode, err
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		rule    fault.Rule
		status  int  // 0: no answer
		broken  bool // the body did not come whole
		effects int64
	}{
		{"error", fault.Rule{Kind: fault.Error, Status: 500, Code: "UNKNOWN_EXCEPTION", Message: "x"}, 500, false, 0},
		{"reset before", fault.Rule{Kind: fault.ResetBefore}, 0, false, 0},
		{"reset after", fault.Rule{Kind: fault.ResetAfter}, 0, false, 1},
		{"hang after", fault.Rule{Kind: fault.HangAfter}, 0, false, 1},
		{"hang before", fault.Rule{Kind: fault.HangBefore}, 0, false, 0},
		{"late", fault.Rule{Kind: fault.Late, Delay: fault.Duration(20 * time.Millisecond)}, 0, false, 1},
		{"slow headers", fault.Rule{Kind: fault.SlowHeaders, Delay: fault.Duration(time.Millisecond)}, 200, false, 1},
		{"trickle", fault.Rule{Kind: fault.Trickle, Bytes: 10, Delay: fault.Duration(time.Millisecond)}, 200, false, 1},
		{"bandwidth", fault.Rule{Kind: fault.Bandwidth, Bytes: 2000}, 200, false, 1},
		{"truncate", fault.Rule{Kind: fault.Truncate}, 200, true, 1},
		{"html", fault.Rule{Kind: fault.HTML, Status: 503}, 503, false, 0},
		{"empty", fault.Rule{Kind: fault.Empty}, 406, false, 0},
		{"duplicate", fault.Rule{Kind: fault.Duplicate}, 200, false, 2},
		{"request limit", fault.Rule{Kind: fault.RequestLimit}, 403, false, 0},
		{"concurrent", fault.Rule{Kind: fault.Concurrent}, 403, false, 0},
		{"latency", fault.Rule{Kind: fault.Latency, Delay: fault.Duration(time.Millisecond)}, 200, false, 1},
		{"session", fault.Rule{Kind: fault.Session}, 401, false, 0},
		{"not matched", fault.Rule{Kind: fault.Error, Path: "/jobs/*"}, 200, false, 1},
		{"expired locator spares others", fault.Rule{Kind: fault.ExpiredLocator}, 200, false, 1},
		{"lock", fault.Rule{Kind: fault.LockRow, Path: "Contact", Method: "insert"}, 200, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := start(t, simulator.Options{})
			c.rule.Method, c.rule.Count = max(c.rule.Method, "POST"), 1
			if c.rule.Kind == fault.LockRow {
				c.rule.Method = "insert"
			}
			o.Faults().MustAdd(c.rule)
			wait := 10 * time.Second
			if strings.HasPrefix(c.name, "hang") {
				wait = 300 * time.Millisecond
			}
			status, err := o.try(wait)
			if status != c.status || (err != nil) != (c.status == 0 || c.broken) {
				t.Errorf("status %d, error %v", status, err)
			}
			deadline := time.Now().Add(5 * time.Second)
			for o.EffectCount() < c.effects && time.Now().Before(deadline) {
				o.Counters()
			}
			if n := o.EffectCount(); n != c.effects {
				t.Errorf("%d effects, want %d", n, c.effects)
			}
			for _, e := range o.Effects() {
				if e.CallOptions != "client=probe" || e.Object != "Contact" || e.UserID != o.UserID() || e.RequestID == "" {
					t.Errorf("effect %+v", e)
				}
			}
			if c.rule.Kind != fault.Session {
				if status, err := o.try(10 * time.Second); status != 200 || err != nil {
					t.Errorf("after the fault: %d %v", status, err)
				}
			}
		})
	}
}

func TestFaultPlanIsReplayable(t *testing.T) {
	t.Parallel()
	draw := func() (out string) {
		p := fault.NewPlan(7)
		p.MustAdd(fault.Rule{Kind: fault.Error, Path: "/query*", Probability: 0.3, After: 2, Count: 20})
		req, err := http.NewRequest("GET", "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if len(p.Request(req, "/query/", false)) > 0 {
				out += "x"
			} else {
				out += "."
			}
		}
		return out
	}
	a, b := draw(), draw()
	if a != b || !strings.HasPrefix(a, "..") || strings.Count(a, "x") != 20 {
		t.Errorf("%s\n%s", a, b)
	}
	p := fault.NewPlan(1)
	if err := errors.Join(p.Add(fault.Rule{Kind: "x"}), p.Add(fault.Rule{Kind: fault.Error, Probability: 2})); err == nil || len(p.Rules()) != 0 {
		t.Errorf("wrong rules were taken: %v", err)
	}
	for _, c := range []struct {
		pattern, route string
		want           bool
	}{
		{"", "/x", true},
		{"/composite/sobjects*", "//composite/Sobjects/Contact/Ext__c/", true},
		{"/composite/sobjects", "/composite/sobjects/Contact", false},
		{"/jobs/ingest/*/batches", "/jobs/ingest/750x/batches", true},
		{"*results", "/jobs/ingest/7/failedResults/", true},
	} {
		if got := fault.Match(c.pattern, c.route); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.route, got)
		}
	}
}

func TestControlAPI(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{ControlListen: "127.0.0.1:0"})
	call := func(method, path, body string) reply {
		req, err := http.NewRequest(method, o.ControlURL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return o.send(req)
	}
	o.want(call("POST", "/records/Contact", `{"LastName":"x","Email":"x@example.com"}`), 200, `{"id":"003*"}`+"\n")
	o.want(call("GET", "/records/contact/count", ""), 200, `{"count":1}`+"\n")
	o.want(call("GET", "/records/Contact?limit=1", ""), 200, `{"id":"003*","LastName":"x"*`)
	o.want(call("GET", "/effects?after=0", ""), 200, `{"apply":1,*"action":"create"*"requestId":"setup"}`+"\n")
	o.want(call("POST", "/faults", `[{"kind":"error","path":"/limits","status":500,"count":1,"delay":"1s"}]`), 204, "")
	if r := o.do("GET", "/limits", ""); r.status != 500 {
		t.Errorf("fault did not fire: %d", r.status)
	}
	o.want(call("GET", "/faults", ""), 200, `{"fired":[{"number":1,"rule":"error","kind":"error","method":"GET","path":"/limits"}],"rules":[{"kind":"error","path":"/limits","count":1,"delay":"1s","status":500}]}`+"\n")
	o.want(call("DELETE", "/faults", ""), 204, "")
	o.want(call("POST", "/faults", `[{"kind":"nonsense"}]`), 400, "*unknown kind*\n")
	o.want(call("PUT", "/api-used", `99`), 204, "")
	o.want(call("PUT", "/clock-offset", `"24h"`), 204, "")
	o.want(call("GET", "/counters", ""), 200, `*"apiCalls":99,"routes":{*"GET /limits":1*`)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	id := ""
	for e := range o.WatchEffects(ctx, 0) {
		if e.Apply == 1 {
			id = o.create("Contact", map[string]string{"LastName": "y"})
			continue
		}
		if e.RecordID != id {
			t.Errorf("watched %+v, want %s", e, id)
		}
		break
	}
}
