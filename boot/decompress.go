package boot

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
	"github.com/ulikunitz/xz/lzma"
	"github.com/xi2/xz"
)

const (
	// maxUnpacked bounds what a kernel may unpack to. Linux maps its image in 1 GiB (KERNEL_IMAGE_SIZE).
	maxUnpacked = 1 << 30
	// maxDictionary bounds the history that a stream may ask its decoder to keep. The kernel's build asks for 128 MiB at
	// most (xz since Linux 6.12, and zstd -22).
	maxDictionary = 128 << 20
	// sizeField is the length of the unpacked size at the payload's end, which the kernel's build appends
	// (scripts/Makefile.lib, size_append); gzip has the same as part of its own format.
	sizeField = 4
)

// codec is a compression that Linux's build can give a payload.
type codec struct {
	name  string
	magic string
	// open returns a reader of what is compressed in r.
	open func(r io.Reader) (io.Reader, error)
	// ownSize is set if the unpacked size is a field of the format rather than appended.
	ownSize bool
}

var codecs = []codec{
	{"gzip", "\x1f\x8b", openGzip, true},
	{"xz", "\xfd7zXZ\x00", openXZ, false},
	{"bzip2", "BZh", openBzip2, false},
	{"lz4", "\x02\x21\x4c\x18", openLZ4, false},
	{"zstd", "\x28\xb5\x2f\xfd", openZstd, false},
	// The first byte packs three parameters of the coder, and this is their usual value; the magic of old lzma has no
	// more, but for the zeros at the start of a power of two, the dictionary's size.
	{"lzma", "\x5d\x00\x00", openLZMA, false},
	{"lzo", "\x89LZO\x00\r\n\x1a\n", nil, false},
}

// Compression names how a bzImage's payload is compressed ("gzip", "xz", "lzma", "bzip2", "lz4", "zstd", "lzo"); it is
// "" for an ELF kernel.
func (k *Kernel) Compression() (string, error) {
	if k.Format != BzImage {
		return "", nil
	}
	c, err := k.codec()
	if err != nil {
		return "", fmt.Errorf("boot: kernel %s: %w", k.Path, err)
	}
	return c.name, nil
}

func (k *Kernel) codec() (*codec, error) {
	var head [9]byte
	n, err := io.NewSectionReader(k.file, k.Setup.Payload.Offset, k.Setup.Payload.Size).ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for i := range codecs {
		if bytes.HasPrefix(head[:n], []byte(codecs[i].magic)) {
			return &codecs[i], nil
		}
	}
	return nil, fmt.Errorf("%w: payload starts with % x", ErrCompression, head[:n])
}

// Decompress writes what a bzImage's payload unpacks to, an ELF kernel, to w. It writes no more than the payload
// says that it unpacks to, and fails if that isn't all.
func (k *Kernel) Decompress(w io.Writer) error {
	if k.Format != BzImage {
		return fmt.Errorf("boot: decompress kernel %s: %w: the %v is not compressed", k.Path, ErrFormat, k.Format)
	}
	if err := k.decompress(w); err != nil {
		return fmt.Errorf("boot: decompress kernel %s: %w", k.Path, err)
	}
	return nil
}

func (k *Kernel) decompress(w io.Writer) error {
	c, err := k.codec()
	if err != nil {
		return err
	}
	if c.open == nil {
		return fmt.Errorf("%w: %s", ErrCompression, c.name)
	}
	payload := k.Setup.Payload
	size, err := k.unpackedSize(payload)
	if err != nil {
		return err
	}
	if !c.ownSize {
		payload.Size -= sizeField
	}
	if err := c.unpack(w, io.NewSectionReader(k.file, payload.Offset, payload.Size), size); err != nil {
		return fmt.Errorf("%s payload: %w", c.name, err)
	}
	return nil
}

// unpackedSize reads the size that the payload ends with.
func (k *Kernel) unpackedSize(payload FileRange) (int64, error) {
	var field [sizeField]byte
	if payload.Size < sizeField {
		return 0, fmt.Errorf("%w: payload of %d bytes", ErrCorrupt, payload.Size)
	}
	if _, err := k.file.ReadAt(field[:], payload.Offset+payload.Size-sizeField); err != nil {
		return 0, err
	}
	size := int64(le.Uint32(field[:]))
	if size == 0 || size > maxUnpacked {
		return 0, fmt.Errorf("%w: payload says it unpacks to %d bytes, at most %d accepted", ErrCorrupt, size, maxUnpacked)
	}
	return size, nil
}

// unpack writes the size bytes that r unpacks to, and fails if there are fewer or more.
func (c *codec) unpack(w io.Writer, r io.Reader, size int64) error {
	unpacked, err := c.open(bufio.NewReaderSize(r, 1<<18))
	if err != nil {
		return corrupt(err)
	}
	if closer, ok := unpacked.(io.Closer); ok {
		defer closer.Close()
	}
	source := &readErrors{r: unpacked}
	n, err := io.CopyN(w, source, size)
	switch {
	case source.err != nil && source.err != io.EOF:
		return corrupt(source.err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: unpacks to %d bytes, says %d", ErrCorrupt, n, size)
	case err != nil:
		return err
	}
	// Formats have checksums at their end, so reading on to there also checks what has been written.
	switch n, err := io.CopyN(io.Discard, unpacked, 1); {
	case n > 0:
		return fmt.Errorf("%w: unpacks to more than the %d bytes that it says", ErrCorrupt, size)
	case !errors.Is(err, io.EOF):
		return corrupt(err)
	}
	return nil
}

// readErrors remembers the error of a reader, so that it can be told from the writer's in a copy.
type readErrors struct {
	r   io.Reader
	err error
}

func (r *readErrors) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.err = err
	return n, err
}

func corrupt(err error) error { return fmt.Errorf("%w: %w", ErrCorrupt, err) }

func openGzip(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return z, nil
}

// openXZ uses the Go port of the decoder that is in the kernel: the kernel's build runs x86 code through xz's BCJ
// filter first, which other decoders for Go don't have.
func openXZ(r io.Reader) (io.Reader, error) {
	z, err := xz.NewReader(r, maxDictionary)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return z, nil
}

func openBzip2(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }

// openLZ4 reads the legacy frame, blocks of 8 MiB without an end mark.
func openLZ4(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }

func openZstd(r io.Reader) (io.Reader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderMaxMemory(maxUnpacked),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

func openLZMA(r io.Reader) (io.Reader, error) {
	const header = 13 // properties, dictionary size, unpacked size
	head := make([]byte, header)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if size := le.Uint32(head[1:]); size > maxDictionary {
		return nil, fmt.Errorf("a dictionary of %d bytes, at most %d accepted", size, maxDictionary)
	}
	return lzma.NewReader(io.MultiReader(bytes.NewReader(head), r))
}
