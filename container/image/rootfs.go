package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tandem/container/image/compress"
	"tandem/container/image/layer"
)

// readRootFS makes an image of one layer from the archive of a root file system. The archive is kept as it is if a layer
// may be compressed so, and is compressed by zstd if not, or if it is not compressed at all: that costs less than to
// write the rest.
func (s *Store) readRootFS(ctx context.Context, r io.Reader, format compress.Format, o ImportOptions) ([]found, error) {
	blob, diffID, err := s.addLayer(ctx, r, format)
	if err != nil {
		return nil, err
	}
	config := ocispec.Image{
		Platform: platformOr(o.Platform),
		Config:   o.Config,
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
		History:  []ocispec.History{{CreatedBy: "tandem image import", Comment: o.Comment}},
	}
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	configBlob, err := s.addBytes(ocispec.MediaTypeImageConfig, data)
	if err != nil {
		return nil, err
	}
	d, err := s.addManifest(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    configBlob,
		Layers:    []ocispec.Descriptor{blob},
	})
	return []found{{descriptor: d}}, err
}

// addLayer writes the blob of a layer, and unpacks it at the same time, since the archive goes by but once; both its
// digests are found out on the way.
func (s *Store) addLayer(ctx context.Context, r io.Reader, format compress.Format) (
	blob ocispec.Descriptor, diffID digest.Digest, err error,
) {
	w, err := s.newBlob("")
	if err != nil {
		return blob, "", err
	}
	defer w.abort()
	sum := digest.Canonical.Digester()
	source, keep := io.TeeReader(r, w), io.Writer(sum.Hash())
	var packed *zstd.Encoder
	if blob.MediaType, err = mediaTypeFor(format); err != nil || format == compress.None {
		blob.MediaType = ocispec.MediaTypeImageLayerZstd
		if packed, err = zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
			return blob, "", err
		}
		defer packed.Close()
		source, keep = r, io.MultiWriter(keep, packed)
	}
	plain, _, err := compress.NewReader(source)
	if err != nil {
		return blob, "", err
	}
	defer plain.Close()
	finish := func() error {
		plain.Close() // nobody else reads from source now
		_, err := io.Copy(io.Discard, source)
		if err == nil && packed != nil {
			err = packed.Close()
		}
		if err == nil {
			blob.Digest, err = w.commit("", -1)
		}
		blob.Size, diffID = w.size, sum.Digest()
		return err
	}
	archive := io.TeeReader(plain, keep)
	if s.helper != nil { // it reads the blob when that is whole
		limit := s.limits.layer().Stream()
		n, err := io.Copy(io.Discard, io.LimitReader(archive, limit+1))
		if err == nil && n > limit {
			err = fmt.Errorf("the archive has more than %d bytes: %w", limit, ErrTooLarge)
		}
		if err == nil {
			err = finish()
		}
		return blob, diffID, err
	}
	err = s.newLayer(ctx, func(dir string) (digest.Digest, layer.Result, error) {
		spent := &budget{limit: s.limits.ImageBytes}
		result, err := unpackArchive(ctx, archive, s.unpackJob(dir, wantedLayer{}, spent), spent.spend)
		if err == nil {
			err = finish()
		}
		return diffID, result, err
	})
	return blob, diffID, err
}

// newLayer has a layer unpacked of which nobody knows the digest before that is done.
func (s *Store) newLayer(ctx context.Context, unpack func(dir string) (digest.Digest, layer.Result, error)) (
	err error,
) {
	temp, err := os.MkdirTemp(s.path(layersDir), tempPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.removeTree(temp)) }() // it has a name by then if all went well
	diffID, result, err := unpack(temp)
	if err != nil {
		return err
	}
	if err := s.writeRecord(temp, diffID, result); err != nil {
		return err
	}
	unlock, err := s.lock(ctx, key(diffID), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.readRecord(key(diffID), diffID); !errors.Is(err, os.ErrNotExist) {
		return err // it was there already
	}
	if err := s.sync(); err != nil { // before the name says that it is whole
		return err
	}
	if err := os.Rename(temp, s.layerPath(key(diffID))); err != nil {
		return err
	}
	return syncDir(s.path(layersDir))
}
