package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
)

const linkHelp = `Link a Salesforce org, in one of three ways:

  client credentials   an External Client App with that flow switched on and a user that it runs as. Nothing more is needed:
                       catalogsync link --host acme.my.salesforce.com --client-id ID --client-secret-file FILE
  consent              somebody logs in to Salesforce with a browser and allows access:
                       catalogsync link --web --client-id ID --client-secret-file FILE [--host HOST | --sandbox]
  a signed key         an app that holds our certificate, and a user who is approved for it:
                       catalogsync link --jwt --host HOST --client-id ID --username USER --signing-key ID

The host is the org's My Domain, as a bare name or copied from the browser. --web goes to login.salesforce.com without one,
and to test.salesforce.com with --sandbox.

Linking the same org again, or with --reconnect, replaces the credentials and keeps everything else. Linking another org
than before takes --replace-org: field maps and the records of runs of the org before go then for good.

The consumer secret is read from --client-secret-file, else from CATALOGSYNC_CLIENT_SECRET or the file that
CATALOGSYNC_CLIENT_SECRET_FILE names, else it is asked for. It is never a flag: those can be seen in the list of
processes and stay in the shell's history.`

// theTarget is what --reconnect stands for without an id.
const theTarget = "the one that runs write to"

// linking is what the flags of link say.
type linking struct {
	host, clientID, secretFile, name   string
	web, jwt, sandbox, yes             bool
	username, keyFile, signingKey, aud string
	source, reconnect, replaceOrg      string
	companies                          []string
}

func (p *program) linkCommand() *cobra.Command {
	l := &linking{}
	c := &cobra.Command{Use: "link", Short: "Link a Salesforce org", Long: linkHelp, Args: args(0, 0)}
	f := c.Flags()
	f.StringVar(&l.host, "host", "", "the org's My Domain `host`, such as acme.my.salesforce.com")
	f.StringVar(&l.clientID, "client-id", "", "consumer key, the `id` of the app")
	f.StringVar(&l.secretFile, "client-secret-file", "", "`file` that holds the consumer secret")
	f.StringVar(&l.name, "name", "", "`name` of the connection, for people")
	f.BoolVar(&l.web, "web", false, "link by somebody's consent, with a browser")
	f.BoolVar(&l.jwt, "jwt", false, "link with a signed key")
	f.BoolVar(&l.sandbox, "sandbox", false, "log in at test.salesforce.com, where --host is not given")
	f.StringVar(&l.username, "username", "", "with --jwt: `user` to sign in as")
	f.StringVar(&l.keyFile, "key", "", "with --jwt: PEM `file` with the private key, RSA of at least 2048 bits")
	f.StringVar(&l.signingKey, "signing-key", "", "with --jwt: `id` of a key of signing-key create")
	f.StringVar(&l.aud, "audience", "", "with --jwt: `origin` that the signed request is for; that of the host where not given")
	f.StringVar(&l.source, "source", "", "link an org that is only read, under this `name`")
	f.StringArrayVar(&l.companies, "company", nil, "`name` of a company to which a source's data belongs; repeatable")
	f.StringVar(&l.reconnect, "reconnect", "", "give the connection with this `id` new credentials; without an id, "+theTarget)
	f.Lookup("reconnect").NoOptDefVal = theTarget
	f.StringVar(&l.replaceOrg, "replace-org", "", "`id` of the org that is linked now and that another shall take the place of")
	f.BoolVarP(&l.yes, "yes", "y", false, "do not ask")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(args); err != nil {
			return err
		}
		return p.do(func(ctx context.Context, c *client.Client, _ []string) error { return p.link(ctx, c, l) })(cmd, args)
	}
	return c
}

// check says what does not go together.
func (l *linking) check(args []string) error {
	if l.source != "" && l.name != "" {
		return exit.Misuse("--source and --name exclude each other: --source gives the name")
	}
	if l.source != "" {
		l.name = l.source
	}
	switch {
	case l.web && l.jwt:
		return exit.Misuse("--web and --jwt exclude each other; give one of them")
	case len(l.companies) > 0 && l.source == "" && l.reconnect == "":
		return exit.Misuse("--company is for sources; give --source NAME as well")
	case l.sandbox && l.host != "":
		return exit.Misuse("--sandbox and --host exclude each other; give the host of the sandbox alone")
	case l.reconnect != "" && l.replaceOrg != "":
		return exit.Misuse("--reconnect keeps the org and --replace-org changes it; give one of them")
	case !l.jwt && (l.username != "" || l.keyFile != "" || l.signingKey != "" || l.aud != ""):
		return exit.Misuse("--username, --key, --signing-key and --audience are for --jwt; give it as well")
	case l.jwt && (l.username == "" || (l.keyFile == "") == (l.signingKey == "")):
		return exit.Misuse("--jwt needs --username, and either --key or --signing-key")
	}
	if l.sandbox {
		l.host = "test.salesforce.com"
	}
	if !l.web && (l.host == "" && l.reconnect == "" || l.clientID == "") {
		return exit.Misuse("--host and --client-id are both needed; see `catalogsync link --help`")
	}
	return nil
}

func (p *program) link(ctx context.Context, c *client.Client, l *linking) error {
	if l.reconnect == theTarget {
		res, err := c.Connections.GetConnection(ctx, &authv1.GetConnectionRequest{})
		if err != nil {
			return err
		}
		l.reconnect = res.GetConnection().GetId()
	}
	if l.replaceOrg != "" && !l.yes {
		p.note("The org %s gives way to another. Its field maps and the records of its runs go for good; nothing changes in the org itself.\n"+
			"Its field maps can be read afterwards too: catalogsync map export --connection ID --all", view.Clean(l.replaceOrg))
		if err := p.confirm("Replace it?"); err != nil {
			return err
		}
	}
	var conn *authv1.Connection
	var err error
	if l.web {
		conn, err = p.linkByConsent(ctx, c, l)
	} else {
		conn, err = p.linkAtOnce(ctx, c, l)
	}
	if err != nil {
		return err
	}
	return p.show(conn, func(s view.Style) string { return view.Connection(s, conn) })
}

func (l *linking) purpose() authv1.Purpose {
	if l.source != "" {
		return authv1.Purpose_PURPOSE_SOURCE
	}
	return authv1.Purpose_PURPOSE_WRITE_TARGET
}

// linkAtOnce links by client credentials or with a signed key.
func (p *program) linkAtOnce(ctx context.Context, c *client.Client, l *linking) (*authv1.Connection, error) {
	req := &authv1.LinkConnectionRequest{
		Name: l.name, Host: l.host, ConnectionId: l.reconnect, Purpose: l.purpose(), CompanyNames: l.companies, ReplaceOrg: l.replaceOrg,
	}
	if l.jwt {
		jwt := &authv1.JwtBearer{ClientId: l.clientID, Username: l.username, SigningKeyId: l.signingKey, Audience: l.aud}
		if l.keyFile != "" {
			key, err := readSecret(l.keyFile)
			if err != nil {
				return nil, exit.Misuse("the file with the private key: %v", err)
			}
			jwt.PrivateKeyPem = key
		}
		req.Credentials = &authv1.LinkConnectionRequest_JwtBearer{JwtBearer: jwt}
	} else {
		secret, err := p.clientSecret(l.secretFile, true)
		if err != nil {
			return nil, err
		}
		req.Credentials = &authv1.LinkConnectionRequest_ClientCredentials{
			ClientCredentials: &authv1.ClientCredentials{ClientId: l.clientID, ClientSecret: secret},
		}
	}
	res, err := c.Connections.LinkConnection(ctx, req)
	return res.GetConnection(), err
}

// linkByConsent shows where a browser goes, and waits for what comes of it.
func (p *program) linkByConsent(ctx context.Context, c *client.Client, l *linking) (*authv1.Connection, error) {
	secret, err := p.clientSecret(l.secretFile, false)
	if err != nil {
		return nil, err
	}
	begun, err := c.Connections.BeginLink(ctx, &authv1.BeginLinkRequest{
		Name: l.name, Host: l.host, ClientId: l.clientID, ClientSecret: secret,
		ConnectionId: l.reconnect, Purpose: l.purpose(), CompanyNames: l.companies, ReplaceOrg: l.replaceOrg,
	})
	if err != nil {
		return nil, err
	}
	if begun.GetUrl() == "" {
		return nil, exit.With(exit.Failed, "the gateway serves no pages for browsers: start its HTTP server, and say with -public-url where browsers reach it")
	}
	p.note("Open this address with a browser within ten minutes. It works once.\n\n  %s\n", view.Clean(begun.GetUrl()))
	tick := time.NewTicker(consentPoll)
	defer tick.Stop()
	for {
		link, err := c.Connections.GetLink(ctx, &authv1.GetLinkRequest{LinkId: begun.GetLinkId()})
		if err != nil {
			return nil, err
		}
		switch link.GetState() {
		case authv1.LinkState_LINK_STATE_LINKED:
			return link.GetConnection(), nil
		case authv1.LinkState_LINK_STATE_FAILED:
			return nil, exit.With(exit.Failed, "the org is not linked: %s", said(link.GetError(), link.GetErrorDescription(), link.GetAdvice()))
		case authv1.LinkState_LINK_STATE_EXPIRED:
			return nil, exit.With(exit.Failed, "nobody came back from Salesforce in time. If it showed an error there, mend that, and link again")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// consentPoll is how often it is asked what came of a consent.
const consentPoll = 500 * time.Millisecond

// clientSecret finds the consumer secret. Where it is needed it is asked for, if need be.
func (p *program) clientSecret(file string, needed bool) (string, error) {
	if file == "" {
		value := p.environ("CATALOGSYNC_CLIENT_SECRET", "")
		file = p.environ("CATALOGSYNC_CLIENT_SECRET_FILE", "")
		if value != "" && file != "" {
			return "", exit.Misuse("CATALOGSYNC_CLIENT_SECRET and CATALOGSYNC_CLIENT_SECRET_FILE are both set; set one of them")
		}
		if value != "" {
			return strings.TrimSpace(value), nil
		}
	}
	if file != "" {
		secret, err := readSecret(file)
		if err != nil {
			return "", exit.Misuse("the file with the consumer secret: %v", err)
		}
		return secret, nil
	}
	if !needed {
		return "", nil
	}
	in, ok := p.env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", exit.Misuse("there is no consumer secret; give --client-secret-file FILE or set CATALOGSYNC_CLIENT_SECRET_FILE")
	}
	fmt.Fprint(p.env.Stderr, "Consumer secret: ")
	typed, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(p.env.Stderr)
	if err != nil {
		return "", fmt.Errorf("read the consumer secret: %w", err)
	}
	secret := strings.TrimSpace(string(typed))
	if secret == "" {
		return "", exit.Misuse("the consumer secret is empty")
	}
	return secret, nil
}

func (p *program) testCommand() *cobra.Command {
	req := &authv1.TestConnectionRequest{}
	c := &cobra.Command{
		Use:   "test",
		Short: "Test the connection: ask Salesforce for a new access token",
		Args:  args(0, 0),
		RunE: p.do(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Connections.TestConnection(ctx, req)
			if err != nil {
				return err
			}
			conn := res.GetConnection()
			err = p.show(res, func(s view.Style) string {
				if !res.GetOk() {
					return view.Connection(s, conn)
				}
				return fmt.Sprintf("%s Salesforce gives access to org %s as %s.\n", s.Paint(view.Good, "The connection works:"),
					view.Clean(conn.GetOrgId()), view.Clean(conn.GetUsername()))
			})
			if err != nil || res.GetOk() {
				return err
			}
			code := exit.Failed
			if conn.GetState() == authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT {
				code = exit.Reconnect
			}
			return exit.With(code, "%s", refusal(res))
		}),
	}
	c.Flags().StringVar(&req.ConnectionId, "connection", "", "`id` of the connection; the one that runs write to where not given")
	return c
}

// refusal says why a test failed, in Salesforce's words and in ours.
func refusal(res *authv1.TestConnectionResponse) string {
	return "Salesforce gives no access token: " + said(res.GetError(), res.GetErrorDescription(), res.GetAdvice())
}

// said puts together an error's code, what was said of it, and what to do.
func said(code, description, advice string) string {
	text := code
	if description != "" {
		text += ": " + description
	}
	if advice != "" {
		text = strings.TrimSuffix(text, ".") + ". " + advice
	}
	return view.Clean(text)
}
