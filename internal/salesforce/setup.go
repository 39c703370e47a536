package salesforce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// CreateSetup makes one record of setup data: a permission set, a right, an assignment. It is a plain create and goes
// out once, so it is for objects alone whose rows Salesforce itself keeps unique, and which the caller has looked for
// before. It returns the new record's id.
func (c *Client) CreateSetup(ctx context.Context, object string, values map[string]any) (string, error) {
	if err := Identifier(object); err != nil {
		return "", err
	}
	return c.create(ctx, "setup.create", "sobjects/"+object, values)
}

// CustomField is a text field to be made through the Tooling API.
type CustomField struct {
	Object, Name string // such as Contact and CatalogUserId__c
	Label        string
	Description  string
	Length       int
}

// CreateExternalID makes a custom text field that is an external id and unique without regard to case. Salesforce lets
// nobody see it before FieldPermissions do. A field of that name is an *Error with code DUPLICATE_DEVELOPER_NAME.
func (c *Client) CreateExternalID(ctx context.Context, f CustomField) (string, error) {
	if err := Identifier(f.Object); err != nil {
		return "", err
	}
	if err := Identifier(f.Name); err != nil {
		return "", err
	}
	return c.create(ctx, "tooling.field", "tooling/sobjects/CustomField", map[string]any{
		"FullName": f.Object + "." + f.Name,
		"Metadata": map[string]any{
			"type": "Text", "label": f.Label, "description": f.Description, "length": f.Length,
			"externalId": true, "unique": true, "caseSensitive": false, "required": false,
		},
	})
}

func (c *Client) create(ctx context.Context, op, path string, values map[string]any) (string, error) {
	body, err := json.Marshal(values)
	if err != nil {
		return "", fmt.Errorf("salesforce: %s: %w", op, err)
	}
	var made struct {
		ID      string `json:"id"`
		Success bool   `json:"success"`
	}
	if err := c.readInto(ctx, &request{op: op, method: http.MethodPost, path: path, body: body, write: true, once: true}, &made); err != nil {
		return "", err
	}
	if !made.Success || made.ID == "" {
		return "", malformed("%s: no id", op)
	}
	return made.ID, nil
}
