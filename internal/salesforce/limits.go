package salesforce

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Allocation is the org's count of API requests over the last 24 hours, shared with every other
// integration of the org.
type Allocation struct {
	Used, Max int64
	At        time.Time // when we were told; the zero time when never
}

// Allocation returns what the latest reply said. Replies of requests that overlap may come in any order,
// so Used can step back a little.
func (c *Client) Allocation() Allocation {
	if a := c.shared.allocation.Load(); a != nil {
		return *a
	}
	return Allocation{}
}

// ServerTime returns what the org's own clock said in the latest reply, to the second; the zero time before the first.
// Only it may be compared with times in records: the clock of this machine may differ.
func (c *Client) ServerTime() time.Time {
	if t := c.shared.clock.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// noteReply reads from a reply's headers what is worth remembering.
func (c *Client) noteReply(h http.Header) {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		c.shared.clock.Store(&t)
	}
	c.noteAllocation(h)
}

// noteAllocation reads Sforce-Limit-Info: "api-usage=10018/100000", perhaps followed by more parts.
func (c *Client) noteAllocation(h http.Header) {
	if used, limit, ok := parseLimitInfo(h.Get("Sforce-Limit-Info")); ok {
		c.shared.allocation.Store(&Allocation{Used: used, Max: limit, At: time.Now()})
	}
}

func parseLimitInfo(s string) (used, limit int64, ok bool) {
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		value, found := strings.CutPrefix(part, "api-usage=")
		if !found {
			continue
		}
		a, b, found := strings.Cut(value, "/")
		if !found {
			continue
		}
		used, err1 := strconv.ParseInt(a, 10, 64)
		limit, err2 := strconv.ParseInt(b, 10, 64)
		if err1 == nil && err2 == nil && used >= 0 && limit > 0 {
			return used, limit, true
		}
	}
	return 0, 0, false
}

// Limit is one entry of the limits resource.
type Limit struct{ Max, Remaining int64 }

// Limits returns the org's limits by name, for example DailyApiRequests. Values may lag a little.
func (c *Client) Limits(ctx context.Context) (map[string]Limit, error) {
	limits := make(map[string]Limit)
	err := c.readJSON(ctx, &request{op: "limits", path: "limits"}, func(d *jsonReader) error {
		return d.object(func(name string) error {
			var l Limit
			l.Max, l.Remaining = -1, -1
			if err := d.object(func(key string) (err error) {
				switch key {
				case "Max":
					l.Max, err = d.int64()
				case "Remaining":
					l.Remaining, err = d.int64()
				default: // entries per app
					err = d.skip()
				}
				return err
			}); err != nil {
				return err
			}
			limits[name] = l
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return limits, nil
}

// RecordCount returns the approximate number of records of an object: it lags behind, and an object
// without rows counts 0.
func (c *Client) RecordCount(ctx context.Context, object string) (int64, error) {
	if err := Identifier(object); err != nil {
		return 0, err
	}
	var reply struct {
		Objects []struct {
			Count int64  `json:"count"`
			Name  string `json:"name"`
		} `json:"sObjects"`
	}
	r := &request{op: "record_count", path: "limits/recordCount", query: url.Values{"sObjects": {object}}}
	if err := c.readInto(ctx, r, &reply); err != nil {
		return 0, err
	}
	for _, o := range reply.Objects {
		if strings.EqualFold(o.Name, object) {
			return o.Count, nil
		}
	}
	return 0, nil
}

// Version is an API version that the org serves.
type Version struct {
	Label   string `json:"label"`
	URL     string `json:"url"`
	Version string `json:"version"` // "67.0"
}

// Versions lists the API versions of the org, oldest first. The call is not counted.
func (c *Client) Versions(ctx context.Context) ([]Version, error) {
	var versions []Version
	r := &request{op: "versions", path: "/services/data", free: true}
	if err := c.readInto(ctx, r, &versions); err != nil {
		return nil, err
	}
	return versions, nil
}

// readInto decodes a small reply into v. The reply is read once and bounded.
func (c *Client) readInto(ctx context.Context, r *request, v any) error {
	return c.readJSON(ctx, r, func(d *jsonReader) error {
		var raw json.RawMessage
		if err := d.value(&raw); err != nil {
			return err
		}
		if err := json.Unmarshal(raw, v); err != nil {
			return malformed("%s: %v", r.op, err)
		}
		return nil
	})
}
