package mapper

import (
	"context"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	wire "github.com/catalogsync/catalogsync/services/mapper/internal/rpc"
	"github.com/catalogsync/catalogsync/services/mapper/internal/suggest"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// SuggestPairs proposes pairs from names, types and sample values, best first.
func (s *Service) SuggestPairs(ctx context.Context, req *mapperv1.SuggestPairsRequest) (*mapperv1.SuggestPairsResponse, error) {
	if _, _, err := scope(ctx, req.GetConnectionId()); err != nil {
		return nil, err
	}
	if req.GetDescribe() == nil {
		return nil, errs.New(errs.Invalid, "no_describe", "the request has no describe of the object: call through the gateway, which fills it in")
	}
	// What Complete adds to a map without pairs is what every map has.
	complete, added := fieldmap.Complete(fieldmap.Map{Object: req.GetDescribe().GetName()}, wire.Object(req.GetDescribe()))
	mandatory := suggest.Mandatory{}
	for i, p := range wire.Pairs(complete.Pairs) {
		p.Type, p.Length = "", 0
		mandatory[added[i]] = p
	}
	return &mapperv1.SuggestPairsResponse{Suggestions: suggest.Pairs(req.GetDescribe(), req.GetPeople(), mandatory, values.Supported)}, nil
}
