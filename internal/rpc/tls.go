package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
)

// TLSFiles names the PEM files with which a process proves who it is and checks others. Without any, calls are not
// encrypted. Certificates are read when a connection is made, so that they can be renewed in place; the CA is read once.
type TLSFiles struct {
	Cert, Key string // the process's own certificate
	CA        string // the authority of the other services
}

// RegisterFlags declares the settings.
func (f *TLSFiles) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&f.Cert, "tls-cert", f.Cert, "PEM `file` with this service's certificate; empty for no encryption")
	fs.StringVar(&f.Key, "tls-key", f.Key, "PEM `file` with the key of the certificate")
	fs.StringVar(&f.CA, "tls-ca", f.CA, "PEM `file` with the authority that signs the certificates of all services")
}

// Validate reports files that are missing beside those that are given.
func (f TLSFiles) Validate() error {
	if f == (TLSFiles{}) || f.Cert != "" && f.Key != "" && f.CA != "" {
		return nil
	}
	return errors.New("-tls-cert, -tls-key and -tls-ca belong together: give all of them or none")
}

// Server returns the credentials of a server, or nil for none. Callers must show a certificate of the authority, unless
// the server is public.
func (f TLSFiles) Server(public bool) (credentials.TransportCredentials, error) {
	conf, pool, err := f.load()
	if err != nil || conf == nil {
		return nil, err
	}
	conf.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair() }
	if !public {
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, pool
	}
	return credentials.NewTLS(conf), nil
}

// Client returns the credentials of a client of other services, or nil for none.
func (f TLSFiles) Client() (credentials.TransportCredentials, error) {
	conf, pool, err := f.load()
	if err != nil || conf == nil {
		return nil, err
	}
	conf.RootCAs = pool
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.pair() }
	return credentials.NewTLS(conf), nil
}

// Self returns the credentials with which a process asks its own server, or nil for none. Whose certificate that is, is
// not checked: nothing is said that nobody may hear. public says that the server has a certificate that is not of f.
func (f TLSFiles) Self(public bool) (credentials.TransportCredentials, error) {
	conf, _, err := f.load()
	if err != nil || conf == nil && !public {
		return nil, err
	}
	own := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	if conf != nil {
		own.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.pair() }
	}
	return credentials.NewTLS(own), nil
}

// load checks all files, so that a mistake is found at the start, and returns nothing when there are none.
func (f TLSFiles) load() (*tls.Config, *x509.CertPool, error) {
	if f == (TLSFiles{}) {
		return nil, nil, nil
	}
	if err := f.Validate(); err != nil {
		return nil, nil, err
	}
	if _, err := f.pair(); err != nil {
		return nil, nil, err
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("-tls-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("-tls-ca: %s holds no PEM certificate", f.CA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13}, pool, nil
}

func (f TLSFiles) pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert and -tls-key: %w", err)
	}
	return &pair, nil
}
