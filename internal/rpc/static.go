package rpc

import (
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// fixed turns a list of addresses, separated by commas, into a target that calls them in turn and passes over those
// that cannot be reached. Other targets stay as they are.
func fixed(target string) (string, []grpc.DialOption) {
	addresses := strings.Split(target, ",")
	if len(addresses) < 2 {
		return target, nil
	}
	var state resolver.State
	for _, a := range addresses {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: strings.TrimSpace(a)}}})
	}
	r := manual.NewBuilderWithScheme("fixed")
	r.InitialState(state)
	host, _, err := net.SplitHostPort(strings.TrimSpace(addresses[0]))
	if err != nil {
		host = "fixed"
	}
	return "fixed:///" + host, []grpc.DialOption{grpc.WithResolvers(r)}
}
