package salesforce_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// TestErrorBodies reads every shape in which an org or the edge before it refuses a request.
func TestErrorBodies(t *testing.T) {
	t.Parallel()
	caret := "\nName FROM Accout WHERE Email = 'ann@example.com'\n          ^\nERROR at Row:1:Column:43\nsObject type 'Accout' is not supported."
	quoted, err := json.Marshal(caret)
	if err != nil {
		t.Fatal(err)
	}
	type want struct {
		Code, Message string
		Fields        []string
		Action        salesforce.Action
	}
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   want
	}{
		{
			"array with the code first", 404, `[ { "errorCode" : "NOT_FOUND", "message" : "The requested resource does not exist" } ]`,
			want{"NOT_FOUND", "The requested resource does not exist", nil, salesforce.ActionJob},
		},
		{
			"array with fields", 400, `[{"message":"Email: invalid email address: foo","errorCode":"INVALID_EMAIL_ADDRESS","fields":["Email"]}]`,
			want{"INVALID_EMAIL_ADDRESS", "Email: invalid email address: foo", []string{"Email"}, salesforce.ActionRow},
		},
		{
			"caret block", 400, `[{"message":` + string(quoted) + `,"errorCode":"INVALID_TYPE"}]`,
			want{"INVALID_TYPE", strings.TrimSpace(caret), nil, salesforce.ActionConfig},
		},
		{
			"duplicate rule", 400, `[{"duplicateResut":{"allowSave":true,"duplicateRule":"R","matchResults":[{"matchRecords":[{"matchConfidence":100.0}]}]},"errorCode":"DUPLICATES_DETECTED","message":"Use one of these records?"}]`,
			want{"DUPLICATES_DETECTED", "Use one of these records?", nil, salesforce.ActionRow},
		},
		{
			"OAuth object", 400, `{"error":"invalid_grant","error_description":"expired access/refresh token"}`,
			want{"invalid_grant", "expired access/refresh token", nil, salesforce.ActionJob},
		},
		{
			"old Bulk object", 400, `{"exceptionCode":"InvalidSessionId","exceptionMessage":"Invalid session id"}`,
			want{"InvalidSessionId", "Invalid session id", nil, salesforce.ActionRefresh},
		},
		{
			"page", 503, "<html><body>We are down for maintenance.</body></html>",
			want{salesforce.CodeNone, "<html><body>We are down for maintenance.</body></html>", nil, salesforce.ActionRetry},
		},
		{"nothing", 502, "", want{salesforce.CodeNone, "", nil, salesforce.ActionRetry}},
		{"empty array", 400, "[]", want{salesforce.CodeNone, "[]", nil, salesforce.ActionJob}},
		{"retired version", 410, `[{"errorCode":"GONE","message":"x"}]`, want{"GONE", "x", nil, salesforce.ActionConfig}},
		{
			"token in the text", 500, `[{"errorCode":"UNKNOWN_EXCEPTION","message":"bad 00D5g000001AbCd!AQ.secret_x and Bearer abc.def and eyJhbGciOi.eyJzdWIi.c2ln"}]`,
			want{"UNKNOWN_EXCEPTION", "bad [redacted] and [redacted] and [redacted]", nil, salesforce.ActionRetry},
		},
		{"long text", 500, strings.Repeat("ä", 1000), want{salesforce.CodeNone, strings.Repeat("ä", 256), nil, salesforce.ActionRetry}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, status(c.status, c.body), func(o *salesforce.Options) { o.MaxAttempts = 1 })
			_, err := r.Limits(t.Context())
			e := asError(t, err)
			if diff := cmp.Diff(c.want, want{e.Code, e.Message, e.Fields, e.Action}); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if e.Status != c.status || e.Op != "limits" {
				t.Errorf("status %d of %q, want %d of limits", e.Status, e.Op, c.status)
			}
			if strings.Contains(err.Error(), "ann@example.com") {
				t.Errorf("the error quotes the query: %v", err)
			}
		})
	}
}

func TestErrorLogsNoMessage(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "err", &salesforce.Error{Op: "query", Status: 400, Code: "MALFORMED_QUERY", Message: "ann@example.com"})
	if s := out.String(); strings.Contains(s, "ann@") || !strings.Contains(s, "MALFORMED_QUERY") {
		t.Errorf("log line %q", s)
	}
}

func TestAccessTokenIsNeverShown(t *testing.T) {
	t.Parallel()
	tok := salesforce.Token{AccessToken: salesforce.NewAccessToken("s3cret"), InstanceURL: "https://acme.my.salesforce.com"}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "token", tok, "access", tok.AccessToken)
	marshalled, err := json.Marshal(tok)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(tok), fmt.Sprintf("%+v %#v %s %q %x", tok, tok, tok, tok.AccessToken, tok.AccessToken), string(marshalled), logged.String(), tok.AccessToken.String()} {
		if strings.Contains(s, "s3cret") || strings.Contains(s, "733363726574") {
			t.Errorf("the token is in %q", s)
		}
	}
	if tok.AccessToken.Expose() != "s3cret" {
		t.Error("Expose does not return the token")
	}
}

// TestURLIsInNoError guards personal data: a query stands in the URL.
func TestURLIsInNoError(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func(o *salesforce.Options) { o.MaxAttempts = 2 })
	_, err := r.Count(t.Context(), "Contact WHERE Email = 'ann@example.com'")
	if err == nil || strings.Contains(err.Error(), "ann") {
		t.Errorf("error %v", err)
	}
	wantAction(t, err, salesforce.ActionRetry)
	if got := len(r.calls.all()); got != 2 {
		t.Errorf("%d exchanges, want 2", got)
	}
}

// TestClassify covers the reference's table, code by code.
func TestClassify(t *testing.T) {
	t.Parallel()
	const (
		row, retryRow, retry = salesforce.ActionRow, salesforce.ActionRetryRow, salesforce.ActionRetry
		refresh, job, config = salesforce.ActionRefresh, salesforce.ActionJob, salesforce.ActionConfig
		stop, restart, split = salesforce.ActionStopUntilWindow, salesforce.ActionRestartQuery, salesforce.ActionSplit
	)
	for _, c := range []struct {
		status        int
		code, message string
		request, row  salesforce.Action
	}{
		{401, "INVALID_SESSION_ID", "Session expired or invalid", refresh, refresh},
		{401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API", config, config},
		{401, "INVALID_SESSION_ID", "Connected app is not attached to Agent", config, config},
		{401, "INVALID_AUTH_HEADER", "INVALID_JWT_FORMAT", refresh, refresh},
		{401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", job, job},
		{403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", stop, stop},
		{403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", retry, retryRow},
		{403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded", retry, retryRow},
		{403, "API_DISABLED_FOR_ORG", "", config, config},
		{403, "API_CURRENTLY_DISABLED", "", config, config},
		{403, "CLIENT_NOT_ACCESSIBLE_FOR_USER", "", config, config},
		{403, "FUNCTIONALITY_NOT_ENABLED", "", config, config},
		{403, "INSUFFICIENT_ACCESS", "", config, config},
		{403, "INSUFFICIENT_ACCESS_OR_READONLY", "", row, row},
		{400, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "", row, row},
		{403, "TXN_SECURITY_METERING_ERROR", "", retry, retryRow},
		{404, "NOT_FOUND", "", job, row},
		{404, "ENTITY_IS_DELETED", "", row, row},
		{400, "MALFORMED_ID", "", row, row},
		{400, "DELETE_FAILED", "", row, row},
		{400, "INVALID_CROSS_REFERENCE_KEY", "", row, row},
		{400, "INVALID_FIELD", "No such column 'x' on sobject of type Contact", config, config},
		{400, "INVALID_FIELD", "Foreign key external ID: a-1 not found for field Ext__c in entity Account", row, row},
		{400, "INVALID_FIELD", "Failed to deserialize field at col 3. Due to, 'x' is not a valid value for the type xsd:date", row, row},
		{400, "INVALID_FIELD_FOR_INSERT_UPDATE", "", config, config},
		{400, "INVALID_TYPE", "", config, config},
		{400, "INVALID_TYPE_ON_FIELD_IN_RECORD", "", row, row},
		{400, "INVALID_TYPE_FOR_OPERATION", "", job, job},
		{400, "JSON_PARSER_ERROR", "Unexpected character", job, job},
		{400, "JSON_PARSER_ERROR", "Cannot deserialize instance of date from VALUE_STRING value x", row, row},
		{400, "POST_BODY_PARSE_ERROR", "", job, job},
		{400, "MALFORMED_QUERY", "", job, job},
		{400, "INVALID_QUERY_FILTER_OPERATOR", "", job, job},
		{400, "QUERY_TOO_COMPLICATED", "", job, job},
		{400, "INVALID_QUERY_LOCATOR", "invalid query locator", restart, restart},
		{400, "QUERY_TIMEOUT", "", split, split},
		{500, "REQUEST_RUNNING_TOO_LONG", "", split, split},
		{400, "EXCEEDED_ID_LIMIT", "", split, split},
		{400, "REQUIRED_FIELD_MISSING", "", row, row},
		{400, "STRING_TOO_LONG", "", row, row},
		{400, "NUMBER_OUTSIDE_VALID_RANGE", "", row, row},
		{400, "INVALID_EMAIL_ADDRESS", "", row, row},
		{400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "", row, row},
		{400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "", row, row},
		{400, "FIELD_INTEGRITY_EXCEPTION", "", row, row},
		{400, "FIELD_FILTER_VALIDATION_EXCEPTION", "", row, row},
		{400, "DUPLICATE_VALUE", "", row, row},
		{300, "DUPLICATE_EXTERNAL_ID", "", row, row},
		{400, "DUPLICATES_DETECTED", "", row, row},
		{400, "CANNOT_UPDATE_CONVERTED_LEAD", "", row, row},
		{400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "trigger failed", row, row},
		{400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "trigger: UNABLE_TO_LOCK_ROW, unable to obtain", retryRow, retryRow},
		{400, "CANNOT_EXECUTE_FLOW_TRIGGER", "", row, row},
		{200, "ALL_OR_NONE_OPERATION_ROLLED_BACK", "", row, row},
		{200, "PROCESSING_HALTED", "", row, row},
		{400, "UNABLE_TO_LOCK_ROW", "", retryRow, retryRow},
		{400, "TooManyLockFailure", "", retryRow, retryRow},
		{400, "ENTITY_IS_LOCKED", "", row, row},
		{400, "INACTIVE_OWNER_OR_USER", "", row, row},
		{400, "TRANSFER_REQUIRES_READ", "", row, row},
		{400, "DUPLICATE_USERNAME", "", row, row},
		{400, "DUPLICATE_COMM_NICKNAME", "", row, row},
		{400, "LICENSE_LIMIT_EXCEEDED", "", row, row},
		{400, "MIXED_DML_OPERATION", "", job, job},
		{400, "STORAGE_LIMIT_EXCEEDED", "", job, job},
		{400, "MISSING_ARGUMENT", "", job, row},
		{400, "ID_REQUIRED", "", job, row},
		{403, "TOO_MANY_APEX_REQUESTS", "", stop, retryRow},
		{400, "LIMIT_EXCEEDED", "", stop, retryRow},
		{400, "EXCEEDED_QUOTA", "", stop, retryRow},
		{400, "ExceededQuota", "", stop, retryRow},
		{403, "ORG_LOCKED", "", stop, stop},
		{503, "ORG_IN_MAINTENANCE", "", stop, stop},
		{403, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "", stop, stop},
		{503, "SERVER_UNAVAILABLE", "", retry, retryRow},
		{500, "UNKNOWN_EXCEPTION", "", retry, retryRow},
		{400, "UNSUPPORTED_API_VERSION", "", config, config},
		{410, "SOMETHING", "", config, row},
		{400, "InvalidBatch", "Field name not found : X", config, config},
		{400, "InvalidBatch", "other", job, job},
		{400, "INVALIDENTITY", "", config, config},
		{400, "INVALIDJOBSTATE", "", job, job},
		{400, "NEVER_SEEN", "", job, row},
		{500, "NEVER_SEEN", "", retry, row},
		{406, salesforce.CodeNone, "", retry, row},
		{420, salesforce.CodeNone, "", retry, row},
		{429, salesforce.CodeNone, "", retry, row},
	} {
		if got := salesforce.ClassifyRequest(c.status, c.code, c.message); got != c.request {
			t.Errorf("request %d %s %q: %v, want %v", c.status, c.code, c.message, got, c.request)
		}
		if got := salesforce.ClassifyRow(c.code, c.message); got != c.row {
			t.Errorf("row %s %q: %v, want %v", c.code, c.message, got, c.row)
		}
	}
}
