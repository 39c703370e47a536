package auth

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// Config is what can be set.
type Config struct {
	// KeyFile is the file with the key that wraps the key set which seals all credentials.
	KeyFile string
	// PreviousKeyFile is the file that wrapped the key set until now, while it is being changed; empty otherwise.
	PreviousKeyFile string
	// KeySettle is how long a rotation of keys waits for values that were sealed before and are on their way to the store.
	KeySettle time.Duration
	// CreateKeyFile makes the key file on the first start. It is for the all-in-one; where services run apart the file
	// is made once by hand and given to every auth process.
	CreateKeyFile bool
	// AppClientID and AppClientSecret are the installation's own app, for consents that name none; empty for none.
	AppClientID     string
	AppClientSecret config.Secret
	// AllowGovernment admits Salesforce's military cloud and China.
	AllowGovernment bool
	// DevOrigins are origins beside Salesforce's own that may be linked, such as a simulator's; separated by commas.
	DevOrigins string
}

// DefaultConfig returns the settings that nobody has to think about. The key file has no default.
func DefaultConfig() Config { return Config{KeySettle: 20 * time.Second} }

// RegisterFlags declares the settings.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.KeyFile, "key-file", c.KeyFile, "`file` with the key for stored credentials: 32 bytes in base64, not readable by others")
	fs.StringVar(&c.PreviousKeyFile, "key-file-previous", c.PreviousKeyFile, "`file` with the key before, while every auth process is started once with a new -key-file")
	fs.DurationVar(&c.KeySettle, "key-settle", c.KeySettle, "how long a rotation of keys waits for values that are on their way to the store; the same for all auth processes")
	fs.BoolVar(&c.CreateKeyFile, "create-key-file", c.CreateKeyFile, "make the key file when it is missing and nothing is stored yet")
	fs.StringVar(&c.AppClientID, "app-client-id", c.AppClientID, "consumer key of the installation's own app, for links by consent that name none")
	config.SecretVar(fs, &c.AppClientSecret, "app-client-secret", "consumer secret of the installation's own app")
	fs.BoolVar(&c.AllowGovernment, "allow-government-hosts", c.AllowGovernment, "admit orgs at .my.salesforce.mil and .my.sfcrmproducts.cn")
	fs.StringVar(&c.DevOrigins, "dev-origins", c.DevOrigins, "for development only: further `origins` that may be linked, separated by commas, such as http://127.0.0.1:8089 of a simulator")
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var problems []error
	if c.KeyFile == "" {
		problems = append(problems, errors.New("-key-file is missing: name the file with the key for stored credentials"))
	}
	if c.AppClientID == "" && !c.AppClientSecret.IsZero() {
		problems = append(problems, errors.New("-app-client-secret is set without -app-client-id: set both"))
	}
	if c.KeySettle < 0 {
		problems = append(problems, fmt.Errorf("-key-settle is %s: give more than 0", c.KeySettle))
	}
	for _, origin := range c.devOrigins() {
		if _, err := c.Policy().Check(origin); err != nil {
			problems = append(problems, fmt.Errorf("-dev-origins: %q is no origin such as http://127.0.0.1:8089", origin))
		}
	}
	return errors.Join(problems...)
}

// Policy is which hosts may be linked.
func (c Config) Policy() salesforce.HostPolicy {
	return salesforce.HostPolicy{AllowDev: c.devOrigins(), AllowGov: c.AllowGovernment}
}

func (c Config) devOrigins() []string {
	return strings.FieldsFunc(c.DevOrigins, func(r rune) bool { return r == ',' || r == ' ' })
}
