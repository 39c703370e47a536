package fieldmap_test

import (
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
)

func test(side fieldmap.Side, field string, o fieldmap.Operator, values ...string) fieldmap.Condition {
	return fieldmap.Condition{Test: &fieldmap.Test{Side: side, Field: field, Operator: o, Values: values}}
}

// full is a field map of ten plain pairs, two expressions and three rules, and people and records that fit it.
func full(b *testing.B) (c *fieldmap.Mapper, people, records []fieldmap.Row) {
	b.Helper()
	o := contact()
	for _, name := range []string{"Street__c", "City__c", "State__c", "Postal__c", "Country__c", "Greeting__c", "Kind__c"} {
		o.Fields = append(o.Fields, text(name, 255))
	}
	m := fieldmap.Map{
		Object: "Contact", ExternalIDField: "Catalog_Id__c", Pairs: []fieldmap.Pair{
			{Source: "phone", Target: "Phone"},
			{Source: "title", Target: "Title"},
			{Source: "city", Target: "City__c"},
			{Source: "postal_code", Target: "Postal__c"},
			{Source: "country", Target: "Country__c"},
			{Source: "attributes.level", Target: "Level__c"},
			{Expression: `person.first_name + " " + person.last_name`, Target: "Greeting__c"},
			{Expression: `person.attributes.level == "gold" ? "VIP" : "Member"`, Target: "Kind__c"},
		},
		Rules: []fieldmap.Rule{
			{Name: "no tests", Effect: fieldmap.Skip, Condition: test(fieldmap.Catalog, "email", fieldmap.Contains, "@test.", "noreply")},
			{Name: "not locked", Effect: fieldmap.Skip, Condition: test(fieldmap.Salesforce, "Title", fieldmap.Equals, "LOCKED")},
			{Name: "staff", Effect: fieldmap.Include, Condition: fieldmap.Condition{Any: []fieldmap.Condition{
				test(fieldmap.Catalog, "groups", fieldmap.In, "Staff", "Sales"),
				test(fieldmap.Catalog, "updated_at", fieldmap.ChangedSince, "30d"),
			}}},
		},
	}
	columns := []string{"id", "email", "first_name", "last_name", "phone", "title", "city", "postal_code", "country", "attributes.level", "groups", "updated_at"}
	m, _ = fieldmap.Complete(m, o)
	c, problems := fieldmap.Compile(m, fieldmap.Header{Object: o, PersonColumns: columns, RecordColumns: recordColumns, Now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)})
	if len(problems) > 0 {
		b.Fatalf("compile: %+v", problems)
	}
	people, records = make([]fieldmap.Row, 1000), make([]fieldmap.Row, 1000)
	for i := range people {
		n := strconv.Itoa(i)
		people[i].Values = []string{
			"P-" + n, "person" + n + "@example.com", "Zoë", "Person " + n, "+1 555 " + n, "Engineer", "Berlin", "10115", "DE", "gold", "Sales;Berlin", "2026-11-20T08:00:00Z",
		}
		records[i].Values = []string{"Engineer", "+1 555 " + n, ""}
	}
	return c, people, records
}

// perCore is how many people a second one core is to map.
const perCore = 200_000

func BenchmarkMap(b *testing.B) {
	c, people, records := full(b)
	var out fieldmap.Mapped
	b.ReportAllocs()
	n, began := 0, cpu(b)
	for b.Loop() {
		for i := range people {
			c.Map(people[i], &records[i], &out)
		}
		n += len(people)
	}
	rate := float64(n) / (cpu(b) - began).Seconds()
	b.ReportMetric(rate, "people/cpu-s")
	b.ReportMetric(rate/perCore, "x-budget")
}

func BenchmarkKeys(b *testing.B) {
	c, people, _ := full(b)
	b.ReportAllocs()
	n, began := 0, cpu(b)
	for b.Loop() {
		for i := range people {
			c.Keys(people[i])
		}
		n += len(people)
	}
	b.ReportMetric(float64(n)/(cpu(b)-began).Seconds(), "people/cpu-s")
}

// cpu returns the processor time that this process has had: unlike the time that passes, it is the same on a busy machine.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
