package compress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/xi2/xz"
)

// Format is a way to compress.
type Format string

// The formats that are known.
const (
	None  Format = "none"
	Gzip  Format = "gzip"
	Zstd  Format = "zstd"
	XZ    Format = "xz"
	Bzip2 Format = "bzip2"
	LZ4   Format = "lz4"
)

// ErrCorrupt tells that compressed data is broken, or ends early.
var ErrCorrupt = errors.New("broken compressed data")

// maxWindow is the memory that a stream may ask for. zstd's and xz's own tools refuse more unless they are told to
// allow it; xz -9 asks for half.
const maxWindow = 128 << 20

var magics = []struct {
	format Format
	magic  []byte
}{
	{Gzip, []byte{0x1f, 0x8b}},             // RFC 1952, 2.3.1
	{Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd}}, // RFC 8878, 3.1.1
	{XZ, []byte{0xfd, '7', 'z', 'X', 'Z', 0}},
	{Bzip2, []byte("BZh")},
	{LZ4, []byte{0x04, 0x22, 0x4d, 0x18}},
}

// HeadSize is the number of bytes that Detect looks at.
const HeadSize = 8

// Detect tells the format of what begins with head.
func Detect(head []byte) Format {
	for _, m := range magics {
		if bytes.HasPrefix(head, m.magic) {
			return m.format
		}
	}
	// zstd has frames to be skipped, which a stream may begin with (RFC 8878, 3.1.2).
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18 {
		return Zstd
	}
	return None
}

// NewReader gives a reader of what r has compressed, and how it is compressed. What is not compressed is given as it
// is. The reader has to be closed; that does not close r, but no one reads r any more then.
func NewReader(r io.Reader) (io.ReadCloser, Format, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	head, err := in.Peek(HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	err = nil
	format := Detect(head)
	source := &sourceReader{r: in}
	var out io.Reader
	release := func() {}
	switch format {
	case Gzip:
		out, err = gzip.NewReader(source)
	case Zstd:
		var d *zstd.Decoder
		// One goroutine decodes; the reader is ahead of its user anyway.
		d, err = zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			out, release = d, d.Close
		}
	case XZ:
		out, err = xz.NewReader(source, maxWindow)
	case Bzip2:
		out = bzip2.NewReader(source)
	case LZ4:
		out = lz4.NewReader(source)
	default:
		out = source
	}
	if err != nil {
		return nil, format, source.explain(format, err)
	}
	return newAhead(&decoder{format: format, source: source, r: out}, release), format, nil
}

// sourceReader remembers how reading failed, so that it is not taken for broken data.
type sourceReader struct {
	r   *bufio.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// ReadByte keeps flate from putting a buffer of its own in front.
func (s *sourceReader) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return b, err
}

func (s *sourceReader) explain(format Format, err error) error {
	if s.err != nil {
		return s.err
	}
	if format == None {
		return err
	}
	if errors.Is(err, xz.ErrMemlimit) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return fmt.Errorf("compress: %s: it asks for more than %d MiB of memory: %w", format, maxWindow>>20, ErrCorrupt)
	}
	return fmt.Errorf("compress: %s: %w: %w", format, ErrCorrupt, err)
}

// decoder names what went wrong.
type decoder struct {
	format Format
	source *sourceReader
	r      io.Reader
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.source.explain(d.format, err)
	}
	return n, err
}
