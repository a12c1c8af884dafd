package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tandem/internal/pattern"
)

// maxArchiveFiles is the number of files that an archive of images may have. A layer is one or three.
const maxArchiveFiles = 10_000

// An archive is the files of a docker archive or an OCI archive. What may be a blob is in the store already, as an
// archive can be read but once, and its table of contents tends to come last.
type archive struct {
	blobs     map[string]ocispec.Descriptor // by name in the archive
	links     map[string]string             // names for other names
	documents map[string][]byte             // the tables of contents
}

// The tables of contents.
const (
	ociIndex      = ocispec.ImageIndexFile
	dockerIndex   = "manifest.json"
	dockerNoIndex = "repositories" // before Docker 1.10
)

var blobName = pattern.New(`^blobs/([a-z0-9]+)/([0-9a-f]+)$`)

// readImages reads an archive of images.
func (s *Store) readImages(ctx context.Context, r io.Reader, o ImportOptions) ([]found, error) {
	a := &archive{blobs: map[string]ocispec.Descriptor{}, links: map[string]string{}, documents: map[string][]byte{}}
	if err := s.readFiles(ctx, r, a); err != nil {
		return nil, err
	}
	if data, ok := a.documents[ociIndex]; ok {
		index, err := parseIndex(data, ocispec.MediaTypeImageIndex)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ociIndex, err)
		}
		return s.gather(ctx, index, o, s.isThere)
	}
	if data, ok := a.documents[dockerIndex]; ok {
		return s.gatherDocker(data, a)
	}
	return nil, fmt.Errorf("neither %s nor %s is in the archive: %w", ociIndex, dockerIndex, ErrFormat)
}

// readFiles takes an archive apart.
func (s *Store) readFiles(ctx context.Context, r io.Reader, a *archive) error {
	in := tar.NewReader(r)
	files, bytes := 0, int64(0)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			// The rest is read, so that whoever writes it to a pipe is not told that it is not wanted.
			_, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			return err
		}
		if err != nil {
			return archiveError(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if files++; files > maxArchiveFiles {
			return fmt.Errorf("more than %d files: %w", maxArchiveFiles, ErrTooLarge)
		}
		if len(h.Name) > unix.PathMax || len(h.Linkname) > unix.PathMax { // they are kept until the end
			return fmt.Errorf("%.40q...: a name of %d bytes: %w", h.Name, max(len(h.Name), len(h.Linkname)), ErrTooLarge)
		}
		name := inArchive(h.Name)
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeGNUSparse:
			if bytes += h.Size; h.Size < 0 || bytes < 0 || bytes > s.limits.ImageBytes {
				return fmt.Errorf("more than %d bytes: %w", s.limits.ImageBytes, ErrTooLarge)
			}
			if err := s.readFile(ctx, in, h, name, a); err != nil {
				return fmt.Errorf("%.200q: %w", h.Name, err)
			}
		case tar.TypeSymlink: // of a layer that several images have
			a.links[name] = inArchive(path.Join(path.Dir(name), h.Linkname))
		case tar.TypeLink:
			a.links[name] = inArchive(h.Linkname)
		}
	}
}

func archiveError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: broken archive: %w", ErrFormat, err)
	}
	return err
}

// inArchive is a name without "." and "..", to look it up; nothing is ever made by that name.
func inArchive(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func (s *Store) readFile(ctx context.Context, in io.Reader, h *tar.Header, name string, a *archive) error {
	_, document := a.documents[name]
	if _, twice := a.blobs[name]; twice || document {
		return fmt.Errorf("the archive has this name twice: %w", ErrFormat)
	}
	switch base := path.Base(name); {
	case name == ociIndex || name == dockerIndex:
		if h.Size > maxDocument {
			return fmt.Errorf("%d bytes, at most %d are read: %w", h.Size, maxDocument, ErrTooLarge)
		}
		data, err := io.ReadAll(in)
		a.documents[name] = data
		return err
	case name == dockerNoIndex, name == ocispec.ImageLayoutFile, base == "VERSION", base == "json":
		return nil // says nothing that is of use
	}
	var want digest.Digest
	if m := blobName.FindStringSubmatch(name); m != nil {
		want = digest.NewDigestFromEncoded(digest.Algorithm(m[1]), m[2])
		if s.hasBlob(want, h.Size) { // which was verified when it was written
			a.blobs[name] = ocispec.Descriptor{Digest: want, Size: h.Size}
			return nil
		}
	}
	d, size, err := s.addBlob(ctx, in, want, h.Size)
	if err != nil {
		return archiveError(err)
	}
	a.blobs[name] = ocispec.Descriptor{Digest: d, Size: size}
	return nil
}

// lookUp gives the blob that has a name in the archive.
func (a *archive) lookUp(name string) (ocispec.Descriptor, error) {
	name = inArchive(name)
	for range 10 {
		if d, ok := a.blobs[name]; ok {
			return d, nil
		}
		to, ok := a.links[name]
		if !ok {
			break
		}
		name = to
	}
	return ocispec.Descriptor{}, fmt.Errorf("%.200q is not in the archive: %w", name, ErrMissing)
}

// isThere is how gather gets blobs that are in the store already.
func (s *Store) isThere(_ context.Context, d ocispec.Descriptor) error {
	if !s.hasBlob(d.Digest, d.Size) {
		return fmt.Errorf("%s is not in the archive, or is not of %d bytes: %w", d.Digest, d.Size, ErrMissing)
	}
	return nil
}

// readLayout reads an OCI image layout in a folder. A symbolic link does not lead out of it.
func (s *Store) readLayout(ctx context.Context, dir string, o ImportOptions, p *progress) ([]found, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := openFile(root, ociIndex)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the folder has no %s, so it is no OCI image layout: %w", ociIndex, ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err != nil {
		return nil, err
	}
	index, err := parseIndex(data, ocispec.MediaTypeImageIndex)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ociIndex, err)
	}
	p.begin("read", 0)
	return s.gather(ctx, index, o, func(ctx context.Context, d ocispec.Descriptor) error {
		if s.hasBlob(d.Digest, d.Size) {
			return nil
		}
		f, err := openFile(root, path.Join(blobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded()))
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is not in the folder: %w", d.Digest, ErrMissing)
		}
		if err != nil {
			return err
		}
		defer f.Close()
		_, _, err = s.addBlob(ctx, &progressReader{f, p.add}, d.Digest, d.Size)
		if err != nil {
			return fmt.Errorf("blob %s: %w", d.Digest, err)
		}
		return nil
	})
}

// openFile opens a file of a layout. Anything else that has its name is refused: a pipe would wait for its writer.
func openFile(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: %w", name, ErrFormat)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
