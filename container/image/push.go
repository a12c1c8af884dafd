package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Push sends the image ref to the registry and name that target says; an empty target is ref itself. It gives the
// digest that the image has there, which is that of its manifest here.
func (s *Store) Push(ctx context.Context, ref, target string, o TransferOptions) (digest.Digest, error) {
	if target == "" {
		target = ref
	}
	r, err := parseReference(target)
	if err != nil {
		return "", fmt.Errorf("image: push to %w", err)
	}
	d, err := s.push(ctx, ref, r, o)
	if err != nil {
		return "", fmt.Errorf("image: push %s: %w", r.Familiar(), explain(err))
	}
	return d, nil
}

func (s *Store) push(ctx context.Context, ref string, r Reference, o TransferOptions) (digest.Digest, error) {
	unlock, err := s.share(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	f, _, err := s.resolve(ref)
	if err != nil {
		return "", err
	}
	if r.Digest != "" && r.Digest != f.descriptor.Digest {
		return "", fmt.Errorf("the image is %s, and its target says otherwise: %w", f.descriptor.Digest, ErrDigest)
	}
	img, err := partial.CompressedToImage(&storedImage{s, f})
	if err != nil {
		return "", err
	}
	to, err := r.remote(o.Insecure)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrReference, err)
	}
	c := connect(o.Insecure)
	defer c.close()
	updates, shown := make(chan v1.Update, 16), make(chan struct{})
	go func() {
		defer close(shown)
		for u := range updates {
			if o.Progress != nil && u.Error == nil {
				o.Progress("push "+r.Familiar(), u.Complete, u.Total)
			}
		}
	}()
	options := slices.Concat(c.options, []remote.Option{remote.WithContext(ctx), remote.WithProgress(updates)})
	err = remote.Write(to, img, options...)
	<-shown // Write has closed the channel
	return f.descriptor.Digest, err
}

// A storedImage is an image of the store as the registry client takes it. See partial.CompressedImageCore.
type storedImage struct {
	s *Store
	f *imageFiles
}

func (i *storedImage) RawConfigFile() ([]byte, error) { return i.f.rawConfig, nil }
func (i *storedImage) MediaType() (types.MediaType, error) {
	return types.MediaType(i.f.manifest.MediaType), nil
}
func (i *storedImage) RawManifest() ([]byte, error) { return i.s.readBlob(i.f.descriptor) }

func (i *storedImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for n, l := range i.f.manifest.Layers {
		if l.Digest.String() == h.String() {
			return &storedLayer{i.s, l, i.f.config.RootFS.DiffIDs[n]}, nil
		}
	}
	if c := i.f.manifest.Config; c.Digest.String() == h.String() {
		return &storedLayer{i.s, c, c.Digest}, nil
	}
	return nil, fmt.Errorf("%s: %w", h, ErrMissing)
}

// storedLayer is a blob of the store. See partial.CompressedLayer.
type storedLayer struct {
	s      *Store
	d      ocispec.Descriptor
	diffID digest.Digest
}

func (l *storedLayer) Digest() (v1.Hash, error) { return v1.NewHash(l.d.Digest.String()) }
func (l *storedLayer) DiffID() (v1.Hash, error) { return v1.NewHash(l.diffID.String()) }
func (l *storedLayer) Size() (int64, error)     { return l.d.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.d.MediaType), nil
}

// Compressed gives the blob, and fails at its end if it is not what it should be.
func (l *storedLayer) Compressed() (io.ReadCloser, error) {
	f, err := l.s.openBlob(l.d)
	if err != nil {
		return nil, err
	}
	return &verifiedFile{newVerifier(f, l.d.Digest, l.d.Size), f}, nil
}

type verifiedFile struct {
	*verifier
	io.Closer
}

func (v *verifiedFile) Read(p []byte) (int, error) {
	n, err := v.verifier.Read(p)
	if errors.Is(err, io.EOF) {
		if e := v.check(); e != nil {
			return n, e
		}
	}
	return n, err
}
