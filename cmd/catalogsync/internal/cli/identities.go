package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/internal/identity"
)

const identitiesHelp = `Make what services that run apart prove themselves with, as files in a directory: an authority of the installation
(ca.pem, ca-key.pem), a certificate for each service and for the NATS server (auth.pem, auth-key.pem, ...), a NATS key for
each service (auth.nk, ...) and for whoever makes backups (operator.nk), and nats-users.conf, which tells the NATS server
what each of them may do. Each service is to be given its own files and ca.pem, and nothing else; ca-key.pem none of them.

What is there and good is left alone. Certificates that end within 90 days are made anew: run it twice a year. Services
read theirs with every connection; the NATS server is to be told by a reload.`

func (p *program) identitiesCommand() *cobra.Command {
	var dir string
	var o identity.Options
	c := &cobra.Command{Use: "identities", Short: "Make certificates and NATS keys for services that run apart", Long: identitiesHelp, Args: args(0, 0)}
	c.Flags().StringVar(&dir, "dir", "", "`directory` for the files")
	c.Flags().StringSliceVar(&o.Hosts, "host", nil, "`name` or address that every certificate is for, beside the service's own name; repeatable")
	c.Flags().StringSliceVar(&o.GatewayHosts, "gateway-host", nil, "`name` or address that the gateway's certificate is for, beside gateway and localhost; repeatable")
	c.RunE = func(*cobra.Command, []string) error {
		if dir == "" {
			return exit.Misuse("--dir is missing; name a directory that nobody else can read")
		}
		wrote, err := identity.Make(dir, o)
		if err != nil {
			return err
		}
		if len(wrote) == 0 {
			p.note("Everything in %s is good.", dir)
			return nil
		}
		return p.print("made " + strings.Join(wrote, "\nmade ") + "\n")
	}
	return c
}
