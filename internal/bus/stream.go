package bus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// Retention says when a stream gives messages up before its limits force it to.
type Retention uint8

const (
	// Limits keeps messages until a limit of the stream is reached.
	Limits Retention = iota
	// WorkQueue keeps a message until it is acknowledged. Each message has one consumer.
	WorkQueue
)

// Stream is what the server keeps and for how long. All streams are on disk.
type Stream struct {
	// Name is upper snake case.
	Name string
	// Subjects are the subjects, or patterns of them, that the stream keeps.
	Subjects []string
	// Retention is Limits unless said otherwise.
	Retention Retention
	// MaxBytes is what the stream may take on disk, in bytes, headers included. It is required, and reserved on the server.
	MaxBytes int64
	// MaxAge is how long messages are kept; zero for ever.
	MaxAge time.Duration
	// MaxMsgSize is the largest message, in bytes; zero for the server's limit of 1 MiB.
	MaxMsgSize int32
	// MaxMsgsPerSubject is how many messages of one subject are kept; zero for all.
	MaxMsgsPerSubject int64
	// Duplicates is how long message ids are remembered; zero for the server's two minutes.
	Duplicates time.Duration
	// DiscardNew refuses messages when the stream is full. Otherwise the oldest are dropped.
	DiscardNew bool
	// Replicas is the number of copies; zero for the default of the [Bus].
	Replicas int
	// KeyValue marks a stream that decisions are made from: it is read from its leader alone, and supports what
	// key-value buckets need, which is replacing a subject's messages and markers that expire.
	KeyValue bool
	// AppendOnly marks a stream of which nobody, an operator included, can delete or purge a message: only its limits
	// remove the oldest. It cannot be taken back.
	AppendOnly bool
}

// markerTTL is how long a marker tells readers that a message has expired by age.
const markerTTL = time.Hour

func (s Stream) config(replicas int) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxBytes: s.MaxBytes, MaxAge: s.MaxAge, MaxMsgSize: s.MaxMsgSize, MaxMsgsPerSubject: s.MaxMsgsPerSubject,
		MaxMsgs: -1, MaxConsumers: -1, Duplicates: s.Duplicates, AllowDirect: true,
	}
	if s.Replicas > 0 {
		cfg.Replicas = s.Replicas
	}
	if s.Retention == WorkQueue {
		cfg.Retention = jetstream.WorkQueuePolicy
	}
	if s.DiscardNew {
		cfg.Discard = jetstream.DiscardNew
	}
	if s.AppendOnly {
		cfg.DenyDelete, cfg.DenyPurge = true, true
	}
	if s.KeyValue {
		cfg.AllowDirect, cfg.AllowRollup, cfg.DenyDelete, cfg.AllowMsgTTL = false, true, true, true
		if s.MaxAge > 0 {
			cfg.SubjectDeleteMarkerTTL = max(min(s.MaxAge, markerTTL), time.Second)
		}
	}
	return cfg
}

func (s Stream) validate() error {
	switch {
	case s.Name == "" || strings.ContainsAny(s.Name, " .*>/\\\t\r\n"):
		return errs.New(errs.Invalid, "bad_stream", "stream %q: the name must be a single word", s.Name)
	case len(s.Subjects) == 0:
		return errs.New(errs.Invalid, "bad_stream", "stream %s has no subjects", s.Name)
	case s.MaxBytes <= 0:
		return errs.New(errs.Invalid, "stream_without_limit", "stream %s has no MaxBytes; every stream needs a limit below the size of the disk", s.Name)
	}
	return nil
}

// EnsureStreams makes the streams, or changes those that exist to what is asked for. It is idempotent, and the bus makes
// the streams again when it finds that somebody has deleted them.
func (b *Bus) EnsureStreams(ctx context.Context, streams ...Stream) error {
	var problems []error
	for _, s := range streams {
		problems = append(problems, s.validate())
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for _, s := range streams {
		if err := b.ensureStream(ctx, s); err != nil {
			return err
		}
		b.mu.Lock()
		b.streams[s.Name] = s
		b.mu.Unlock()
	}
	return nil
}

func (b *Bus) ensureStream(ctx context.Context, s Stream) error {
	err := b.retry(ctx, "make stream "+s.Name, func(ctx context.Context) error {
		want := s.config(b.replicas)
		// Asked for first, and again with every try: who may not make a stream waits for whoever may.
		have, err := b.js.Stream(ctx, s.Name)
		switch {
		case err == nil && same(want, have.CachedInfo().Config):
			return nil
		case err == nil:
			_, err = b.js.UpdateStream(ctx, want)
		case errors.Is(err, jetstream.ErrStreamNotFound):
			_, err = b.js.CreateOrUpdateStream(ctx, want)
		}
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeStorageExceeded {
			return classify(err, "stream %s needs %d bytes", s.Name, s.MaxBytes)
		}
		return err
	})
	return classify(err, "make stream %s", s.Name)
}

// same reports whether a stream is as it is wanted. What is not said is the server's to choose.
func same(want, have jetstream.StreamConfig) bool {
	said := func(n int64) int64 {
		if n == 0 {
			return -1
		}
		return n
	}
	return slices.Equal(want.Subjects, have.Subjects) && want.Retention == have.Retention && want.Discard == have.Discard &&
		want.Replicas == have.Replicas && want.MaxBytes == have.MaxBytes && want.MaxAge == have.MaxAge && want.MaxMsgs == have.MaxMsgs &&
		said(int64(want.MaxMsgSize)) == said(int64(have.MaxMsgSize)) && said(want.MaxMsgsPerSubject) == said(have.MaxMsgsPerSubject) &&
		(want.Duplicates == 0 || want.Duplicates == have.Duplicates) && want.AllowDirect == have.AllowDirect &&
		want.AllowRollup == have.AllowRollup && want.DenyDelete == have.DenyDelete && want.DenyPurge == have.DenyPurge &&
		want.AllowMsgTTL == have.AllowMsgTTL && want.SubjectDeleteMarkerTTL == have.SubjectDeleteMarkerTTL &&
		want.MaxConsumers == have.MaxConsumers && want.Storage == have.Storage
}

// deletionTime is how long the server may take to remove a stream's files after it has forgotten the stream. A stream that
// is made again in that time would lose its messages with the old files.
const deletionTime = time.Second

// reprovision makes a stream again that this process has asked for, and reports whether it knows it. It is called when
// the stream seems to be missing, which a server that stops looks like, too.
func (b *Bus) reprovision(ctx context.Context, name string) (known bool, err error) {
	b.mu.Lock()
	s, known := b.streams[name]
	b.mu.Unlock()
	if !known {
		return false, nil
	}
	select {
	case b.making <- struct{}{}: // one at a time: the others find it made
		defer func() { <-b.making }()
	case <-ctx.Done():
		return true, errs.Wrap(ctx.Err(), errs.Unavailable, "bus_unavailable", "stream %s is missing and is being made again; retry later", name)
	}
	exists, err := b.exists(ctx, name)
	if exists || err != nil {
		return true, err
	}
	pause(ctx, nil, deletionTime)
	if exists, err := b.exists(ctx, name); exists || err != nil {
		return true, err
	}
	b.log.WarnContext(ctx, "stream is missing, making it again", attrStream(name))
	return true, b.ensureStream(ctx, s)
}

// exists asks the server whether it has a stream.
func (b *Bus) exists(ctx context.Context, name string) (exists bool, err error) {
	err = b.retry(ctx, "look up stream "+name, func(ctx context.Context) error {
		_, err := b.js.Stream(ctx, name)
		exists = err == nil
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		return err
	})
	return exists, classify(err, "look up stream %s", name)
}

// streamOf returns the name of the stream, among those this process has asked for, that keeps the subject.
func (b *Bus) streamOf(subject string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, s := range b.streams {
		for _, pattern := range s.Subjects {
			if matches(pattern, subject) {
				return name
			}
		}
	}
	return ""
}

// matches reports whether a subject is covered by a pattern with the wildcards * and >.
func matches(pattern, subject string) bool {
	for {
		p, prest, pmore := strings.Cut(pattern, ".")
		s, srest, smore := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case p != "*" && p != s, pmore != smore:
			return false
		case !pmore:
			return true
		}
		pattern, subject = prest, srest
	}
}

// Purge removes the messages of a stream whose subject matches the filter; an empty filter removes all. It returns when
// they are gone.
func (b *Bus) Purge(ctx context.Context, stream, filter string) error {
	return b.purge(ctx, stream, filter)
}

// PurgeTo is [Bus.Purge] for messages up to the sequence, which is included.
func (b *Bus) PurgeTo(ctx context.Context, stream, filter string, seq uint64) error {
	return b.purge(ctx, stream, filter, jetstream.WithPurgeSequence(seq+1))
}

func (b *Bus) purge(ctx context.Context, stream, filter string, opts ...jetstream.StreamPurgeOpt) error {
	if filter != "" {
		opts = append(opts, jetstream.WithPurgeSubject(filter))
	}
	err := b.onStream(ctx, stream, "purge stream "+stream, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		return s.Purge(ctx, opts...)
	})
	return classify(err, "purge stream %s", stream)
}

// Subjects returns the subjects that match the filter and how many messages each has.
func (b *Bus) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	var subjects map[string]uint64
	err := b.onStream(ctx, stream, "list subjects of stream "+stream, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return err
		}
		subjects = info.State.Subjects
		return nil
	})
	if err != nil {
		return nil, classify(err, "list subjects of stream %s", stream)
	}
	if subjects == nil {
		subjects = map[string]uint64{}
	}
	return subjects, nil
}

// onStream is retry for requests that name a stream: when it is gone, it is made again once.
func (b *Bus) onStream(ctx context.Context, stream, what string, f func(context.Context) error) error {
	err := b.retry(ctx, what, f)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if known, perr := b.reprovision(ctx, stream); perr != nil {
			return perr
		} else if known {
			err = b.retry(ctx, what, f)
		}
	}
	return err
}
