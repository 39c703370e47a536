package cli_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

func TestLinkWithASignedKeyAndReconnect(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, simulator.Options{JWTCerts: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}})
	file := w.file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	jwt := []string{"link", "--jwt", "--host", w.org.URL, "--client-id", w.org.ClientID(), "--username", "admin@simulator.example"}
	linked := w.ok(t, append(jwt, "--key", file, "--name", "Sales")...)
	contains(t, linked, "Sales", "linked", "jwt bearer", w.org.OrgID(), "write target")
	id := regexp.MustCompile(`con_\w+`).FindString(linked)
	contains(t, w.ok(t, "test"), "The connection works")

	// A key of our own: the org does not have its certificate yet, and says so.
	out := filepath.Join(w.files, "ours.crt")
	made := w.ok(t, "signing-key", "create", "--out", out, "--name", "Acme sync")
	keyID := regexp.MustCompile(`key_\w+`).FindString(made)
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 {
		t.Fatalf("%s is no certificate", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || cert.Subject.CommonName != "Acme sync" || cert.PublicKey.(*rsa.PublicKey).N.BitLen() < 2048 || cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		t.Errorf("certificate is %v, %v", cert, err)
	}
	contains(t, w.ok(t, "signing-key", "list"), keyID)
	w.fails(t, 1, []string{"invalid assertion", "Upload the certificate"}, append(jwt, "--signing-key", keyID)...)
	contains(t, w.ok(t, "test"), "The connection works") // nothing was harmed

	// New credentials, in another flow, for the same connection: what was set stays.
	w.ok(t, "map", "set", w.file(t, "map.yaml", mapFile))
	secret := w.file(t, "secret", w.org.ClientSecret())
	again := w.ok(t, "link", "--reconnect", "--client-id", w.org.ClientID(), "--client-secret-file", secret)
	contains(t, again, id, "Sales", "client credentials")
	contains(t, w.ok(t, "status"), "Contact, version 1")
	contains(t, w.ok(t, "connections", "change", id, "--name", "Marketing", "--company", "Acme", "--company", "Acme Ltd"), "Marketing", "Acme, Acme Ltd")
	contains(t, w.ok(t, "connections", "change", id, "--name", "Sales"), "Sales", "Acme, Acme Ltd")

	// A source is only read: it has a name of its own, and no run.
	source := w.ok(t, "link", "--source", "North", "--company", "Acme North", "--host", w.org.URL, "--client-id", w.org.ClientID(), "--client-secret-file", secret)
	contains(t, source, "North", "source, only read", "Acme North")
	other := regexp.MustCompile(`con_\w+`).FindString(source)
	w.fails(t, 1, []string{"only read"}, "run", "--connection", other)
	contains(t, w.ok(t, "connections"), id, other, "source", "write target")
	w.fails(t, 1, []string{"name"}, "connections", "change", other, "--name", "sales")
	contains(t, w.ok(t, "unlink", "--connection", other, "--yes"), "unlinked")
	contains(t, w.ok(t, "status"), "linked", "Sales")
}
