// Package config owns how settings reach a process: a flag wins over an environment variable, which wins over the
// default. A flag set is the single declaration of a program's settings; the name of each variable follows from it
// (-api-version of CATALOGSYNC_AUTH is CATALOGSYNC_AUTH_API_VERSION). There are no configuration files.
package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Option changes what [Parse] accepts.
type Option func(*options)

type options struct{ others []*flag.FlagSet }

// AlsoKnown names flag sets of the same program that share the prefix, such as those of other subcommands. Variables
// that only they declare are not reported as unknown.
func AlsoKnown(others ...*flag.FlagSet) Option {
	return func(o *options) { o.others = append(o.others, others...) }
}

// Parse fills the flags of fs from args, then those that args left alone from environ ("KEY=value" lines, as
// os.Environ returns them). An empty variable counts as absent. A variable that starts with the prefix and belongs to
// no flag is an error, because it is most likely a misspelt one. All problems with variables are reported at once.
//
// When args ask for help, the usage is written to fs.Output() and flag.ErrHelp is returned. Operands after the flags
// are in fs.Args().
func Parse(fs *flag.FlagSet, envPrefix string, args, environ []string, opts ...Option) error {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if err := parseArgs(fs, envPrefix, args); err != nil {
		return err
	}
	given := given(fs)
	vars := variables(envPrefix, environ)
	var problems []error
	for _, pair := range secretPairs(fs) {
		value, file := pair[0], pair[1]
		if given[value] && given[file] {
			problems = append(problems, fmt.Errorf("-%s and -%s are both given; give one of them", value, file))
			continue
		}
		if given[value] || given[file] { // the flag wins over either variable
			given[value], given[file] = true, true
			continue
		}
		if ve, fe := EnvName(envPrefix, value), EnvName(envPrefix, file); vars[ve] != "" && vars[fe] != "" {
			problems = append(problems, fmt.Errorf("%s and %s are both set; set one of them", ve, fe))
			given[value], given[file] = true, true
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		name := EnvName(envPrefix, f.Name)
		if v := vars[name]; v != "" && !given[f.Name] {
			// Not fs.Set: a flag that counts as given must come from args, so that its source can be told.
			if err := f.Value.Set(v); err != nil {
				problems = append(problems, badVariable(f, name, v, err))
			}
		}
	})
	problems = append(problems, unknown(append(o.others, fs), envPrefix, vars)...)
	return errors.Join(problems...)
}

// parseArgs is fs.Parse, without the messages that it prints besides returning them.
func parseArgs(fs *flag.FlagSet, envPrefix string, args []string) error {
	out, usage := fs.Output(), fs.Usage
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	defer func() {
		fs.SetOutput(out)
		fs.Usage = usage
	}()
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(out)
		Usage(fs, envPrefix)
	}
	return err
}

func badVariable(f *flag.Flag, name, value string, err error) error {
	if _, secret := f.Value.(*secretValue); secret {
		value = redacted
	}
	return fmt.Errorf("%s=%q (flag -%s): %w", name, value, f.Name, err)
}

// EnvName returns the name of the variable of a flag.
func EnvName(envPrefix, flagName string) string {
	return prefix(envPrefix) + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

func prefix(envPrefix string) string { return strings.TrimSuffix(envPrefix, "_") + "_" }

// variables returns the variables of environ that start with the prefix. As in a shell, the last one wins.
func variables(envPrefix string, environ []string) map[string]string {
	vars := map[string]string{}
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, prefix(envPrefix)) {
			vars[name] = value
		}
	}
	return vars
}

// given returns the flags that were in args.
func given(fs *flag.FlagSet) map[string]bool {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return set
}

// secretPairs returns the names of the two flags of each secret.
func secretPairs(fs *flag.FlagSet) (pairs [][2]string) {
	fs.VisitAll(func(f *flag.Flag) {
		if _, ok := f.Value.(*secretValue); ok {
			pairs = append(pairs, [2]string{f.Name, f.Name + fileSuffix})
		}
	})
	return pairs
}

// serviceLink matches, after the prefix, the variables that Kubernetes and Docker links add for a service that is
// called like the prefix. Nobody misspelt those.
var serviceLink = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

func unknown(sets []*flag.FlagSet, envPrefix string, vars map[string]string) (problems []error) {
	known := map[string]string{}
	for _, fs := range sets {
		fs.VisitAll(func(f *flag.Flag) { known[EnvName(envPrefix, f.Name)] = f.Name })
	}
	for _, name := range sortedKeys(vars) {
		if _, ok := known[name]; ok || serviceLink.MatchString(strings.TrimPrefix(name, prefix(envPrefix))) {
			continue
		}
		hint := "unset it, or see -help for the settings"
		if near := nearest(name, sortedKeys(known)); near != "" {
			hint = fmt.Sprintf("did you mean %s (flag -%s)?", near, known[near])
		}
		problems = append(problems, fmt.Errorf("unknown variable %s: %s", name, hint))
	}
	return problems
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nearest returns the candidate that is at most three edits away from name, or "".
func nearest(name string, candidates []string) string {
	best, limit := "", 4
	for _, c := range candidates {
		if d := distance(name, c); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two ASCII strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
