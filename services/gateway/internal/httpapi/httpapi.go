// Package httpapi owns the gateway's face for HTTP: the public methods as JSON, the upload of files with people, the
// OpenAPI document, and what tells whether the gateway works.
//
// It decides nothing. Every request becomes a call of the gateway's own gRPC server, with the caller's token, and the
// answer is that server's.
package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	audithttp "github.com/catalogsync/catalogsync/gen/http/catalogsync/audit/v1"
	authhttp "github.com/catalogsync/catalogsync/gen/http/catalogsync/auth/v1"
	directoryhttp "github.com/catalogsync/catalogsync/gen/http/catalogsync/directory/v1"
	gatewayhttp "github.com/catalogsync/catalogsync/gen/http/catalogsync/gateway/v1"
	mapperhttp "github.com/catalogsync/catalogsync/gen/http/catalogsync/mapper/v1"
	schedulerhttp "github.com/catalogsync/catalogsync/gen/http/catalogsync/scheduler/v1"
	synchttp "github.com/catalogsync/catalogsync/gen/http/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
)

// Limits bound what one request may take.
type Limits struct {
	// BodyBytes is the largest body of a request, files excepted.
	BodyBytes int64
	// FileBytes is the largest file with people, as it is sent.
	FileBytes int64
	// Stall is how long a client may neither send nor take anything.
	Stall time.Duration
}

// Options are what the handler needs.
type Options struct {
	// Conn leads to the gateway's own gRPC server.
	Conn      *grpc.ClientConn
	Telemetry telemetry.Providers
	// Ready reports what keeps the gateway from working: a name and an error each. Empty when nothing does.
	Ready  func(context.Context) map[string]error
	Limits Limits
	// PublicURL is the origin at which browsers reach the handler.
	PublicURL string
	// Pages are pages for browsers, by method and path, such as "GET /signin".
	Pages map[string]http.Handler
	// Session returns the secret of the session that a request of a browser brings, empty for none; nil: there are none.
	Session func(*http.Request) string
}

type api struct {
	Options
	people  directoryv1.DirectoryServiceClient
	mux     *runtime.ServeMux
	openAPI []byte
	tracer  trace.Tracer
	origins *http.CrossOriginProtection
}

// New returns the handler.
func New(ctx context.Context, o Options) (http.Handler, error) {
	doc, err := openAPI()
	if err != nil {
		return nil, err
	}
	o.Telemetry = o.Telemetry.OrNoop()
	a := &api{
		Options: o, openAPI: doc, people: directoryv1.NewDirectoryServiceClient(o.Conn),
		tracer: o.Telemetry.Tracer.Tracer("github.com/catalogsync/catalogsync/services/gateway"),
		mux: runtime.NewServeMux(
			runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
			runtime.WithUnescapingMode(runtime.UnescapingModeAllCharacters),
			runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }), // authorization passes by itself
			runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
			runtime.WithOutgoingTrailerMatcher(func(string) (string, bool) { return "", false }),
			runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
				writeError(w, r, err)
			}),
			runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
				writeRoutingError(w, r, code)
			}),
			runtime.WithStreamErrorHandler(func(ctx context.Context, err error) *status.Status {
				if x := exchangeOf(ctx); x != nil {
					x.describe(err)
				}
				return errs.From(err).GRPCStatus()
			}),
			runtime.WithDisablePathLengthFallback(),
			runtime.WithDisableHTTPMethodOverride(),
		),
	}
	a.origins = http.NewCrossOriginProtection()
	if o.PublicURL != "" { // where it differs from the host that a proxy names
		if err := a.origins.AddTrustedOrigin(o.PublicURL); err != nil {
			return nil, err
		}
	}
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		audithttp.RegisterAuditServiceHandler,
		authhttp.RegisterConnectionServiceHandler,
		authhttp.RegisterKeyServiceHandler,
		mapperhttp.RegisterFieldMapServiceHandler,
		schedulerhttp.RegisterScheduleServiceHandler,
		synchttp.RegisterRunServiceHandler,
		synchttp.RegisterObjectServiceHandler,
		synchttp.RegisterWhyServiceHandler,
		synchttp.RegisterDoctorServiceHandler,
		directoryhttp.RegisterDirectoryServiceHandler,
		gatewayhttp.RegisterApiTokenServiceHandler,
		gatewayhttp.RegisterStatusServiceHandler,
	} {
		if err := register(ctx, a.mux, o.Conn); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// ServeHTTP is the site map for what is not a method, and hands the rest to the methods.
func (a *api) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	ctx := a.Telemetry.Propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := a.tracer.Start(ctx, "HTTP "+r.Method, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	x := newExchange(rw, r, a.Limits)
	r = r.WithContext(withExchange(ctx, x))
	r.Body = x
	if err := a.origins.Check(r); err != nil {
		x.bound(a.Limits.BodyBytes)
		writeError(x, r, errs.New(errs.Denied, "cross_origin", "the request comes from a page of another site, and is refused"))
		return
	}
	if page, ok := a.Pages[r.Method+" "+r.URL.Path]; ok {
		x.bound(a.Limits.BodyBytes)
		page.ServeHTTP(x, r)
		return
	}
	a.session(r)
	switch r.Method + " " + r.URL.Path {
	case "GET /healthz":
		writeJSON(x, http.StatusOK, map[string]string{"status": "ok"})
	case "GET /readyz":
		a.readyz(x, r)
	case "GET /v1/openapi.json":
		x.Header().Set("Content-Type", "application/json")
		_, _ = x.Write(a.openAPI)
	case "POST /v1/people:import":
		a.importPeople(x, r)
	default:
		x.bound(a.Limits.BodyBytes)
		a.mux.ServeHTTP(x, r)
	}
}

// session turns the cookie of a browser into the header that the gRPC server knows, unless the request brings a token. That
// it comes from a page of ours, or changes nothing, has been checked.
func (a *api) session(r *http.Request) {
	if a.Session == nil || len(r.Header.Values("Authorization")) > 0 {
		return
	}
	if secret := a.Session(r); secret != "" {
		r.Header.Set("Authorization", access.SessionScheme+" "+secret)
	}
}

// readyz says which parts cannot be reached.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	problems := map[string]string{}
	for name, err := range a.Ready(r.Context()) {
		problems[name] = errs.Message(err)
	}
	if len(problems) > 0 {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "problems": problems})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
