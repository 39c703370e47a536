//go:build bench

package bench_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rounds = flag.Int("rounds", 3, "how often each part is measured")

// programs are the benchmarks that the figures come from. Each round runs all of them once, one after the other.
// Where cpu names a figure, it is the processor time of one call, which a busy machine changes less than the time that passes.
var programs = []struct{ dir, bench, cpu string }{
	{"services/mapper/internal/fieldmap", "^BenchmarkMap$", ""},
	{"services/mapper", "^BenchmarkMapPeople$", ""},
	{"services/sync-worker/internal/stage", "^BenchmarkPlan$", ""},
	{"services/auth", "^BenchmarkCachedAccessToken$", tokenTime},
	{"internal/rpc", "^BenchmarkUnary$/^memory$", callTime},
	{"services/sync-worker/internal/rows", "^BenchmarkSealing$", ""},
}

// figures are the metrics of one round, by benchmark and unit: "BenchmarkPlan/New people/s".
type figures map[string]float64

// part is one line of the table: how many of a thing pass in a second, and how many at the floor; zero where no figure
// is known.
type part struct {
	what, unit  string
	rate, floor func(figures) float64
	target      float64 // rate; 0 for none
}

var parts = []part{
	{"mapping, by the mapper's engine", "people per core", metric("BenchmarkMap people/cpu-s"), nil, 200_000},
	{"mapping over gRPC; floor: a stream that echoes the people", "people per core", metric("BenchmarkMapPeople people/cpu-s"), metric("BenchmarkMapPeople floor-people/cpu-s"), 0},
	planning("nobody changed", "Unchanged"),
	planning("one in a hundred changed", "OneInAHundred"),
	planning("everybody changed", "Changed"),
	planning("everybody new", "New"),
	{"cached access tokens over gRPC; floor: a call that does nothing", "tokens", metric("BenchmarkCachedAccessToken tokens/s"), metric("BenchmarkUnary/memory calls/s"), 20_000},
	{"the same by processor time, both sides", "tokens per core", perSecond(tokenTime), perSecond(callTime), 0},
	{"encoding, compressing and sealing people; floor: the same without sealing", "people", func(f figures) float64 {
		return batch / (f[packing] + f[sealing]) * 1e9
	}, func(f figures) float64 { return batch / f[packing] * 1e9 }, 0},
}

const (
	calls   = 20_000
	batch   = 2000 // people
	packing = "BenchmarkSealing/encode_and_pack ns/op"
	sealing = "BenchmarkSealing/seal ns/op"

	tokenTime = "BenchmarkCachedAccessToken cpu-s/op"
	callTime  = "BenchmarkUnary/memory cpu-s/op"
)

func perSecond(key string) func(figures) float64 {
	return func(f figures) float64 { return 1 / f[key] }
}

func metric(key string) func(figures) float64 {
	return func(f figures) float64 { return f[key] }
}

func planning(of, name string) part {
	return part{"planning, " + of, "people", metric("BenchmarkPlan/" + name + " people/s"), metric("BenchmarkPlan/Floor people/s"), 0}
}

// TestParts measures what a run is made of, and replaces the page's section of parts.
func TestParts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	busy := load()
	tmp := t.TempDir()
	for i, p := range programs {
		c := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program(tmp, i), "./"+p.dir)
		c.Dir = root
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("build the benchmarks of %s: %v\n%s", p.dir, err, text)
		}
	}
	var all []figures
	for range *rounds {
		f := make(figures)
		for i, p := range programs {
			run := func(benchtime string) (string, time.Duration) {
				c := exec.CommandContext(t.Context(), program(tmp, i), "-test.run", "^$", "-test.bench", p.bench, "-test.benchtime", benchtime)
				c.Dir = filepath.Join(root, p.dir)
				text, err := c.CombinedOutput()
				if err != nil {
					t.Fatalf("%s of %s: %v\n%s", p.bench, p.dir, err, text)
				}
				return string(text), c.ProcessState.UserTime() + c.ProcessState.SystemTime()
			}
			text, _ := run("1s")
			f.read(text)
			if p.cpu != "" { // all that two calls take as well, setting up above all, is no part of a call's time
				_, few := run("2x")
				_, many := run(fmt.Sprintf("%dx", calls+2))
				f[p.cpu] = (many - few).Seconds() / calls
			}
		}
		for key, v := range f {
			t.Logf("%s: %.6g", key, v)
		}
		all = append(all, f)
	}
	section := renderParts(t, all, busy)
	t.Log("\n" + section)
	if *out != "" {
		runs, _, budgets := sections()
		if err := os.WriteFile(*out, []byte(runs+section+budgets), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func program(dir string, i int) string { return filepath.Join(dir, strconv.Itoa(i)+".test") }

// line is a benchmark's result: its name without the number of processors, then pairs of value and unit.
var line = regexp.MustCompile(`(?m)^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+(.*/\S+.*)$`)

func (f figures) read(text string) {
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		values := strings.Fields(m[2])
		for i := 0; i+1 < len(values); i += 2 {
			if v, err := strconv.ParseFloat(values[i], 64); err == nil {
				f[m[1]+" "+values[i+1]] = v
			}
		}
	}
}

func renderParts(t *testing.T, all []figures, busy float64) string {
	t.Helper()
	machine := "had nothing else to do"
	if busy > 0.2 {
		machine = "was busy with other work"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `
## Parts

Made by `+"`make bench-parts`"+` on %s: %s/%s, %d CPUs, %s, Go %s.
The machine %s: its load average was %.1f before.

What a run is made of, each by itself, as the median of %d rounds; in each round a part and its floor are measured one
after the other. **Ratio** is how many times as long as its floor a part takes; rates are a second's. Per core means
for each second of processor time; other rates are of the whole machine, callers included. People are mapped by ten pairs,
two expressions and three rules. They are planned in parts of 10,000 with ten pairs, the mapper over gRPC included; the
floor of planning reads the same rows and writes as many outcomes.

| part | unit | rate | lowest | floor | ratio | target | rate / target |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
`, time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu(), strings.TrimPrefix(runtime.Version(), "go"), machine, busy, len(all))
	for _, p := range parts {
		var rates, floors, ratios []float64
		for _, f := range all {
			rate := p.rate(f)
			if !(rate > 0 && rate < 1e12) {
				t.Fatalf("%s: the benchmarks told no rate; they told %v", p.what, f)
			}
			rates = append(rates, rate)
			if p.floor != nil {
				floor := p.floor(f)
				if !(floor > 0 && floor < 1e12) {
					t.Fatalf("%s: the benchmarks told no floor; they told %v", p.what, f)
				}
				floors, ratios = append(floors, floor), append(ratios, floor/rate)
			}
		}
		floor, ratio, target, reached := "", "", "", ""
		if p.floor != nil {
			floor, ratio = fmt.Sprintf("%.0f", median(floors)), fmt.Sprintf("%.2f", median(ratios))
		}
		if p.target > 0 {
			target, reached = fmt.Sprintf("%.0f", p.target), fmt.Sprintf("%.2f", median(rates)/p.target)
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.0f | %s | %s | %s | %s |\n", p.what, p.unit, median(rates), slices.Min(rates), floor, ratio, target, reached)
	}
	return b.String()
}

func median(of []float64) float64 {
	return slices.Sorted(slices.Values(of))[len(of)/2]
}

// sections cuts the page as it lies there into what TestBench makes, what TestParts makes, and what people wrote below.
func sections() (runs, parts, budgets string) {
	raw, err := os.ReadFile(*out)
	if err != nil {
		return "", "", ""
	}
	runs = string(raw)
	if before, after, found := strings.Cut(runs, "\n## Budgets\n"); found {
		runs, budgets = before, "\n## Budgets\n"+after
	}
	if before, after, found := strings.Cut(runs, "\n## Parts\n"); found {
		runs, parts = before, "\n## Parts\n"+after
	}
	return runs, parts, budgets
}

// load is how many processes were at work or waited for a processor during the last minute.
func load() float64 {
	raw, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(raw), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}
