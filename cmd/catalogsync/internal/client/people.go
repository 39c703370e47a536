package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
)

// chunkBytes is how much of a file goes into one message.
const chunkBytes = 256 << 10

type importStream = grpc.BidiStreamingClient[directoryv1.ImportPeopleRequest, directoryv1.ImportPeopleResponse]

// Import sends a file of people, a chunk at a time. sent is told how many bytes have gone, report each line that was not
// taken; both are called from the caller's goroutine and may be nil. What was taken before an error stays.
func (c *Client) Import(ctx context.Context, header *directoryv1.ImportHeader, in io.Reader,
	sent func(int64), report func(*directoryv1.LineError),
) (*directoryv1.ImportSummary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx) // an error of one side ends the stream for the other
	stream, err := c.People.ImportPeople(ctx)
	if err != nil {
		return nil, err
	}
	progress := make(chan int64)
	answers := make(chan *directoryv1.ImportPeopleResponse)
	group.Go(func() error {
		defer close(progress)
		return send(ctx, stream, header, in, progress)
	})
	group.Go(func() error {
		defer close(answers)
		return receive(ctx, stream, answers)
	})
	var summary *directoryv1.ImportSummary
	for progress != nil || answers != nil {
		select {
		case n, ok := <-progress:
			if !ok {
				progress = nil
			} else if sent != nil {
				sent(n)
			}
		case a, ok := <-answers:
			switch {
			case !ok:
				answers = nil
			case a.GetSummary() != nil:
				summary = a.GetSummary()
			case report != nil:
				report(a.GetLineError())
			}
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if summary == nil {
		return nil, errors.New("the import ended without a summary; import the file again, which changes nobody twice")
	}
	return summary, nil
}

// send sends the header and the file. When the other side has ended the stream, receive knows why.
func send(ctx context.Context, stream importStream, header *directoryv1.ImportHeader, in io.Reader, progress chan<- int64) error {
	err := stream.Send(&directoryv1.ImportPeopleRequest{Message: &directoryv1.ImportPeopleRequest_Header{Header: header}})
	total, buf := int64(0), make([]byte, chunkBytes)
	for err == nil {
		n, readErr := io.ReadFull(in, buf)
		if n > 0 {
			chunk := &directoryv1.ImportPeopleRequest_Chunk{Chunk: buf[:n]}
			if err = stream.Send(&directoryv1.ImportPeopleRequest{Message: chunk}); err != nil {
				break
			}
			total += int64(n)
			select {
			case progress <- total:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF) {
			return stream.CloseSend()
		}
		if readErr != nil {
			return fmt.Errorf("read %s after %d bytes: %w", header.GetFileName(), total, readErr)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func receive(ctx context.Context, stream importStream, answers chan<- *directoryv1.ImportPeopleResponse) error {
	for {
		a, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case answers <- a:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
