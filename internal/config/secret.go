package config

import (
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

const redacted = "[redacted]"

// Secret is a value that no printer, encoder or log handler shows. [Secret.Expose] is the only way to its content.
// The zero value is an empty secret.
type Secret struct {
	reveal func() string // a closure, because printers that walk unexported fields by reflection cannot look into one
}

// NewSecret returns a secret with the content.
func NewSecret(content string) Secret {
	if content == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return content }}
}

// Expose returns the content. Its result must not be logged, stored in the clear or put on the bus.
func (s Secret) Expose() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.reveal == nil }

// Equal compares two secrets in constant time.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Expose()), []byte(other.Expose())) == 1
}

// String returns "[redacted]", or "" for an empty secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString is [Secret.String], for %#v.
func (s Secret) GoString() string { return s.String() }

// Format writes [Secret.String] for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is [Secret.String], for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is [Secret.String], for encoders. An encoded secret cannot be decoded again.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON is [Secret.String] as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// SecretVar declares a secret setting under two flags: -name takes the content, -name-file a file that holds it (a
// line break at its end is dropped). Prefer the file: flags are visible in the list of processes.
func SecretVar(fs *flag.FlagSet, s *Secret, name, usage string) {
	fs.Var(&secretValue{s}, name, usage)
	fs.Var(&secretFile{secret: s}, name+fileSuffix, "file that holds -"+name)
}

const fileSuffix = "-file"

// secretValue is the flag -name.
type secretValue struct{ secret *Secret }

func (v *secretValue) Set(content string) error {
	*v.secret = NewSecret(content)
	return nil
}

func (v *secretValue) String() string {
	if v.secret == nil { // package flag asks the zero value
		return ""
	}
	return v.secret.String()
}

// secretFile is the flag -name-file.
type secretFile struct {
	secret *Secret
	path   string
}

func (v *secretFile) Set(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	content := strings.TrimRight(string(b), "\r\n")
	if content == "" {
		return errors.New("the file is empty")
	}
	v.path, *v.secret = path, NewSecret(content)
	return nil
}

func (v *secretFile) String() string { return v.path }
