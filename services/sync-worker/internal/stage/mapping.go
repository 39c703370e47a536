package stage

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
)

// mapBatch is how many people go to the mapper in one message at the most; one ends early when it has mapBytes, for
// people may have long texts and messages end at 4 MiB.
const (
	mapBatch = 500
	mapBytes = 1 << 20
)

// keyStream asks the mapper for match keys.
type keyStream struct {
	stream grpc.BidiStreamingClient[mapperv1.MatchKeysRequest, mapperv1.MatchKeysResponse]
	cancel context.CancelFunc
}

func (w *work) matchKeys(ctx context.Context, s *snapshot) (*keyStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := w.Mapper.MatchKeys(ctx)
	if err == nil {
		err = stream.Send(&mapperv1.MatchKeysRequest{Message: &mapperv1.MatchKeysRequest_Header{Header: s.header()}})
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ask the mapper for match keys: %w", err)
	}
	return &keyStream{stream: stream, cancel: cancel}, nil
}

func (k *keyStream) next(people []*rowv1.Row) ([]*mapperv1.MatchKey, error) {
	req := &mapperv1.MatchKeysRequest{Message: &mapperv1.MatchKeysRequest_People{People: &mapperv1.People{Rows: people}}}
	// A failed send is told by Recv with its reason.
	_ = k.stream.Send(req)
	res, err := k.stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("ask the mapper for match keys: %w", err)
	}
	if len(res.GetKeys()) != len(people) {
		return nil, fmt.Errorf("the mapper answered %d people with %d match keys", len(people), len(res.GetKeys()))
	}
	return res.GetKeys(), nil
}

func (k *keyStream) close() { hangUp(k.stream, k.cancel) }

// valueStream asks the mapper for wanted values.
type valueStream struct {
	stream grpc.BidiStreamingClient[mapperv1.MapPeopleRequest, mapperv1.MapPeopleResponse]
	cancel context.CancelFunc
}

func (w *work) wantedValues(ctx context.Context, s *snapshot) (*valueStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := w.Mapper.MapPeople(ctx)
	if err == nil {
		err = stream.Send(&mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Header{Header: s.header()}})
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ask the mapper for values: %w", err)
	}
	return &valueStream{stream: stream, cancel: cancel}, nil
}

func (v *valueStream) next(batch []*mapperv1.PersonAndRecord) ([]*mapperv1.MappedPerson, error) {
	req := &mapperv1.MapPeopleRequest{Message: &mapperv1.MapPeopleRequest_Batch{Batch: &mapperv1.PeopleAndRecords{Rows: batch}}}
	_ = v.stream.Send(req) // a failed send is told by Recv with its reason
	res, err := v.stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("ask the mapper for values: %w", err)
	}
	if len(res.GetPeople()) != len(batch) {
		return nil, fmt.Errorf("the mapper answered %d people with %d", len(batch), len(res.GetPeople()))
	}
	return res.GetPeople(), nil
}

func (v *valueStream) close() { hangUp(v.stream, v.cancel) }

// hangUp ends a stream in order, so that the other side sees an end and no fault.
func hangUp[Req, Res any](s grpc.BidiStreamingClient[Req, Res], cancel context.CancelFunc) {
	if s.CloseSend() == nil {
		_, _ = s.Recv() // the end, or why there is none; either way nothing more is wanted
	}
	cancel()
}
