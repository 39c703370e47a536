package query

import (
	"fmt"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

const (
	dateLayout     = "2006-01-02"
	datetimeLayout = "2006-01-02T15:04:05.000Z"
)

// span is a range of times, the end left out.
type span struct{ start, end time.Time }

// times reads the literal of a date or datetime field as the span that it stands for.
func (c *compiler) times(f *schema.Field, l soql.Literal, e *soql.Compare) (span, *soql.Error) {
	switch {
	case l.Kind == soql.Date && f.Type == "date":
		t, err := time.Parse(dateLayout, l.Text)
		if err != nil {
			return span{}, soql.At(c.q.Text, e.ValPos, "MALFORMED_QUERY", "Invalid date: "+l.Text)
		}
		return span{t, t.AddDate(0, 0, 1)}, nil
	case l.Kind == soql.Datetime && f.Type == "datetime":
		for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z0700"} {
			if t, err := time.Parse(layout, l.Text); err == nil {
				t = t.UTC()
				return span{t, t.Add(time.Millisecond)}, nil
			}
		}
		return span{}, soql.At(c.q.Text, e.ValPos, "MALFORMED_QUERY", "Invalid datetime: "+l.Text)
	case l.Kind == soql.DateRange:
		s := rangeOf(l, c.now.In(c.zone))
		if f.Type == "date" {
			return span{onDay(s.start), onDay(s.end)}, nil
		}
		return s, nil
	}
	kind := "date"
	if f.Type == "datetime" {
		kind = "dateTime"
	}
	return span{}, soql.At(c.q.Text, e.Item.Pos, "INVALID_FIELD", fmt.Sprintf("value of filter criterion for field '%s' must be of type %s and should not be enclosed in quotes", f.Name, kind))
}

func onDay(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func (c *compiler) compareTime(e *soql.Compare, p path) (cond, *soql.Error) {
	get := c.getter(p)
	if e.Value.Kind == soql.Null {
		switch e.Op {
		case "=":
			return cond{test: func(n uint32, r *store.Row) bool { return get(n, r) == "" }}, nil
		case "!=":
			return cond{test: func(n uint32, r *store.Row) bool { return get(n, r) != "" }}, nil
		}
		return cond{}, soql.At(c.q.Text, e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator")
	}
	s, err := c.times(p.field, e.Value, e)
	if err != nil {
		return cond{}, err
	}
	if t := auditTest(p, e.Op, s); t != nil {
		return cond{test: t}, nil
	}
	layout := datetimeLayout
	if p.field.Type == "date" {
		layout = dateLayout
	}
	start, end := s.start.UTC().Format(layout), s.end.UTC().Format(layout)
	return cond{test: func(n uint32, r *store.Row) bool {
		v := get(n, r)
		if v == "" {
			return e.Op == "!="
		}
		return within(e.Op, strings.Compare(v, start), strings.Compare(v, end))
	}}, nil
}

// within applies an operator to the place of a value against a span's start and end.
func within(op string, start, end int) bool {
	switch op {
	case "=":
		return start >= 0 && end < 0
	case "!=":
		return start < 0 || end >= 0
	case "<":
		return start < 0
	case "<=":
		return end < 0
	case ">":
		return end >= 0
	case ">=":
		return start >= 0
	}
	return false
}

// auditTest compares the audit times without making texts of them.
func auditTest(p path, op string, s span) test {
	if len(p.hops) > 0 {
		return nil
	}
	var get func(r *store.Row) uint32
	switch p.field.Virtual {
	case schema.CreatedDate:
		get = func(r *store.Row) uint32 { return r.Created }
	case schema.ModifiedDate:
		get = func(r *store.Row) uint32 { return r.Modified }
	case schema.Modstamp:
		get = func(r *store.Row) uint32 { return r.Modstamp }
	default:
		return nil
	}
	start, end := s.start.UnixMilli(), s.end.UnixMilli()
	return func(_ uint32, r *store.Row) bool {
		v := int64(get(r)) * 1000
		return within(op, compareInt(v, start), compareInt(v, end))
	}
}

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *compiler) inTimes(e *soql.Compare, p path) (cond, *soql.Error) {
	var tests []test
	for _, l := range e.List {
		one := *e
		one.Op, one.Value = "=", l
		t, err := c.compareTime(&one, p)
		if err != nil {
			return cond{}, err
		}
		tests = append(tests, t.test)
	}
	negative := e.Op == "NOT IN"
	return cond{test: func(n uint32, r *store.Row) bool {
		for _, t := range tests {
			if t(n, r) {
				return !negative
			}
		}
		return negative
	}}, nil
}

// rangeOf is the span of a date literal, seen at now in the user's zone. Weeks start on Sunday, as for en_US.
func rangeOf(l soql.Literal, now time.Time) span {
	y, m, d := now.Date()
	day := func(n int) time.Time { return time.Date(y, m, d+n, 0, 0, 0, 0, now.Location()) }
	unit := func(name string, n int) time.Time {
		switch strings.TrimSuffix(strings.TrimPrefix(name, "FISCAL_"), "S") {
		case "WEEK":
			return day(-int(now.Weekday()) + 7*n)
		case "MONTH":
			return time.Date(y, m+time.Month(n), 1, 0, 0, 0, 0, now.Location())
		case "QUARTER":
			return time.Date(y, (m-1)/3*3+1+time.Month(3*n), 1, 0, 0, 0, 0, now.Location())
		case "YEAR":
			return time.Date(y+n, 1, 1, 0, 0, 0, 0, now.Location())
		}
		return day(n)
	}
	switch l.Text {
	case "TODAY":
		return span{day(0), day(1)}
	case "YESTERDAY":
		return span{day(-1), day(0)}
	case "TOMORROW":
		return span{day(1), day(2)}
	case "LAST_90_DAYS":
		return span{day(-90), day(1)}
	case "NEXT_90_DAYS":
		return span{day(1), day(91)}
	}
	first, rest, _ := strings.Cut(l.Text, "_")
	if units, ok := strings.CutPrefix(rest, "N_"); ok {
		switch {
		case first == "LAST" && units == "DAYS":
			return span{day(-l.N), day(1)}
		case first == "NEXT" && units == "DAYS":
			return span{day(1), day(l.N + 1)}
		case first == "LAST":
			return span{unit(units, -l.N), unit(units, 0)}
		default:
			return span{unit(units, 1), unit(units, l.N+1)}
		}
	}
	switch first {
	case "N":
		units := strings.TrimSuffix(rest, "_AGO")
		return span{unit(units, -l.N), unit(units, -l.N+1)}
	case "LAST":
		return span{unit(rest, -1), unit(rest, 0)}
	case "NEXT":
		return span{unit(rest, 1), unit(rest, 2)}
	}
	return span{unit(rest, 0), unit(rest, 1)}
}
