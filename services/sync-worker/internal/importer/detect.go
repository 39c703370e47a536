package importer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// Format is the format of a file.
type Format uint8

const (
	// FormatUnknown is told from the file's name, or else from its beginning.
	FormatUnknown Format = iota
	// CSV has a header row; comma, semicolon or tab separate values.
	CSV
	// NDJSON has one JSON object per line.
	NDJSON
)

// Compression is how a file is packed.
type Compression uint8

const (
	// CompressionUnknown is told from the first bytes.
	CompressionUnknown Compression = iota
	// Plain is not packed.
	Plain
	// Gzip may have several members.
	Gzip
	// Zstd may have several frames.
	Zstd
)

// maxWindow is the most memory that a zstd frame may ask for: what zstd -19 uses, and eight times what it uses by default.
const maxWindow = 64 << 20

// head is how much of a file decides its format.
const head = 512

// unpack returns the file's plain bytes and a function that ends the unpacking.
func unpack(r io.Reader, c Compression, name string) (*bufio.Reader, func(), error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, _ := in.Peek(4) // an error comes again with the next read
	if c == CompressionUnknown {
		switch {
		case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
			c = Gzip
		case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
			c = Zstd
		}
	}
	switch c {
	case Gzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, errs.Wrap(err, errs.Invalid, "damaged_file", "%s is not gzip, or damaged at its beginning; send the whole file again", name)
		}
		return bufio.NewReaderSize(z, 64<<10), func() { _ = z.Close() }, nil
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, errs.Wrap(err, errs.Invalid, "damaged_file", "%s is not zstd, or damaged at its beginning; send the whole file again", name)
		}
		return bufio.NewReaderSize(z, 64<<10), z.Close, nil
	}
	return in, func() {}, nil
}

var binaryKinds = []struct{ prefix, says string }{
	{"application/zip", "a ZIP archive or an Excel workbook; save the sheet as CSV in UTF-8"},
	{"application/pdf", "a PDF document; export the people as CSV"},
	{"application/x-gzip", "packed twice; unpack it once"},
	{"application/", "a program or archive; export the people as CSV"},
	{"image/", "a picture; export the people as CSV"},
	{"audio/", "a sound; export the people as CSV"},
	{"video/", "a film; export the people as CSV"},
	{"font/", "a font; export the people as CSV"},
}

const hint = "; send CSV with a header row, or one JSON object per line, plain or packed with gzip or zstd"

// detect passes a byte order mark and tells the format from name and beginning. A file that is no text is refused. It
// reports true for a file without a single byte.
func detect(in *bufio.Reader, f Format, name string) (Format, bool, error) {
	begin, err := in.Peek(head)
	if len(begin) == 0 && !errors.Is(err, io.EOF) {
		return f, false, err // another one comes again with the next read
	}
	switch {
	case bytes.HasPrefix(begin, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3) // peeked
		begin = begin[3:]
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")):
		return f, false, errs.New(errs.Invalid, "wrong_encoding", "%s is UTF-16 text; save it as UTF-8", name)
	}
	if len(begin) == 0 {
		return f, true, nil
	}
	text := isText(begin, len(begin) == head)
	if !text {
		kind := http.DetectContentType(begin)
		if kind != "application/octet-stream" {
			for _, k := range binaryKinds {
				if strings.HasPrefix(kind, k.prefix) {
					return f, false, errs.New(errs.Invalid, "unknown_format", "%s is %s%s", name, k.says, hint)
				}
			}
		}
	}
	if f == FormatUnknown {
		f = formatByName(name)
	}
	first := bytes.TrimLeft(begin, " \t\r\n")
	switch {
	case bytes.HasPrefix(first, []byte("[")) && f != CSV:
		return f, false, errs.New(errs.Invalid, "unknown_format", "%s is one JSON array; write one object per line instead, without brackets and commas around them", name)
	case f == NDJSON && !text && !bytes.HasPrefix(first, []byte("{")):
		return f, false, errs.New(errs.Invalid, "unknown_format", "%s is no text%s", name, hint)
	case f != FormatUnknown:
	case bytes.HasPrefix(first, []byte("{")):
		f = NDJSON
	default:
		f = CSV
	}
	return f, false, nil
}

// isText reports whether the bytes look like UTF-8 text; the last character may be cut.
func isText(b []byte, isCut bool) bool {
	if bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	for i := 0; isCut && i < utf8.UTFMax-1 && len(b) > 0 && !utf8.Valid(b); i++ {
		b = b[:len(b)-1]
	}
	return utf8.Valid(b)
}

func formatByName(name string) Format {
	name = strings.ToLower(name)
	for _, packed := range []string{".gz", ".gzip", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, packed)
	}
	switch path.Ext(name) {
	case ".csv", ".tsv", ".tab":
		return CSV
	case ".ndjson", ".jsonl":
		return NDJSON
	}
	return FormatUnknown
}

// delimiters in the order in which they are preferred when a header has none of them more than another.
const delimiters = ",;\t"

// delimiterOf tells the delimiter from the header line: the one that stands there most often outside quotes.
func delimiterOf(header []byte) byte {
	var count [256]int
	quoted := false
	for _, b := range header {
		if b == '"' {
			quoted = !quoted
		} else if !quoted {
			count[b]++
		}
	}
	best := delimiters[0]
	for _, d := range []byte(delimiters) {
		if count[d] > count[best] {
			best = d
		}
	}
	return best
}
