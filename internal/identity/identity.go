// Package identity owns what services that run apart prove themselves with: an authority of the installation, a
// certificate of it for each service and for the NATS server, a NATS key for each service, and what the NATS server must
// know of these keys. All of it is files in one directory.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/catalogsync/catalogsync/internal/bus/policy"
)

const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	// renewal is how long before its end a certificate is made anew.
	renewal = 90 * 24 * time.Hour
	// drift is by how much the clocks of machines may differ.
	drift = time.Hour
)

// Files of a directory that are not of one service.
const (
	AuthorityCert = "ca.pem"
	AuthorityKey  = "ca-key.pem"
	NATSUsers     = "nats-users.conf"
)

// NATSServer is the name in the certificate of the NATS server.
const NATSServer = "nats"

// Cert is the file with the certificate of a service.
func Cert(name string) string { return name + ".pem" }

// Key is the file with the key of a certificate.
func Key(name string) string { return name + "-key.pem" }

// NKey is the file with the seed of a service's NATS key.
func NKey(name string) string { return name + ".nk" }

// Options say for what names.
type Options struct {
	// Hosts are names and addresses that stand in every certificate beside the service's own name, such as those of a
	// machine on which services call each other by address.
	Hosts []string
	// GatewayHosts stand in that of the gateway and of nobody else, beside localhost.
	GatewayHosts []string
	// Now is the present time; zero for the clock's.
	Now time.Time
}

// Make makes what is missing in a directory, renews certificates that end within 90 days or lack a name, and leaves alone
// what is good. It returns the names of the files that it wrote.
func Make(dir string, o Options) (wrote []string, err error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m := &maker{dir: dir, opts: o}
	if err := m.authority(); err != nil {
		return m.wrote, err
	}
	for _, name := range append(slices.Clone(policy.Services), NATSServer) {
		names := append([]string{name}, o.Hosts...)
		if name == "gateway" {
			names = append(append(names, "localhost"), o.GatewayHosts...)
		}
		if err := m.certificate(name, names); err != nil {
			return m.wrote, err
		}
	}
	keys := map[string]string{}
	for _, name := range append(slices.Clone(policy.Services), policy.Operator) {
		if keys[name], err = m.nkey(name); err != nil {
			return m.wrote, err
		}
	}
	users, err := policy.Config(keys)
	if err != nil {
		return m.wrote, err
	}
	if old, rerr := os.ReadFile(filepath.Join(dir, NATSUsers)); rerr != nil || string(old) != users {
		err = m.write(NATSUsers, []byte(users))
	}
	return m.wrote, err
}

// maker is one run of Make.
type maker struct {
	dir   string
	opts  Options
	wrote []string
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

// write puts a file in its place at once, for nobody else to read.
func (m *maker) write(name string, content []byte) error {
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	m.wrote = append(m.wrote, name)
	return nil
}

// read returns the content of a file's first PEM block; nothing when there is no such file.
func (m *maker) read(name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(m.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM: remove it to have it made anew", filepath.Join(m.dir, name))
	}
	return block.Bytes, nil
}

// authority reads the authority, or makes it.
func (m *maker) authority() error {
	certDER, err := m.read(AuthorityCert)
	if err != nil {
		return err
	}
	keyDER, err := m.read(AuthorityKey)
	if err != nil {
		return err
	}
	if certDER == nil && keyDER == nil {
		return m.newAuthority()
	}
	if certDER == nil || keyDER == nil {
		return fmt.Errorf("in %s there is one of %s and %s without the other: bring the other back, or remove both and all certificates", m.dir, AuthorityCert, AuthorityKey)
	}
	if m.cert, err = x509.ParseCertificate(certDER); err != nil {
		return fmt.Errorf("%s: %w", AuthorityCert, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return fmt.Errorf("%s: %w", AuthorityKey, err)
	}
	var ok bool
	if m.key, ok = key.(*ecdsa.PrivateKey); !ok || !m.key.PublicKey.Equal(m.cert.PublicKey) {
		return fmt.Errorf("%s is not the key of %s", AuthorityKey, AuthorityCert)
	}
	return nil
}

func (m *maker) newAuthority() (err error) {
	m.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: "catalogsync services"}, NotBefore: m.opts.Now.Add(-drift), NotAfter: m.opts.Now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	return m.sign(AuthorityCert, AuthorityKey, m.cert, m.key)
}

// certificate makes a certificate with the names, unless there is a good one.
func (m *maker) certificate(name string, names []string) error {
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: m.opts.Now.Add(-drift), NotAfter: m.opts.Now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	old, err := m.read(Cert(name))
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(m.dir, Key(name))); err == nil && old != nil && m.good(old, c) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return m.sign(Cert(name), Key(name), c, key)
}

// good reports whether a certificate is of the authority, has the names and no others, and does not end soon.
func (m *maker) good(der []byte, want *x509.Certificate) bool {
	c, err := x509.ParseCertificate(der)
	return err == nil && c.CheckSignatureFrom(m.cert) == nil && c.NotAfter.After(m.opts.Now.Add(renewal)) &&
		slices.Equal(c.DNSNames, want.DNSNames) && slices.EqualFunc(c.IPAddresses, want.IPAddresses, net.IP.Equal)
}

// sign makes a certificate of the authority, which signs its own too, and writes it and its key.
func (m *maker) sign(certFile, keyFile string, c *x509.Certificate, key *ecdsa.PrivateKey) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	c.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, c, m.cert, &key.PublicKey, m.key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", certFile, err)
	}
	if c == m.cert {
		if m.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first: a certificate that is there has one.
	if err := m.write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return err
	}
	return m.write(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// nkey returns the public part of a service's NATS key, making the key where there is none.
func (m *maker) nkey(name string) (string, error) {
	seed, err := os.ReadFile(filepath.Join(m.dir, NKey(name)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		pair, err := nkeys.CreateUser()
		if err != nil {
			return "", err
		}
		if seed, err = pair.Seed(); err != nil {
			return "", err
		}
		if err := m.write(NKey(name), append(seed, '\n')); err != nil {
			return "", err
		}
	case err != nil:
		return "", err
	}
	pair, err := nkeys.ParseDecoratedUserNKey(seed)
	if err != nil {
		return "", fmt.Errorf("%s holds no seed of a NATS user: remove it to have it made anew", filepath.Join(m.dir, NKey(name)))
	}
	return pair.PublicKey()
}
