package salesforce

import (
	"context"
	"fmt"
	"strings"
)

// UserID returns the id of the connected user, 18 characters. One API call.
func (c *Client) UserID(ctx context.Context) (string, error) {
	identity := ""
	err := c.readJSON(ctx, &request{op: "resources", path: ""}, func(j *jsonReader) error {
		return j.object(func(key string) (err error) {
			if key == "identity" {
				identity, err = j.text()
				return err
			}
			return j.skip()
		})
	})
	if err != nil {
		return "", err
	}
	// It is a URL that ends in the ids of org and user.
	id, err := ID18(identity[strings.LastIndexByte(identity, '/')+1:])
	if err != nil {
		return "", fmt.Errorf("salesforce: resources: %w", malformed("no identity of the connected user"))
	}
	return id, nil
}
