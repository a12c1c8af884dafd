package image

import (
	"bytes"
	"context"
	_ "crypto/sha512" // digests that begin with sha512 are as good
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument is the size of a manifest, index or configuration that is read into memory. Registries take manifests
// of up to 4 MiB.
const maxDocument = 8 << 20

// checkDigest refuses what is no digest, before it becomes part of a path.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %.100q: %w: %w", d.String(), ErrFormat, err)
	}
	return nil
}

func (s *Store) blobPath(d digest.Digest) string {
	return s.path(blobsDir, d.Algorithm().String(), d.Encoded())
}

// hasBlob tells whether a blob is there, with its whole size if that is known (not negative).
func (s *Store) hasBlob(d digest.Digest, size int64) bool {
	st, err := os.Stat(s.blobPath(d))
	return err == nil && (size < 0 || st.Size() == size)
}

// openBlob gives a blob that whoever reads it checks by its digest; here it is its size that is looked at.
func (s *Store) openBlob(d ocispec.Descriptor) (*os.File, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(d.Digest))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() != d.Size {
		err = fmt.Errorf("blob %s has %d bytes, and should have %d: %w", d.Digest, st.Size(), d.Size, ErrDigest)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readBlob gives a small blob, verified.
func (s *Store) readBlob(d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read: %w", d.Digest, d.Size, maxDocument, ErrTooLarge)
	}
	f, err := s.openBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if d.Digest.Algorithm().FromBytes(data) != d.Digest {
		return nil, fmt.Errorf("blob %s: %w: remove it and get the image anew", s.blobPath(d.Digest), ErrDigest)
	}
	return data, nil
}

// A blobWriter writes a blob into the store, under no name until it is whole and is what it should be.
type blobWriter struct {
	s    *Store
	f    *os.File
	hash hash.Hash
	alg  digest.Algorithm
	size int64
}

// newBlob begins a blob; want may be empty.
func (s *Store) newBlob(want digest.Digest) (*blobWriter, error) {
	alg := digest.Canonical
	if want != "" {
		if err := checkDigest(want); err != nil {
			return nil, err
		}
		alg = want.Algorithm()
	}
	f, err := os.CreateTemp(s.path(tempDir), "blob-")
	if err != nil {
		return nil, err
	}
	return &blobWriter{s: s, f: f, hash: alg.Hash(), alg: alg}, nil
}

func (b *blobWriter) Write(p []byte) (int, error) {
	if b.size+int64(len(p)) > b.s.limits.BlobBytes {
		return 0, fmt.Errorf("a blob has more than %d bytes: %w", b.s.limits.BlobBytes, ErrTooLarge)
	}
	n, err := b.f.Write(p)
	b.hash.Write(p[:n])
	b.size += int64(n)
	return n, err
}

// commit gives the blob its name. It has to have the digest and the size that are asked for; an empty digest or a
// negative size is any. It is on the disk after the next sync of the store.
func (b *blobWriter) commit(want digest.Digest, size int64) (digest.Digest, error) {
	got := digest.NewDigest(b.alg, b.hash)
	if size >= 0 && b.size != size {
		return "", fmt.Errorf("%d bytes, and not %d: %w", b.size, size, ErrDigest)
	}
	if want != "" && got != want {
		return "", fmt.Errorf("%s, and not %s: %w", got, want, ErrDigest)
	}
	if err := b.f.Close(); err != nil {
		return "", err
	}
	b.s.written.Add(1)
	path := b.s.blobPath(got)
	err := os.Rename(b.f.Name(), path)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
		err = os.Rename(b.f.Name(), path)
	}
	return got, err
}

// abort removes what was not committed. It may be called after commit, and does nothing then.
func (b *blobWriter) abort() {
	b.f.Close()
	os.Remove(b.f.Name())
}

// addBlob writes a blob from r and gives its digest and size.
func (s *Store) addBlob(ctx context.Context, r io.Reader, want digest.Digest, size int64) (
	digest.Digest, int64, error,
) {
	b, err := s.newBlob(want)
	if err != nil {
		return "", 0, err
	}
	defer b.abort()
	if _, err := io.CopyBuffer(struct{ io.Writer }{b}, &contextReader{ctx, r}, make([]byte, 256<<10)); err != nil {
		return "", 0, err
	}
	d, err := b.commit(want, size)
	return d, b.size, err
}

// addBytes is addBlob for what is in memory, and gives the descriptor of it.
func (s *Store) addBytes(mediaType string, data []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if s.hasBlob(d.Digest, d.Size) {
		return d, nil
	}
	_, _, err := s.addBlob(context.Background(), bytes.NewReader(data), d.Digest, d.Size)
	return d, err
}

// contextReader fails when ctx is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
