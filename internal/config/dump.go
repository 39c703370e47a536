package config

import (
	"flag"
	"fmt"
	"io"
)

// Setting is one setting of a program as it stands. Secrets are redacted.
type Setting struct {
	Flag    string // without the dash
	Env     string
	Default string
	Value   string
	Source  string // flag, environment or default
	Usage   string
}

// Settings returns the settings of a flag set in alphabetical order. Call it after [Parse] with the same environ to see
// what applies and why, or before with none for the documentation.
func Settings(fs *flag.FlagSet, envPrefix string, environ []string) (settings []Setting) {
	given := given(fs)
	vars := variables(envPrefix, environ)
	fs.VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		s := Setting{
			Flag: f.Name, Env: EnvName(envPrefix, f.Name), Default: f.DefValue, Value: f.Value.String(),
			Source: "default", Usage: usage,
		}
		switch {
		case given[f.Name]:
			s.Source = "flag"
		case vars[s.Env] != "":
			s.Source = "environment"
		}
		settings = append(settings, s)
	})
	return settings
}

// Dump writes one line for each setting: its value and where it came from. Secrets are redacted.
func Dump(w io.Writer, fs *flag.FlagSet, envPrefix string, environ []string) error {
	for _, s := range Settings(fs, envPrefix, environ) {
		from := s.Source
		switch from {
		case "flag":
			from = "-" + s.Flag
		case "environment":
			from = s.Env
		}
		if _, err := fmt.Fprintf(w, "%s = %q (%s)\n", s.Flag, s.Value, from); err != nil {
			return err
		}
	}
	return nil
}

// Usage writes the settings of a flag set to its output, each with its variable.
func Usage(fs *flag.FlagSet, envPrefix string) {
	w := fs.Output()
	fmt.Fprintf(w, "Usage of %s:\n", fs.Name())
	fs.VisitAll(func(f *flag.Flag) {
		arg, usage := flag.UnquoteUsage(f)
		if arg != "" {
			arg = " " + arg
		}
		fmt.Fprintf(w, "  -%s%s\n    \t%s", f.Name, arg, usage)
		if f.DefValue != "" {
			fmt.Fprintf(w, " (default %q)", f.DefValue)
		}
		fmt.Fprintf(w, " [%s]\n", EnvName(envPrefix, f.Name))
	})
}
