package gateway

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/gateway/internal/access"
)

// kept are the texts of requests that are kept out of details on purpose. A new field makes somebody think: it must be
// here, or among those that are told.
var kept = []string{
	"BeginLinkRequest.client_secret", "ClientCredentials.client_secret", "JwtBearer.private_key_pem", // secrets
	"JwtBearer.username", "FieldMap.author", // name people
	"ApproveRunRequest.note", "RejectRunRequest.note", "RollbackFieldMapRequest.note", "FieldMap.note", // free text
	"CreateApiTokenRequest.tenant", "DestroyDataKeyRequest.confirm_tenant", "CancelRunRequest.run_id", "ApproveRunRequest.run_id",
	"RejectRunRequest.run_id", "RevokeApiTokenRequest.id", // stand elsewhere in the entry
	"StartRunRequest.request_id", "JwtBearer.audience", "GetLinkRequest.link_id",
}

// fill sets every text of a message and of the messages that are looked into, and notes their names.
func fill(m protoreflect.Message, seen *[]string) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		name := string(f.Parent().Name()) + "." + string(f.Name())
		switch {
		case f.IsList() || f.IsMap():
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("text-of-"+strings.ReplaceAll(name, "_", "-")))
			*seen = append(*seen, name)
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte("bytes")))
		case f.Message() != nil && (f.ContainingOneof() != nil || opened[f.Name()]):
			fill(m.Mutable(f).Message(), seen)
		}
	}
}

func TestDetailsTellNoOtherTexts(t *testing.T) {
	t.Parallel()
	services := linked()
	rules, err := access.ReadRules(services...)
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, s := range services {
		for i := range s.Methods().Len() {
			method := s.Methods().Get(i)
			if full := access.FullMethod(method); !access.Public(rules[full]) || !rules.Audited(full) || method.IsStreamingClient() {
				continue // of what is streamed in, such as people, nothing is looked at
			}
			in, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
			if err != nil {
				t.Fatal(err)
			}
			// One choice of a oneof after the other.
			choices := []protoreflect.FieldDescriptor{nil}
			for j := range method.Input().Oneofs().Len() {
				fields := method.Input().Oneofs().Get(j).Fields()
				for k := range fields.Len() {
					choices = append(choices, fields.Get(k))
				}
			}
			for _, choice := range choices {
				m := in.New()
				var seen []string
				fill(m, &seen)
				if choice != nil && choice.Message() != nil {
					m.Clear(choice)
					fill(m.Mutable(choice).Message(), &seen)
				}
				detail := detailOf(m, "")
				for _, name := range seen {
					looked++
					_, field, _ := strings.Cut(name, ".")
					shown := strings.Contains(detail, "text-of-"+strings.ReplaceAll(name, "_", "-"))
					if known := slices.Contains(kept, name); known == told[protoreflect.Name(field)] {
						t.Errorf("%s of %s is neither told nor kept out on purpose, or both", name, method.Name())
					} else if known && shown {
						t.Errorf("%s of %s is told: %s", name, method.Name(), detail)
					}
				}
				if strings.Contains(detail, "bytes") {
					t.Errorf("%s tells bytes: %s", method.Name(), detail)
				}
			}
		}
	}
	if looked < 30 {
		t.Errorf("only %d texts were looked at", looked)
	}
}

func TestDetails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		req             proto.Message
		subject, detail string
	}{
		{
			&authv1.LinkConnectionRequest{
				Name: "Acme org", Host: "https://user:pw@acme.my.salesforce.com/secur/frontdoor.jsp?sid=00Dsecret", Purpose: authv1.Purpose_PURPOSE_SOURCE, CompanyNames: []string{"Acme"},
				Credentials: &authv1.LinkConnectionRequest_ClientCredentials{ClientCredentials: &authv1.ClientCredentials{ClientId: "3MVG9", ClientSecret: "hush"}},
			},
			"acme.my.salesforce.com", `name="Acme org" credentials=client_credentials client_id=3MVG9 purpose=source`,
		},
		{
			&authv1.LinkConnectionRequest{
				ConnectionId: "con_1", ReplaceOrg: "00D1", Host: "acme.my.salesforce.com",
				Credentials: &authv1.LinkConnectionRequest_JwtBearer{JwtBearer: &authv1.JwtBearer{ClientId: "c", Username: "jane@acme.example", PrivateKeyPem: "hush", SigningKeyId: "key_1"}},
			},
			"con_1", "host=acme.my.salesforce.com credentials=jwt_bearer client_id=c signing_key_id=key_1 replace_org=00D1",
		},
		{
			&mapperv1.SaveFieldMapRequest{
				FieldMap:        &mapperv1.FieldMap{ConnectionId: "con_1", Object: "Contact", Note: "for Jane", Direction: mapperv1.Direction_DIRECTION_WRITE, Pairs: []*mapperv1.Pair{{Source: "x"}}},
				Describe:        &salesforcev1.ObjectDescribe{Name: "Contact"},
				ExpectedVersion: 3,
			},
			"con_1", "object=Contact direction=write validate_only=false expected_version=3",
		},
		{
			&syncv1.StartRunRequest{ConnectionId: "con_1", Kind: syncv1.RunKind_RUN_KIND_UNDO, UndoRunId: "run_1"},
			"con_1", "kind=undo plan_only=false undo_run_id=run_1 undo_delete_created=false",
		},
		{
			&authv1.CreateSigningKeyRequest{CommonName: strings.Repeat("é", 5000)},
			strings.Repeat("é", 5000), "",
		},
		{
			&authv1.UpdateConnectionRequest{ConnectionId: "con_1", Name: "x=1 role=owner\n" + strings.Repeat("é", 5000)},
			"con_1", `name="x=1 role=owner\n` + strings.Repeat("é", 42) + `…"`,
		},
	} {
		m := c.req.ProtoReflect()
		subject := subjectOf(m)
		if got := detailOf(m, subject); subject != c.subject || got != c.detail {
			t.Errorf("%s: subject %q, want %q; detail: %s", m.Descriptor().Name(), subject, c.subject, cmp.Diff(c.detail, got))
		}
	}
}
