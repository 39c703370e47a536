package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/gateway"
)

// overTCP is a gateway whose gRPC server listens as it does in production: without reflection.
func overTCP(t *testing.T) (addr, token string) {
	t.Helper()
	w := start(t)
	cfg := gateway.DefaultConfig()
	svc, err := gateway.New(t.Context(), cfg, gateway.Deps{
		Log: testkit.Logger(t), Bus: w.bus, Auth: w.back, Mapper: w.back, Scheduler: w.back, SyncWorker: w.back,
	})
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t), Authenticate: svc.Authenticate, Stopping: ctx.Done(), MaxStreams: 100})
	svc.Register(server)
	done := make(chan error, 1)
	go func() { done <- rpc.Serve(ctx, server, svc.Limit(lis), time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String(), w.token(t, "acme", owner)
}

// raw speaks HTTP/2 by frames.
type raw struct {
	t    *testing.T
	conn net.Conn
	fr   *http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	next uint32
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := &raw{t: t, conn: conn, fr: http2.NewFramer(conn, conn), next: 1}
	r.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.buf)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := r.fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return r
}

// headers opens a stream. Errors of writing are left to whoever reads: the server may have hung up, and says why.
func (r *raw) headers(end bool, fields ...[2]string) uint32 {
	id := r.next
	r.next += 2
	r.buf.Reset()
	for _, f := range fields {
		_ = r.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	block := r.buf.Bytes()
	first := block[:min(len(block), 16<<10)]
	_ = r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(first) == len(block)})
	for rest := block[len(first):]; len(rest) > 0; {
		part := rest[:min(len(rest), 16<<10)]
		rest = rest[len(part):]
		if r.fr.WriteContinuation(id, len(rest) == 0, part) != nil {
			break
		}
	}
	return id
}

func call2(path, token string) [][2]string {
	return [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", path},
		{":authority", "gateway"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"authorization", "Bearer " + token},
	}
}

// end reads until the stream or the connection ends, and says how: a gRPC status, an HTTP status, or what the server did.
func (r *raw) end(id uint32) string {
	status := ""
	for {
		f, err := r.fr.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			for _, h := range f.Fields {
				if h.Name == "grpc-status" {
					n, err := strconv.Atoi(h.Value)
					if err != nil {
						return "status " + h.Value
					}
					return codes.Code(n).String()
				}
				if h.Name == ":status" {
					status = "HTTP " + h.Value
				}
			}
			if f.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return "reset " + f.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			return "goaway " + f.ErrCode.String()
		}
	}
}

// message is a gRPC message of so many bytes.
func message2(body []byte, compressed byte, length uint32) []byte {
	head := make([]byte, 5)
	head[0] = compressed
	binary.BigEndian.PutUint32(head[1:], length)
	return append(head, body...)
}

// works says whether a proper call is answered.
func works(t *testing.T, addr, token string) error {
	t.Helper()
	r := dialRaw(t, addr)
	id := r.headers(false, call2(gatewayv1.ApiTokenService_ListApiTokens_FullMethodName, token)...)
	if err := r.fr.WriteData(id, true, message2(nil, 0, 0)); err != nil {
		return err
	}
	if got := r.end(id); got != codes.OK.String() {
		return fmt.Errorf("a proper call ended with %s", got)
	}
	return r.conn.Close()
}

// No path leads to what is not public, however it is spelled.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	addr, token := overTCP(t)
	const public, internal = "/catalogsync.gateway.v1.ApiTokenService/ListApiTokens", "/catalogsync.auth.v1.TokenService/GetAccessToken"
	var paths []string
	for m, d := range methods() {
		if roleOf(d) == 1 { // internal
			paths = append(paths, m)
		}
	}
	if len(paths) < 5 {
		t.Fatalf("only %d internal methods", len(paths))
	}
	for _, p := range []string{public, internal} {
		paths = append(paths, "/"+p, "/."+p, p+"/", p+"?x=1", p+"#x", p+"\x00", p+" ", " "+p, p+"/.", p+"%00", strings.ToUpper(p), strings.ToLower(p), p[1:], strings.ReplaceAll(p, "/", "%2f"),
			strings.ReplaceAll(p, ".", "%2e"), "http://gateway"+p, "/x/.."+p, strings.ReplaceAll(p, "/", "\\"), p+";x", "/%2e%2e"+p, p+"\r\nx: y")
	}
	paths = append(paths, "", "/", "*", "/x", "//", "/a/b/c", "/catalogsync.gateway.v1.ApiTokenService/", "/catalogsync.gateway.v1.ApiTokenService", "/ApiTokenService/ListApiTokens",
		"/catalogsync.gateway.v1.ApiTokenService/Nothing", "/catalogsync.auth.v1.TokenService/../ConnectionService/ListConnections", "/"+strings.Repeat("a", 10_000)+"/x",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/grpc.channelz.v1.Channelz/GetServers",
		"/grpc.testing.TestService/EmptyCall", "/catalogsync.auth.v1.TokenService/GetAccessToken/catalogsync.gateway.v1.ApiTokenService/ListApiTokens")
	for _, p := range paths {
		r := dialRaw(t, addr)
		id := r.headers(false, call2(p, token)...)
		_ = r.fr.WriteData(id, true, message2(nil, 0, 0)) // the answer tells
		switch got := r.end(id); {
		case got == codes.Unimplemented.String(), got == codes.PermissionDenied.String(), strings.HasPrefix(got, "reset "), strings.HasPrefix(got, "goaway "),
			strings.HasPrefix(got, "HTTP 4"), got == "closed":
		default:
			t.Errorf("%q ended with %s", p, got)
		}
		_ = r.conn.Close()
	}
	for name, fields := range map[string][][2]string{
		"two paths":            append(call2(public, token), [2]string{":path", internal}),
		"GET":                  append([][2]string{{":method", "GET"}}, call2(public, token)[1:]...),
		"another content type": {{":method", "POST"}, {":scheme", "http"}, {":path", public}, {":authority", "x"}, {"content-type", "application/json"}, {"authorization", "Bearer " + token}},
		"no path":              {{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {"content-type", "application/grpc"}, {"authorization", "Bearer " + token}},
		"connection header":    append(call2(public, token), [2]string{"connection", "upgrade"}),
	} {
		r := dialRaw(t, addr)
		id := r.headers(true, fields...)
		if got := r.end(id); got == codes.OK.String() {
			t.Errorf("%s: %s", name, got)
		}
		_ = r.conn.Close()
	}
	if err := works(t, addr, token); err != nil {
		t.Error(err)
	}
}

// Whoever floods the server with frames is cut off or refused, takes little memory, and the others are served.
func TestFloods(t *testing.T) {
	t.Parallel()
	addr, token := overTCP(t)
	const path = gatewayv1.ApiTokenService_ListApiTokens_FullMethodName
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, zeros{}, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	floods := map[string]func(r *raw) string{
		"a message of a gigabyte": func(r *raw) string {
			id := r.headers(false, call2(path, token)...)
			_ = r.fr.WriteData(id, false, message2(make([]byte, 1000), 0, 1<<30))
			return r.end(id)
		},
		"a compressed bomb": func(r *raw) string {
			id := r.headers(false, append(call2(path, token), [2]string{"grpc-encoding", "gzip"})...)
			body := message2(bomb.Bytes(), 1, uint32(bomb.Len()))
			for len(body) > 0 {
				n := min(len(body), 16<<10)
				if r.fr.WriteData(id, len(body) == n, body[:n]) != nil {
					break
				}
				body = body[n:]
			}
			return r.end(id)
		},
		"a million headers": func(r *raw) string {
			fields := call2(path, token)
			for i := range 1_000_000 {
				fields = append(fields, [2]string{"x-" + strconv.Itoa(i%100), "y"})
			}
			return r.end(r.headers(true, fields...))
		},
		"one long header": func(r *raw) string {
			return r.end(r.headers(true, append(call2(path, token), [2]string{"x", strings.Repeat("y", 1<<20)})...))
		},
		"ten thousand streams": func(r *raw) string {
			var last uint32
			for range 10_000 {
				last = r.headers(false, call2(path, token)...)
			}
			return r.end(last)
		},
		"streams that are reset at once": func(r *raw) string {
			for range 20_000 {
				id := r.headers(false, call2(path, token)...)
				if r.fr.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
					return "closed"
				}
			}
			return "sent"
		},
		"pings": func(r *raw) string {
			for i := range 20_000 {
				if r.fr.WritePing(false, [8]byte{byte(i)}) != nil {
					return "closed"
				}
			}
			return r.end(1)
		},
		"settings": func(r *raw) string {
			for range 20_000 {
				if r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}) != nil {
					return "closed"
				}
			}
			return "sent"
		},
	}
	for name, flood := range floods {
		r := dialRaw(t, addr)
		done := make(chan string, 1)
		go func() { done <- flood(r) }()
		var got string
		select {
		case got = <-done:
		case <-time.After(25 * time.Second):
			got = "stuck" // the server takes no more, and so says nothing
		}
		_ = r.conn.Close()
		if got == codes.OK.String() {
			t.Errorf("%s: served", name)
		}
		if err := works(t, addr, token); err != nil {
			t.Errorf("after %s (%s): %v", name, got, err)
		}
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 100<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Reflection is served only where it is asked for.
func TestReflectionIsOff(t *testing.T) {
	t.Parallel()
	addr, token := overTCP(t)
	conn, err := rpc.Dial(addr, rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = conn.Invoke(with(t.Context(), token), "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &gatewayv1.GetStatusRequest{}, &gatewayv1.GetStatusResponse{})
	if errs.KindOf(err) == errs.OK || errors.Is(err, io.EOF) {
		t.Errorf("reflection is on: %v", err)
	}
}
