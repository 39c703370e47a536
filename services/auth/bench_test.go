package auth_test

import (
	"sync/atomic"
	"testing"
)

// BenchmarkCachedAccessToken measures GetAccessToken for a token that is known, by a worker that holds a lease, over
// gRPC in memory, 32 callers at once per processor.
func BenchmarkCachedAccessToken(b *testing.B) {
	o := newOrg(b, orgA)
	p := world(b, o)
	req := p.ask(b, "acme", p.link(b, "acme", o).GetId(), "")
	ctx := as(b, "acme")
	var failed atomic.Int64
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.tokens.GetAccessToken(ctx, req); err != nil {
				failed.Add(1)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	if failed.Load() > 0 || o.requests() != 1 {
		b.Errorf("%d calls failed, %d token requests", failed.Load(), o.requests())
	}
}
