package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/container/image/compress"
)

// readRootFS makes an image of one layer from the archive of a root file system. The archive is kept as it is if that
// is how a layer may be compressed, and is compressed anew by zstd if not.
func (s *Store) readRootFS(ctx context.Context, r io.Reader, format compress.Format, o ImportOptions) ([]found, error) {
	layer, diffID, err := s.addLayer(r, format)
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
		Layers:    []ocispec.Descriptor{layer},
	})
	return []found{{descriptor: d}}, err
}

// addLayer writes the blob of a layer, and finds out the digest of the archive in it on the way.
func (s *Store) addLayer(r io.Reader, format compress.Format) (ocispec.Descriptor, digest.Digest, error) {
	fail := func(err error) (ocispec.Descriptor, digest.Digest, error) { return ocispec.Descriptor{}, "", err }
	blob, err := s.newBlob("")
	if err != nil {
		return fail(err)
	}
	defer blob.abort()
	kept := format
	var source io.Reader = io.TeeReader(r, blob)
	var packed *zstd.Encoder
	if _, err := mediaTypeFor(format); err != nil {
		kept, source = compress.Zstd, r
		if packed, err = zstd.NewWriter(blob, zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
			return fail(err)
		}
	}
	plain, _, err := compress.NewReader(source)
	if err != nil {
		return fail(err)
	}
	defer plain.Close()
	sum := digest.Canonical.Digester()
	to := io.Writer(sum.Hash())
	if packed != nil {
		to = io.MultiWriter(to, packed)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, io.LimitReader(plain, s.streamLimit()+1), make([]byte, 256<<10))
	if err == nil && n > s.streamLimit() {
		err = fmt.Errorf("the archive has more than %d bytes: %w", s.streamLimit(), ErrTooLarge)
	}
	plain.Close()
	if err == nil { // what a decompressor has no use for is part of the blob
		_, err = io.Copy(io.Discard, source)
	}
	if packed != nil {
		err = errors.Join(err, packed.Close())
	}
	if err != nil {
		return fail(err)
	}
	d, err := blob.commit("", -1)
	if err != nil {
		return fail(err)
	}
	mediaType, err := mediaTypeFor(kept)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: blob.size}, sum.Digest(), err
}

// streamLimit is the size of an archive that the limits could let through: see package layer.
func (s *Store) streamLimit() int64 { return s.limits.layer().Stream() }
