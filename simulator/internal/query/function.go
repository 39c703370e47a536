package query

import (
	"fmt"
	"strconv"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

func (c *compiler) compareFunc(e *soql.Compare) (cond, *soql.Error) {
	eval, f, err := c.function(e.Item)
	if err != nil {
		return cond{}, err
	}
	want, err := c.operand(f, e.Value, e)
	if err != nil {
		return cond{}, err
	}
	w, _ := strconv.ParseFloat(want, 64)
	return cond{test: func(n uint32, r *store.Row) bool {
		v := eval(n, r)
		if v == "" {
			return e.Op == "!="
		}
		x, _ := strconv.ParseFloat(v, 64)
		return holds(e.Op, compareFloat(x, w))
	}}, nil
}

var dateParts = map[string]func(time.Time) int{
	"CALENDAR_YEAR": time.Time.Year, "CALENDAR_MONTH": func(t time.Time) int { return int(t.Month()) },
	"CALENDAR_QUARTER": func(t time.Time) int { return (int(t.Month()) + 2) / 3 }, "DAY_IN_MONTH": time.Time.Day,
	"DAY_IN_WEEK": func(t time.Time) int { return int(t.Weekday()) + 1 }, "DAY_IN_YEAR": time.Time.YearDay,
	"FISCAL_YEAR": time.Time.Year, "FISCAL_QUARTER": func(t time.Time) int { return (int(t.Month()) + 2) / 3 },
	"FISCAL_MONTH": func(t time.Time) int { return int(t.Month()) }, "HOUR_IN_DAY": time.Time.Hour,
	"WEEK_IN_MONTH": func(t time.Time) int { return (t.Day()-1)/7 + 1 }, "WEEK_IN_YEAR": func(t time.Time) int { return (t.YearDay()-1)/7 + 1 },
}

// function compiles a date function of a field.
func (c *compiler) function(i soql.Item) (func(uint32, *store.Row) string, *schema.Field, *soql.Error) {
	part, ok := dateParts[i.Func]
	if !ok {
		return nil, nil, soql.At(c.q.Text, i.Pos, "MALFORMED_QUERY", fmt.Sprintf("unexpected token: '%s'", i.Func))
	}
	p, err := resolve(c.schema, c.q, c.object, i.Path, i.Pos)
	if err != nil {
		return nil, nil, err
	}
	if p.field.Type != "date" && p.field.Type != "datetime" {
		return nil, nil, soql.At(c.q.Text, i.Pos, "INVALID_FIELD", fmt.Sprintf("field %s does not support function %s", p.text, i.Func))
	}
	get := c.getter(p)
	zone := time.UTC
	if i.Inner != nil && i.Inner.Func == "CONVERTTIMEZONE" {
		zone = c.zone
	}
	return func(n uint32, r *store.Row) string {
		v := get(n, r)
		if len(v) < 10 {
			return ""
		}
		layout := "2006-01-02"
		if p.field.Type == "datetime" {
			layout = "2006-01-02T15:04:05.000Z"
		}
		t, err := time.Parse(layout, v)
		if err != nil {
			return ""
		}
		return strconv.Itoa(part(t.In(zone)))
	}, &schema.Field{Name: i.Func, Type: "int"}, nil
}
