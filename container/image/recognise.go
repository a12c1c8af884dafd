package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"tandem/container/image/compress"
	"tandem/internal/pattern"
)

// Kind is what an archive holds.
type Kind string

// The kinds of archives.
const (
	OCIArchive    Kind = "oci"    // an OCI image layout
	DockerArchive Kind = "docker" // what docker save writes; since version 25 it is an OCI image layout too
	RootFS        Kind = "rootfs" // the files of a root file system
)

// HeadSize is how much of an archive Recognise wants: nothing can be said of a compressed one before its first block is
// whole, and lz4 has blocks of up to 4 MiB.
const HeadSize = 4<<20 + 64<<10

// plainSize is how much of it is looked at, unpacked.
const plainSize = 256 << 10

var (
	hexName = pattern.New(`^(sha256:)?[0-9a-f]{64}$`)
	hexFile = pattern.New(`^(sha256:)?[0-9a-f]{64}(\.json|\.tar|\.tar\.gz)?$`)
)

// Recognise tells from the first bytes of an archive what is in it, and how it is compressed. An archive of images
// begins with a name that is in no root file system; folders alone say nothing, unless they are named by a digest. What
// is no tar archive at all is refused with [ErrFormat].
func Recognise(head []byte) (Kind, compress.Format, error) {
	kind, format, err := recognise(head)
	if err != nil {
		return "", format, fmt.Errorf("image: recognise: %w", err)
	}
	return kind, format, nil
}

func recognise(head []byte) (Kind, compress.Format, error) {
	format := compress.Detect(head)
	plain := head
	if format != compress.None {
		r, _, err := compress.NewReader(bytes.NewReader(head))
		if err != nil {
			return "", format, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		defer r.Close()
		plain = make([]byte, plainSize)
		n, _ := io.ReadFull(r, plain) // the head is cut off somewhere, which is no error
		plain = plain[:n]
	}
	kind, err := recogniseTar(plain)
	return kind, format, err
}

func recogniseTar(head []byte) (Kind, error) {
	archive := tar.NewReader(bytes.NewReader(head))
	for first := true; ; first = false {
		h, err := archive.Next()
		switch {
		case err != nil && first && (len(head) < 512 || !errors.Is(err, io.EOF)):
			return "", fmt.Errorf("%w: neither a tar archive nor one that is compressed in a way that is known", ErrFormat)
		case err != nil: // the end, or the end of the head
			return RootFS, nil
		case h.Typeflag == tar.TypeXGlobalHeader:
			continue
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "/"))
		top, _, below := strings.Cut(name, "/")
		switch {
		case name == ".":
		case h.Typeflag == tar.TypeDir && (top == "blobs" || hexName.MatchString(name)):
			// As likely the one as the other; wait for what is in it.
		case top == "blobs" && below, name == "oci-layout", name == "index.json":
			return OCIArchive, nil
		case name == "manifest.json", name == "repositories", hexFile.MatchString(name), hexName.MatchString(top) && below:
			return DockerArchive, nil
		default:
			return RootFS, nil
		}
	}
}
