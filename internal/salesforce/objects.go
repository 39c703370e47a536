package salesforce

import (
	"context"
	"slices"
	"strings"
)

// ObjectSummary is what is known of an object without its describe.
type ObjectSummary struct {
	Name       string `json:"name"`
	Label      string `json:"label"`
	Createable bool   `json:"createable"`
	Updateable bool   `json:"updateable"`
	Queryable  bool   `json:"queryable"`
	Custom     bool   `json:"custom"`
}

// Objects returns the objects that the connected user may see, by name.
func (c *Client) Objects(ctx context.Context) (objects []ObjectSummary, err error) {
	err = c.read(ctx, &request{op: "describe", path: "sobjects"}, func(resp *response) error {
		objects = nil
		j := newJSONReader(resp.body)
		if err := j.object(func(key string) error {
			if key != "sobjects" {
				return j.skip()
			}
			return j.array(func() error {
				var o ObjectSummary
				if err := j.value(&o); err != nil {
					return err
				}
				objects = append(objects, o)
				return nil
			})
		}); err != nil {
			return err
		}
		if len(objects) == 0 {
			return malformed("a list of objects without objects")
		}
		return j.end()
	})
	slices.SortFunc(objects, func(a, b ObjectSummary) int { return strings.Compare(a.Name, b.Name) })
	return objects, err
}
