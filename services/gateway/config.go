package gateway

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/egress"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/gateway/internal/signin"
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
	// MaxConnections bounds the connections to the gRPC server, and to the HTTP server, at once.
	MaxConnections int
	// MaxConnectionsPerAddress bounds those of one client address. Behind a proxy it bounds the proxy's.
	MaxConnectionsPerAddress int
	// Stall is how long an HTTP client may neither send nor take anything.
	Stall time.Duration
	// ShutdownGrace is how long open HTTP requests have to finish.
	ShutdownGrace time.Duration
	// PublicURL is the origin at which browsers reach the HTTP server; where empty, HTTPListen by http on loopback.
	PublicURL string
	// PublicCert and PublicKey are PEM files with the certificate that callers from outside see, by gRPC and HTTP. They are
	// read anew with every connection.
	PublicCert, PublicKey string
	// InsecureHTTP lets the HTTP server listen without TLS where others reach it: what stands in front of it ends TLS.
	InsecureHTTP bool
	// OIDC says by which issuer people sign in; nobody does where Issuer is empty.
	OIDC signin.Config
	// OIDCAlgorithms are the algorithms of OIDC, separated by commas.
	OIDCAlgorithms string
	// CallsPerSecond and CallBurst bound how often one caller may call.
	CallsPerSecond float64
	CallBurst      int
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
		OIDC:                     signin.Config{TenantClaim: "catalogsync_tenant", RoleClaim: "catalogsync_role"},
		OIDCAlgorithms:           "RS256,ES256",
		CallsPerSecond:           1000,
		CallBurst:                5000,
	}
}

// RegisterFlags declares the settings.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.HTTPListen, "http-listen", c.HTTPListen, "`address` of the HTTP server")
	config.SecretVar(fs, &c.OperatorToken, "operator-token", "token that makes API tokens for any tenant, at least 24 characters; empty: nobody can")
	fs.Int64Var(&c.MaxBodyBytes, "max-body-bytes", c.MaxBodyBytes, "largest body of an HTTP request, in bytes, files excepted")
	fs.Int64Var(&c.MaxFileBytes, "max-file-bytes", c.MaxFileBytes, "largest file with people, in bytes as it is sent")
	fs.IntVar(&c.MaxConnections, "max-connections", c.MaxConnections, "most connections to the gRPC server, and to the HTTP server, at once")
	fs.IntVar(&c.MaxConnectionsPerAddress, "max-connections-per-address", c.MaxConnectionsPerAddress, "most connections of one client address at once; behind a proxy, the proxy's")
	fs.DurationVar(&c.Stall, "http-stall", c.Stall, "`time` for which an HTTP client may neither send nor take anything")
	fs.DurationVar(&c.ShutdownGrace, "http-shutdown-grace", c.ShutdownGrace, "`time` that open HTTP requests have to finish when the process is stopped")
	fs.Float64Var(&c.CallsPerSecond, "calls-per-second", c.CallsPerSecond, "how many calls a second one caller may make")
	fs.IntVar(&c.CallBurst, "call-burst", c.CallBurst, "how many calls one caller may make at once")
	c.RegisterPublicFlags(fs)
}

// RegisterPublicFlags declares the settings of how the gateway is seen from outside and who signs in, which are the same
// where the gateway does not run by itself.
func (c *Config) RegisterPublicFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.PublicURL, "public-url", c.PublicURL, "`origin` at which browsers reach the HTTP server, such as https://sync.example.com; the address of -http-listen where empty")
	fs.StringVar(&c.PublicCert, "public-cert", c.PublicCert, "PEM `file` with the certificate for callers from outside, by gRPC and HTTP; empty: that of -tls-cert by gRPC, and no TLS by HTTP")
	fs.StringVar(&c.PublicKey, "public-key", c.PublicKey, "PEM `file` with the key of that certificate")
	fs.BoolVar(&c.InsecureHTTP, "insecure-http", c.InsecureHTTP, "serve HTTP without TLS to other machines: what stands in front ends TLS")
	fs.StringVar(&c.OIDC.Issuer, "oidc-issuer", c.OIDC.Issuer, "`URL` of the OpenID Connect issuer by which people sign in; empty: nobody does")
	fs.StringVar(&c.OIDC.ClientID, "oidc-client-id", c.OIDC.ClientID, "our `id` at the issuer")
	config.SecretVar(fs, &c.OIDC.ClientSecret, "oidc-client-secret", "our secret at the issuer; empty for a public client")
	fs.StringVar(&c.OIDC.Audience, "oidc-audience", c.OIDC.Audience, "`audience` of tokens that come with calls; that of -oidc-client-id where empty")
	fs.StringVar(&c.OIDCAlgorithms, "oidc-algorithms", c.OIDCAlgorithms, "`algorithms` by which the issuer may sign, separated by commas")
	fs.StringVar(&c.OIDC.TenantClaim, "oidc-tenant-claim", c.OIDC.TenantClaim, "`claim` that names the tenant")
	fs.StringVar(&c.OIDC.RoleClaim, "oidc-role-claim", c.OIDC.RoleClaim, "`claim` that names the role, viewer, admin or owner, or a list of them")
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
		{"call-burst", int64(c.CallBurst)},
	} {
		if v.value <= 0 {
			problems = append(problems, fmt.Errorf("-%s must be more than 0", v.flag))
		}
	}
	if !(c.CallsPerSecond > 0) {
		problems = append(problems, errors.New("-calls-per-second must be more than 0"))
	}
	if (c.PublicCert == "") != (c.PublicKey == "") {
		problems = append(problems, errors.New("-public-cert and -public-key belong together: give both or none"))
	}
	if c.PublicURL != "" {
		if u, err := egress.ParseOrigin(c.PublicURL); err != nil {
			problems = append(problems, fmt.Errorf("-public-url %q: %w", c.PublicURL, err))
		} else if u.Scheme == "http" && !rpc.Loopback(u.Host) {
			problems = append(problems, fmt.Errorf("-public-url %q: by http only on this machine; give https:// and a host", c.PublicURL))
		}
	}
	if c.PublicCert == "" && !c.InsecureHTTP && !rpc.Loopback(c.HTTPListen) {
		problems = append(problems, fmt.Errorf("-http-listen %q can be reached by others, and HTTP is not encrypted: give -public-cert and -public-key, "+
			"or say -insecure-http where something in front ends TLS", c.HTTPListen))
	}
	return errors.Join(append(problems, c.validateOIDC())...)
}

// signatures are the algorithms that may be configured: an issuer signs with a key that it keeps to itself.
var signatures = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func (c Config) validateOIDC() error {
	if c.OIDC.Issuer == "" {
		return nil
	}
	var problems []error
	u, err := url.Parse(c.OIDC.Issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && rpc.Loopback(u.Host)) {
		problems = append(problems, fmt.Errorf("-oidc-issuer %q: give the URL of the issuer, such as https://accounts.example.com", c.OIDC.Issuer))
	}
	if c.OIDC.ClientID == "" {
		problems = append(problems, errors.New("-oidc-client-id is missing: say who we are at the issuer"))
	}
	if len(c.algorithms()) == 0 {
		problems = append(problems, errors.New("-oidc-algorithms is empty: name those by which the issuer signs"))
	}
	for _, a := range c.algorithms() {
		if !slices.Contains(signatures, a) {
			problems = append(problems, fmt.Errorf("-oidc-algorithms: %q is none of %s", a, strings.Join(signatures, ", ")))
		}
	}
	if c.OIDC.TenantClaim == "" || c.OIDC.RoleClaim == "" {
		problems = append(problems, errors.New("-oidc-tenant-claim and -oidc-role-claim must name the claims that say the tenant and the role"))
	}
	if c.PublicURL == "" && !rpc.Loopback(c.HTTPListen) {
		problems = append(problems, errors.New("-public-url is missing: the issuer sends browsers back to it"))
	}
	return errors.Join(problems...)
}

func (c Config) algorithms() []string {
	return strings.FieldsFunc(c.OIDCAlgorithms, func(r rune) bool { return r == ',' || r == ' ' })
}

// publicURL is the origin at which browsers reach the HTTP server that listens on the address.
func (c Config) publicURL(listens string) string {
	if u, err := egress.ParseOrigin(c.PublicURL); err == nil {
		return u.String()
	}
	if at, err := netip.ParseAddrPort(listens); err == nil && at.Addr().IsUnspecified() {
		// No browser goes to an address that stands for all; this one is right on this machine at least.
		listens = net.JoinHostPort("localhost", strconv.Itoa(int(at.Port())))
	}
	if c.PublicCert != "" {
		return "https://" + listens
	}
	return "http://" + listens
}
