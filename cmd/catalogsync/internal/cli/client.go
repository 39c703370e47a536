package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
)

// do makes a command out of what it does with the gateway.
func (p *program) do(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		token, err := p.token()
		if err != nil {
			return err
		}
		return p.withClient(cmd.Context(), token, func(ctx context.Context, c *client.Client) error { return f(ctx, c, args) })
	}
}

// withClient calls f with a connection to the gateway.
func (p *program) withClient(ctx context.Context, token string, f func(ctx context.Context, c *client.Client) error) (err error) {
	creds, err := p.transport()
	if err != nil {
		return err
	}
	c, err := client.Dial(client.Options{Server: p.server, Token: token, Credentials: creds, Timeout: p.timeout})
	if err != nil {
		return exit.Misuse("--server: %v", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return f(ctx, c)
}

// transport decides about encryption. The token and people's data leave the machine only encrypted, unless the user
// says otherwise.
func (p *program) transport() (credentials.TransportCredentials, error) {
	if p.caFile == "" && (p.plaintext || isLocal(p.server)) {
		return nil, nil
	}
	if p.caFile == "" {
		return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), nil
	}
	if p.plaintext {
		return nil, exit.Misuse("--plaintext and --tls-ca exclude each other; give one of them")
	}
	pem, err := os.ReadFile(p.caFile)
	if err != nil {
		return nil, exit.Misuse("--tls-ca: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, exit.Misuse("--tls-ca: %s holds no certificate in PEM format", p.caFile)
	}
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}), nil
}

// isLocal reports whether the address is on this machine.
func isLocal(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	if i := strings.LastIndex(addr, "/"); i >= 0 { // dns:///host:port
		addr = addr[i+1:]
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// token finds the API token.
func (p *program) token() (string, error) {
	file, value := p.tokenFile, ""
	if file == "" {
		value, file = p.environ("CATALOGSYNC_TOKEN", ""), p.environ("CATALOGSYNC_TOKEN_FILE", "")
		switch {
		case value != "" && file != "":
			return "", exit.Misuse("CATALOGSYNC_TOKEN and CATALOGSYNC_TOKEN_FILE are both set; set one of them")
		case value == "" && file == "":
			return "", exit.Misuse("there is no API token; give --token-file FILE or set CATALOGSYNC_TOKEN_FILE or CATALOGSYNC_TOKEN, " +
				"and make a token with `catalogsync token create`")
		}
	}
	if file != "" {
		var err error
		if value, err = readSecret(file); err != nil {
			return "", exit.Misuse("the file with the API token: %v", err)
		}
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", exit.Misuse("the API token holds characters that no token has; is the file the right one?")
	}
	return value, nil
}

// readSecret returns the content of a file without the white space around it.
func readSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	content := strings.TrimSpace(string(b))
	if content == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return content, nil
}

// show writes an answer: as JSON, or as text for people.
func (p *program) show(m proto.Message, text func(view.Style) string) error {
	if p.asJSON {
		return p.print(string(view.JSON(m)))
	}
	return p.print(text(p.out))
}

// showAll writes a list: each element as a line of JSON, or one table for people, and none where there is nothing.
func showAll[M proto.Message](p *program, list []M, none string, text func(view.Style, []M) string) error {
	if p.asJSON {
		for _, m := range list {
			if err := p.print(string(view.JSON(m))); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		p.note("%s", none)
		return nil
	}
	return p.print(text(p.out, list))
}

// note writes a remark for people to standard error.
func (p *program) note(format string, args ...any) {
	fmt.Fprintf(p.env.Stderr, format+"\n", args...)
}
