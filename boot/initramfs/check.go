package initramfs

import (
	"errors"
	"fmt"
	"io"

	"tandem/boot/cpio"
)

// ErrFormat tells a file that the kernel would not unpack as an initramfs.
var ErrFormat = errors.New("not an initramfs")

// compressions are told by their first bytes, as lib/decompress.c does.
var compressions = []struct{ name, magic string }{
	{"gzip", "\x1f\x8b"},
	{"gzip", "\x1f\x9e"},
	{"bzip2", "BZh"},
	{"lzma", "\x5d\x00\x00"},
	{"xz", "\xfd7zXZ\x00"},
	{"lzo", "\x89LZO\x00\r\n\x1a\n"},
	{"lz4", "\x02\x21\x4c\x18"},
	{"zstd", "\x28\xb5\x2f\xfd"},
}

// Check tells what a user's initrd of size bytes is made of ("cpio", "gzip", "cpio+zstd", ...), or what is wrong with
// it. Uncompressed archives are walked through, header by header. What is compressed is known by its first bytes only:
// reading all of it would take longer than the boot, and the kernel says so on the console if it fails.
func Check(r io.ReaderAt, size int64) (format string, err error) {
	head := make([]byte, 16)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("initramfs: check: %w", err)
	}
	if n == 0 {
		return "", fmt.Errorf("initramfs: check: empty: %w", ErrFormat)
	}
	if name := compression(head[:n]); name != "" {
		return name, nil
	}
	c := cpio.NewReader(io.NewSectionReader(r, 0, size))
	for {
		_, err := c.Next()
		if errors.Is(err, io.EOF) {
			return "cpio", nil
		}
		if err == nil {
			continue
		}
		// Distributions put processor microcode into an archive of its own, ahead of the compressed one.
		if at, ok := c.Between(); ok {
			n, _ := r.ReadAt(head, at)
			if name := compression(head[:n]); name != "" {
				return "cpio+" + name, nil
			}
		}
		return "", fmt.Errorf("initramfs: check: %w: %w", ErrFormat, err)
	}
}

func compression(head []byte) string {
	for _, c := range compressions {
		if len(head) >= len(c.magic) && string(head[:len(c.magic)]) == c.magic {
			return c.name
		}
	}
	return ""
}
