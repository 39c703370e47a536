package gateway

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
)

// minOperatorToken is the least length of the operator's token, in bytes.
const minOperatorToken = 24

// Config is what can be set.
type Config struct {
	// HTTPListen is the address of the HTTP server.
	HTTPListen string
	// OperatorToken makes API tokens for any tenant. Without one, nobody can make the first token of a tenant.
	OperatorToken config.Secret
	// MaxBodyBytes bounds the body of an HTTP request, files excepted.
	MaxBodyBytes int64
	// MaxFileBytes bounds a file with people, as it is sent.
	MaxFileBytes int64
	// MaxConnections bounds the connections to the HTTP server at once.
	MaxConnections int
	// MaxConnectionsPerAddress bounds those of one client address. Behind a proxy it bounds the proxy's.
	MaxConnectionsPerAddress int
	// Stall is how long an HTTP client may neither send nor take anything.
	Stall time.Duration
	// ShutdownGrace is how long open HTTP requests have to finish.
	ShutdownGrace time.Duration
}

// DefaultConfig returns the settings that nobody has to think about.
func DefaultConfig() Config {
	return Config{
		HTTPListen:               "127.0.0.1:8081",
		MaxBodyBytes:             1 << 20,
		MaxFileBytes:             8 << 30,
		MaxConnections:           1024,
		MaxConnectionsPerAddress: 256,
		Stall:                    30 * time.Second,
		ShutdownGrace:            10 * time.Second,
	}
}

// RegisterFlags declares the settings.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.HTTPListen, "http-listen", c.HTTPListen, "`address` of the HTTP server")
	config.SecretVar(fs, &c.OperatorToken, "operator-token", "token that makes API tokens for any tenant, at least 24 characters; empty: nobody can")
	fs.Int64Var(&c.MaxBodyBytes, "max-body-bytes", c.MaxBodyBytes, "largest body of an HTTP request, in bytes, files excepted")
	fs.Int64Var(&c.MaxFileBytes, "max-file-bytes", c.MaxFileBytes, "largest file with people, in bytes as it is sent")
	fs.IntVar(&c.MaxConnections, "max-connections", c.MaxConnections, "most connections to the HTTP server at once")
	fs.IntVar(&c.MaxConnectionsPerAddress, "max-connections-per-address", c.MaxConnectionsPerAddress, "most connections of one client address at once; behind a proxy, the proxy's")
	fs.DurationVar(&c.Stall, "http-stall", c.Stall, "`time` for which an HTTP client may neither send nor take anything")
	fs.DurationVar(&c.ShutdownGrace, "http-shutdown-grace", c.ShutdownGrace, "`time` that open HTTP requests have to finish when the process is stopped")
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var problems []error
	if _, _, err := net.SplitHostPort(c.HTTPListen); err != nil {
		problems = append(problems, fmt.Errorf("-http-listen %q: give it as host:port", c.HTTPListen))
	}
	if n := len(c.OperatorToken.Expose()); n > 0 && n < minOperatorToken {
		problems = append(problems, fmt.Errorf("-operator-token has %d characters: at least %d, such as openssl rand -base64 32 makes", n, minOperatorToken))
	}
	for _, v := range []struct {
		flag  string
		value int64
	}{
		{"max-body-bytes", c.MaxBodyBytes},
		{"max-file-bytes", c.MaxFileBytes},
		{"max-connections", int64(c.MaxConnections)},
		{"max-connections-per-address", int64(c.MaxConnectionsPerAddress)},
		{"http-stall", int64(c.Stall)},
		{"http-shutdown-grace", int64(c.ShutdownGrace)},
	} {
		if v.value <= 0 {
			problems = append(problems, fmt.Errorf("-%s must be more than 0", v.flag))
		}
	}
	return errors.Join(problems...)
}
