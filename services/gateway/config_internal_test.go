package gateway

import "testing"

// Links by consent and sign-ins lead browsers to this address, so it must be one that a browser can go to.
func TestPublicURL(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cfg           Config
		listens, want string
	}{
		{Config{}, "127.0.0.1:8081", "http://127.0.0.1:8081"},
		{Config{}, "[::]:8081", "http://localhost:8081"},
		{Config{}, "0.0.0.0:8081", "http://localhost:8081"},
		{Config{PublicCert: "cert.pem"}, "[::]:8443", "https://localhost:8443"},
		{Config{PublicCert: "cert.pem"}, "192.0.2.7:8443", "https://192.0.2.7:8443"},
		{Config{PublicURL: "https://Sync.example.com/"}, "[::]:8081", "https://sync.example.com"},
	} {
		if got := tc.cfg.publicURL(tc.listens); got != tc.want {
			t.Errorf("listening on %s: %s, want %s", tc.listens, got, tc.want)
		}
	}
}
