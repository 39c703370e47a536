// Command salesforce-sim serves a simulated Salesforce org until it is interrupted.
//
// Every flag may also be given as environment: --daily-limit is SALESFORCE_SIM_DAILY_LIMIT; lists are separated by commas.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "salesforce-sim:", err)
		}
		os.Exit(1)
	}
}

const envPrefix = "SALESFORCE_SIM_"

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, strings.Split(v, ",")...); return nil }

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	o, err := parse(args, environ, stderr)
	if err != nil {
		return err
	}
	s, err := simulator.Start(o)
	if err != nil {
		return err
	}
	usage(stdout, s, o)
	<-ctx.Done()
	return s.Close()
}

func parse(args, environ []string, stderr io.Writer) (simulator.Options, error) {
	o := simulator.Options{SeedRecords: map[string]int{}, Log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	var external, redirects, certs, seeds, recordTypes list
	fs := flag.NewFlagSet("salesforce-sim", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:8089", "address of the org")
	fs.StringVar(&o.ControlListen, "control-listen", "", "address of the control API: faults, ledger, counters (empty: none)")
	fs.StringVar(&o.ClientID, "client-id", "simulator-client", "consumer key of the registered app")
	fs.StringVar(&o.ClientSecret, "client-secret", "simulator-secret", "consumer secret of the registered app")
	fs.StringVar(&o.Username, "username", "admin@simulator.example", "the org's user")
	fs.StringVar(&o.Password, "password", "simulator-password", "password of the org's users")
	fs.StringVar(&o.SecurityToken, "security-token", "", "appended to the password in the username-password flow")
	fs.Var(&redirects, "redirect-uri", "callback of the app, exact; repeatable (none: any on loopback)")
	fs.Var(&certs, "jwt-cert", "PEM `file` with a certificate of the app for the JWT bearer flow; repeatable")
	fs.Var(&external, "external-id-field", "custom External ID and unique field, such as Contact.CatalogUserId__c; repeatable")
	fs.StringVar(&o.APIVersion, "api-version", "67.0", "newest API version")
	fs.IntVar(&o.DailyLimit, "daily-limit", 100000, "API requests per 24 hours")
	fs.BoolVar(&o.Rotation, "rotation", false, "refresh tokens rotate")
	fs.IntVar(&o.BulkRate, "bulk-rate", 0, "rows a second that Bulk ingest processes (0: no limit)")
	fs.IntVar(&o.BulkQueryRate, "bulk-query-rate", 0, "rows a second that Bulk queries find (0: no limit)")
	fs.BoolVar(&o.LockContention, "lock-contention", false, "refuse Bulk rows whose parent another batch is saving children of")
	fs.Var(&recordTypes, "record-type", "record type by object and developer name, such as Contact.Teacher; repeatable")
	fs.BoolVar(&o.StateCountryPicklists, "state-country-picklists", false, "addresses have codes of state and country")
	fs.DurationVar(&o.Latency, "latency", 0, "added to every answer")
	fs.DurationVar(&o.SessionTimeout, "session-timeout", 2*time.Hour, "idle life of an access token")
	fs.Var(&seeds, "seed-records", "generated records, such as Contact=5000; repeatable")
	fs.BoolVar(&o.SampleCases, "sample-cases", false, "records that clients trip over: equal e-mails, a converted lead, a merged contact, an account of 500")
	fs.Uint64Var(&o.Seed, "seed", 1, "source of ids, generated records, shuffles and fault draws")
	fs.BoolVar(&o.OrderedResults, "ordered-results", false, "Bulk result rows in input order instead of shuffled")
	fs.StringVar(&o.StateFile, "state", "", "snapshot `file`: read at start if it exists, written at the end")
	fs.StringVar(&o.FaultsFile, "faults", "", "JSON `file` with fault rules")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: settings are flags, see --help", fs.Arg(0))
	}
	if err := fromEnvironment(fs, environ); err != nil {
		return o, err
	}
	o.ExternalIDFields, o.RedirectURIs, o.RecordTypes = external, redirects, recordTypes
	for _, file := range certs {
		pem, err := os.ReadFile(file)
		if err != nil {
			return o, fmt.Errorf("--jwt-cert: %w", err)
		}
		o.JWTCerts = append(o.JWTCerts, pem)
	}
	for _, s := range seeds {
		object, n, _ := strings.Cut(s, "=")
		count, err := strconv.Atoi(n)
		if err != nil || count < 0 {
			return o, fmt.Errorf("--seed-records %q: want Object=number", s)
		}
		o.SeedRecords[object] = count
	}
	return o, nil
}

// fromEnvironment sets the flags that were not given from SALESFORCE_SIM_<NAME>.
func fromEnvironment(fs *flag.FlagSet, environ []string) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	env := map[string]string{}
	for _, e := range environ {
		k, v, _ := strings.Cut(e, "=")
		if name, ok := strings.CutPrefix(k, envPrefix); ok {
			env[strings.ToLower(strings.ReplaceAll(name, "_", "-"))] = v
		}
	}
	for name, v := range env {
		if given[name] {
			continue
		}
		if err := fs.Set(name, v); err != nil {
			return fmt.Errorf("%s%s: %w", envPrefix, strings.ToUpper(strings.ReplaceAll(name, "-", "_")), err)
		}
	}
	return nil
}

func usage(w io.Writer, s *simulator.Server, o simulator.Options) {
	version := "v" + strings.TrimPrefix(o.APIVersion, "v")
	fmt.Fprintf(w, `Salesforce simulator: org %s at %s
  app   client id %s, client secret %s
  user  %s, password %s
`, s.OrgID(), s.URL, o.ClientID, o.ClientSecret, o.Username, o.Password+o.SecurityToken)
	if s.ControlURL != "" {
		fmt.Fprintf(w, "  control API at %s (effects, faults, counters, records)\n", s.ControlURL)
	}
	fmt.Fprintf(w, `
curl
  TOKEN=$(curl -s %[1]s/services/oauth2/token -d grant_type=client_credentials -u %[2]s:%[3]s | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -s "%[1]s/services/data/%[4]s/query?q=SELECT+Id,Name+FROM+Contact+LIMIT+5" -H "Authorization: Bearer $TOKEN"

jsforce
  const conn = new jsforce.Connection({ instanceUrl: '%[1]s', oauth2: { loginUrl: '%[1]s', clientId: '%[2]s', clientSecret: '%[3]s' } });
  await conn.authorize({ grant_type: 'client_credentials' });

sf CLI
  SF_ACCESS_TOKEN=$TOKEN sf org login access-token --instance-url %[1]s --no-prompt --alias sim
  sf data query --target-org sim --query 'SELECT Id, Name FROM Contact LIMIT 5'
`, s.URL, o.ClientID, o.ClientSecret, version)
}
