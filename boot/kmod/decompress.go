package kmod

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModule bounds a module, compressed and not. The largest without debug information, amdgpu, has about 25 MiB.
const maxModule = 256 << 20

// readFile reads a module's file and unpacks it as its name says.
func readFile(root *os.Root, name string) ([]byte, error) {
	data, err := readBounded(root, name, maxModule)
	if err != nil {
		return nil, err
	}
	_, suffix := splitSuffix(name)
	if data, err = decompress(data, suffix, maxModule); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !bytes.HasPrefix(data, []byte("\x7fELF")) {
		return nil, fmt.Errorf("%s is not an ELF file: %w", name, ErrFormat)
	}
	return data, nil
}

// decompress unpacks at most limit bytes.
func decompress(data []byte, suffix string, limit int) ([]byte, error) {
	var (
		r   io.Reader
		err error
	)
	switch in := bytes.NewReader(data); suffix {
	case "":
		return data, nil
	case ".gz":
		r, err = gzip.NewReader(in)
	case ".xz":
		if err = checkXZ(data); err == nil {
			r, err = xz.ReaderConfig{SingleStream: true}.NewReader(in)
		}
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20)); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w: %w", suffix[1:], ErrFormat, err)
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w: %w", suffix[1:], ErrFormat, err)
	}
	if len(out) > limit {
		return nil, fmt.Errorf("decompress %s: more than %d bytes: %w", suffix[1:], limit, ErrTooLarge)
	}
	return out, nil
}

// checkXZ bounds the dictionary that the first block asks for, because the decoder allocates it before it has seen a
// byte of data. The .xz file format, 3.1: a block header starts behind the 12 bytes of the stream header.
func checkXZ(data []byte) error {
	const stream, lzma2 = 12, 0x21
	if len(data) < stream+2 {
		return io.ErrUnexpectedEOF
	}
	head := data[stream:]
	size, flags := int(head[0])*4, head[1]
	if head[0] == 0 { // the index: no block at all
		return nil
	}
	if len(head) < size+4 {
		return io.ErrUnexpectedEOF
	}
	head = head[2:size]
	for _, sizes := range []byte{0x40, 0x80} { // compressed and uncompressed size, each a number of seven bits a byte
		for flags&sizes != 0 && len(head) > 0 {
			more := head[0]&0x80 != 0
			head = head[1:]
			if !more {
				break
			}
		}
	}
	// scripts/Makefile.modinst calls xz with LZMA2 as the only filter, and the decoder knows no other.
	if len(head) < 3 || head[0] != lzma2 || head[1] != 1 {
		return fmt.Errorf("filter %#x is not LZMA2", head)
	}
	// 5.3.1: the dictionary has 2 or 3 times a power of two bytes.
	bits := head[2]
	if bits > 40 {
		return fmt.Errorf("dictionary size %#x", bits)
	}
	if dict := uint64(2|bits&1) << (bits/2 + 11); dict > maxModule {
		return fmt.Errorf("dictionary of %d bytes: %w", dict, ErrTooLarge)
	}
	return nil
}
