package doctor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// query returns the rows of a small query by column name.
func query(ctx context.Context, org *salesforce.Client, object string, fields []string, rest string) ([]map[string]string, error) {
	columns := salesforce.Columns(fields...)
	soql, err := salesforce.Select(columns, object, rest)
	if err != nil {
		return nil, err
	}
	var rows []map[string]string
	err = org.Query(ctx, soql, columns, func(r *salesforce.Record) error {
		row := make(map[string]string, len(fields))
		for i, f := range fields {
			row[f] = r.Values[i]
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

func asRefusal(err error) (*salesforce.Error, bool) {
	return errors.AsType[*salesforce.Error](err)
}

// stamp reads Salesforce's spelling of a time; nil where it is none.
func stamp(s string) *timestamppb.Timestamp {
	for _, layout := range []string{"2006-01-02T15:04:05.000-0700", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return timestamppb.New(t)
		}
	}
	return nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
