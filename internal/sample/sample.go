// Package sample owns made-up people: one tenant with two subaccounts, the same ones for the same seed, as the CSV file
// that a Catalog would export. Every e-mail address is unique and at a domain reserved for examples.
package sample

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Options say which people.
type Options struct {
	// People is how many.
	People int
	// Seed chooses them. A person is the same for the same seed, however many there are.
	Seed int64
	// Changed is the share of the people, 0 to 1, who have new values: exactly that share, rounded, and at least one
	// person where it is above 0.
	Changed float64
	// ChangeSeed chooses who changed, and how.
	ChangeSeed int64
	// Invalid is how many people carry values that an org would refuse: no e-mail address, one without @, and a last
	// name of 300 characters, in turn. They are spread evenly.
	Invalid int
}

// Subaccounts are the two parts of the tenant.
func Subaccounts() []string { return []string{"North Campus", "South Campus"} }

// Header returns the columns of the file. The last two are custom attributes.
func Header() []string {
	return []string{
		"id", "email", "first_name", "last_name", "phone", "mobile_phone", "title", "organization", "department", "street",
		"city", "state", "postal_code", "country", "locale", "time_zone", "active", "groups", "subaccount", "created_at",
		"updated_at", "cohort", "score",
	}
}

// Columns that people with new values, or wrong ones, differ in.
const (
	colEmail     = 1
	colLastName  = 3
	colMobile    = 5
	colTitle     = 6
	colDept      = 8
	colUpdatedAt = 20
	colScore     = 22
)

// WriteCSV writes the people in the order of their ids, holding one of them in memory.
func WriteCSV(w io.Writer, o Options) error {
	if o.People < 0 || o.Invalid < 0 || o.Invalid > o.People || !(o.Changed >= 0 && o.Changed <= 1) {
		return fmt.Errorf("sample people: %d people, %d of them invalid, share %g changed: want invalid <= people and a share of 0 to 1",
			o.People, o.Invalid, o.Changed)
	}
	out := csv.NewWriter(w)
	if err := out.Write(Header()); err != nil {
		return err
	}
	choose := rand.New(rand.NewPCG(uint64(o.ChangeSeed), 0))
	toChange := changes(o)
	for i := range o.People {
		row := person(o.Seed, i)
		// Each of the people left is as likely as the others, and in the end exactly as many have changed as should.
		if toChange > 0 && choose.IntN(o.People-i) < toChange {
			toChange--
			change(row, o.ChangeSeed, i)
		}
		if n := i * o.Invalid / o.People; n != (i+1)*o.Invalid/o.People {
			spoil(row, n)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func changes(o Options) int {
	n := int(math.Round(o.Changed * float64(o.People)))
	if n == 0 && o.Changed > 0 && o.People > 0 {
		n = 1
	}
	return n
}

// epoch is when the first of the people came to the Catalog.
var epoch = time.Date(2021, time.January, 4, 8, 0, 0, 0, time.UTC)

// person returns the row of person i.
func person(seed int64, i int) []string {
	r := rand.New(rand.NewPCG(uint64(seed), uint64(i)+1))
	p := places[r.IntN(len(places))]
	first, last := p.first[r.IntN(len(p.first))], p.last[r.IntN(len(p.last))]
	town := p.towns[r.IntN(len(p.towns))]
	number := strconv.Itoa(i + 1)
	street := strconv.Itoa(1+r.IntN(180)) + " " + p.streets[r.IntN(len(p.streets))]
	if p.numberLast {
		n, name, _ := strings.Cut(street, " ")
		street = name + " " + n
	}
	created := epoch.Add(time.Duration(r.Int64N(int64(5*365*24*time.Hour))) / time.Second * time.Second)
	active := "true"
	if r.IntN(20) == 0 {
		active = "false"
	}
	phone := ""
	if r.IntN(3) > 0 {
		phone = p.phone(r)
	}
	groups := groupNames[r.IntN(len(groupNames))]
	if r.IntN(3) == 0 {
		groups += ";" + extraGroups[r.IntN(len(extraGroups))]
	}
	return []string{
		fmt.Sprintf("P%07d", i+1),
		first.ascii() + "." + last.ascii() + "." + number + "@" + domains[r.IntN(len(domains))],
		first.native(),
		last.native(),
		phone,
		p.phone(r),
		titles[r.IntN(len(titles))],
		organizations[r.IntN(len(organizations))],
		departments[r.IntN(len(departments))],
		street,
		town.name,
		town.state,
		town.postalCode(r),
		p.country,
		p.locale,
		p.timeZone,
		active,
		groups,
		Subaccounts()[r.IntN(2)],
		created.Format(time.RFC3339),
		created.Add(time.Duration(r.Int64N(int64(90*24*time.Hour))) / time.Second * time.Second).Format(time.RFC3339),
		strconv.Itoa(2021+r.IntN(5)) + "-" + []string{"spring", "autumn"}[r.IntN(2)],
		strconv.Itoa(r.IntN(101)),
	}
}

// change gives a person new values: always a new title, sometimes more.
func change(row []string, seed int64, i int) {
	r := rand.New(rand.NewPCG(uint64(seed), uint64(i)+1))
	row[colTitle] = other(r, titles, row[colTitle])
	switch r.IntN(3) {
	case 0:
		row[colDept] = other(r, departments, row[colDept])
	case 1:
		row[colMobile] = row[colMobile][:len(row[colMobile])-1] + strconv.Itoa(int(row[colMobile][len(row[colMobile])-1]-'0'+1)%10)
	}
	row[colScore] = strconv.Itoa(r.IntN(101))
	row[colUpdatedAt] = epoch.AddDate(6, 0, 0).Add(time.Duration(r.IntN(24*3600)) * time.Second).Format(time.RFC3339)
}

// other returns one of the values that is not now.
func other(r *rand.Rand, values []string, now string) string {
	v := values[r.IntN(len(values)-1)]
	if v == now {
		v = values[len(values)-1]
	}
	return v
}

// spoil gives a person a value that an org refuses.
func spoil(row []string, n int) {
	switch n % 3 {
	case 0:
		row[colEmail] = ""
	case 1:
		row[colEmail] = strings.ReplaceAll(row[colEmail], "@", ".at.")
	case 2:
		row[colLastName] = strings.Repeat("Llanfairpwllgwyngyll ", 15)[:300]
	}
}
