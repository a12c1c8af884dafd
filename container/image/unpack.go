package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/container/image/compress"
	"tandem/container/image/layer"
)

// An unpackJob is one layer to unpack. It can be handed to another process.
type unpackJob struct {
	Dir       string                 `json:"dir"`  // that gets diffDir and entriesFile
	Blob      string                 `json:"blob"` // its path
	Layer     ocispec.Descriptor     `json:"layer"`
	DiffID    digest.Digest          `json:"diff_id"`
	Limits    layer.Limits           `json:"limits"`
	Budget    int64                  `json:"budget"` // bytes that may be spent
	Devices   layer.Devices          `json:"devices"`
	UserXattr bool                   `json:"user_xattr"`
	Squash    bool                   `json:"squash"` // all files are the caller's
	Parents   map[string]layer.Entry `json:"-"`

	uids, gids int64 // how many there are, if that is not all
}

// unpackFunc unpacks a layer and checks it by both its digests.
type unpackFunc func(ctx context.Context, job unpackJob, spend func(int64) error, progress func(int64)) (
	layer.Result, error,
)

// unpackHere unpacks a layer in this process, and holds what it reads against both digests: that of the blob, which the
// manifest names, and that of the archive in it, which the configuration does.
func unpackHere(ctx context.Context, job unpackJob, spend func(int64) error, progress func(int64)) (
	layer.Result, error,
) {
	blob, err := os.Open(job.Blob)
	if errors.Is(err, os.ErrNotExist) {
		return layer.Result{}, fmt.Errorf("blob %s: %w", job.Layer.Digest, ErrMissing)
	}
	if err != nil {
		return layer.Result{}, err
	}
	defer blob.Close()
	outer := newVerifier(&progressReader{blob, progress}, job.Layer.Digest, job.Layer.Size)
	plain, _, err := compress.NewReader(outer)
	if err != nil {
		return layer.Result{}, err
	}
	defer plain.Close()
	archive := io.Reader(plain)
	var inner *verifier
	if job.DiffID != job.Layer.Digest { // else it is not compressed, and outer reads the same bytes
		inner = newVerifier(plain, job.DiffID, -1)
		archive = inner
	}
	result, err := unpackArchive(ctx, archive, job, spend)
	if err != nil {
		return layer.Result{}, err
	}
	if inner != nil {
		if err := inner.check(); err != nil {
			return layer.Result{}, fmt.Errorf("unpacked: %w", err)
		}
	}
	plain.Close() // nobody else reads from outer now
	if err := outer.drain(); err != nil {
		return layer.Result{}, fmt.Errorf("blob: %w", err)
	}
	return result, nil
}

// unpackArchive unpacks an archive as a job says, into diffDir, and lists what is in it in entriesFile.
func unpackArchive(ctx context.Context, archive io.Reader, job unpackJob, spend func(int64) error) (
	layer.Result, error,
) {
	list, err := os.OpenFile(filepath.Join(job.Dir, entriesFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return layer.Result{}, err
	}
	defer list.Close()
	diff := filepath.Join(job.Dir, diffDir)
	if err := os.Mkdir(diff, 0o700); err != nil {
		return layer.Result{}, err
	}
	dir, err := os.Open(diff)
	if err != nil {
		return layer.Result{}, err
	}
	defer dir.Close()
	lines := bufio.NewWriterSize(list, 64<<10)
	var line []byte
	options := layer.Options{
		Limits: job.Limits, Devices: job.Devices, UserXattr: job.UserXattr, Spend: spend,
		Record: func(e layer.Entry) error {
			line = e.AppendText(line[:0])
			_, err := lines.Write(line)
			return err
		},
	}
	switch {
	case job.Squash:
		uid, gid := os.Geteuid(), os.Getegid()
		options.Owner = func(uint32, uint32) (int, int, error) { return uid, gid, nil }
	case job.uids > 0:
		options.Owner = func(uid, gid uint32) (int, int, error) {
			if int64(uid) >= job.uids || int64(gid) >= job.gids {
				return 0, 0, fmt.Errorf("owner %d:%d, and you have %d user and %d group IDs (see subuid(5)): %w",
					uid, gid, job.uids, job.gids, os.ErrPermission)
			}
			return int(uid), int(gid), nil
		}
	}
	if job.Parents != nil {
		options.Parents = func(path string) (layer.Entry, bool) { e, ok := job.Parents[path]; return e, ok }
	}
	result, err := layer.Unpack(ctx, dir, archive, options)
	if err != nil {
		return layer.Result{}, err
	}
	if err := lines.Flush(); err != nil {
		return layer.Result{}, err
	}
	return result, list.Close()
}

// verifier counts and hashes what is read through it.
type verifier struct {
	r    io.Reader
	v    digest.Verifier
	want digest.Digest
	size int64 // negative if it is not known
	n    int64
}

func newVerifier(r io.Reader, want digest.Digest, size int64) *verifier {
	return &verifier{r: r, v: want.Verifier(), want: want, size: size}
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.v.Write(p[:n]) // a hash, which does not fail
	if v.n += int64(n); v.size >= 0 && v.n > v.size {
		return n, fmt.Errorf("%s has more than its %d bytes: %w", v.want, v.size, ErrDigest)
	}
	return n, err
}

// check is for the end of what is read.
func (v *verifier) check() error {
	if v.size >= 0 && v.n != v.size {
		return fmt.Errorf("%s has %d bytes, and should have %d: %w", v.want, v.n, v.size, ErrDigest)
	}
	if !v.v.Verified() {
		return fmt.Errorf("%s: %w", v.want, ErrDigest)
	}
	return nil
}

// drain reads what is left, which a decompressor did not want, and checks.
func (v *verifier) drain() error {
	if _, err := io.Copy(io.Discard, v); err != nil {
		return err
	}
	return v.check()
}
