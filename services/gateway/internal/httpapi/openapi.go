package httpapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/catalogsync/catalogsync/internal/version"
)

// generated is what protoc-gen-openapiv2 makes of the protos.
//
//go:embed openapi/catalogsync.swagger.json
var generated []byte

// internalServices are in the protos but not served here.
var internalServices = map[string]bool{"TokenService": true, "MapperService": true}

type object = map[string]any

// openAPI returns the generated document with what the generator cannot know: the title, how to sign in, how errors
// look, and that files with people are sent as they are.
func openAPI() ([]byte, error) {
	var doc object
	if err := json.Unmarshal(generated, &doc); err != nil {
		return nil, fmt.Errorf("generated OpenAPI document: %w", err)
	}
	doc["info"] = object{
		"title": "catalogsync", "version": version.String(),
		"description": "Keeps Salesforce in step with a Catalog. Methods that stream answer one JSON value a line.",
	}
	doc["securityDefinitions"] = object{"token": object{
		"type": "apiKey", "in": "header", "name": "Authorization", "description": "An API token: Bearer cs_...",
	}}
	doc["security"] = []object{{"token": []string{}}}
	definitions, ok := doc["definitions"].(object)
	if !ok {
		return nil, fmt.Errorf("generated OpenAPI document has no definitions")
	}
	definitions["Error"] = object{
		"type": "object",
		"properties": object{"error": object{"type": "object", "properties": object{
			"code":    object{"type": "string", "description": "Kind of error, such as NOT_FOUND."},
			"reason":  object{"type": "string", "description": "Stable id, such as no_such_connection."},
			"message": object{"type": "string", "description": "What happened and what to do."},
		}}},
	}
	for _, op := range operations(doc) {
		if responses, ok := op["responses"].(object); ok {
			responses["default"] = object{"description": "An error.", "schema": object{"$ref": "#/definitions/Error"}}
			if answer, _ := responses["200"].(object); strings.Contains(fmt.Sprint(answer["description"]), "streaming") {
				answer["description"] = "One JSON value a line; an error in place of a result ends the stream."
				op["produces"] = []string{"application/x-ndjson"}
			}
		}
		if op["operationId"] == "DirectoryService_ImportPeople" {
			importOperation(op)
		}
	}
	delete(definitions, "v1ImportPeopleRequest")
	delete(definitions, "v1ImportHeader")
	if tags, ok := doc["tags"].([]any); ok {
		var public []any
		for _, t := range tags {
			if tag, ok := t.(object); ok && !internalServices[fmt.Sprint(tag["name"])] {
				public = append(public, tag)
			}
		}
		doc["tags"] = public
	}
	return json.MarshalIndent(doc, "", "  ")
}

func operations(doc object) (ops []object) {
	paths, _ := doc["paths"].(object)
	for _, p := range paths {
		methods, _ := p.(object)
		for _, m := range methods {
			if op, ok := m.(object); ok {
				ops = append(ops, op)
			}
		}
	}
	return ops
}

// importOperation describes the upload as it is over HTTP.
func importOperation(op object) {
	op["summary"] = "ImportPeople takes a file with people, as it is. Lines at fault are answered as they are met; everything else is taken. The last line is the summary."
	op["consumes"] = []string{"text/csv", "application/x-ndjson", "application/gzip", "application/zstd", "application/octet-stream"}
	query := func(name, description string, values ...string) object {
		p := object{"name": name, "in": "query", "type": "string", "required": false, "description": description}
		if values != nil {
			p["enum"] = values
		}
		return p
	}
	op["parameters"] = []object{
		{"name": "file", "in": "body", "required": true, "description": "The bytes of the file.", "schema": object{"type": "string", "format": "binary"}},
		query("name", "Name of the file: for messages, and to tell format and compression from."),
		query("mode", "delta: people who are not in the file stay as they are. full: they are marked gone.", "delta", "full"),
		query("format", "Told from the name or the content type where it is not given.", "csv", "ndjson"),
		query("compression", "Told from the first bytes where it is not given.", "none", "gzip", "zstd"),
	}
}
