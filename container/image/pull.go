package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pull gets an image from a registry, and unpacks its layers. What the store has of it is not sent again.
func (s *Store) Pull(ctx context.Context, ref string, o TransferOptions) (Image, error) {
	r, err := parseReference(ref)
	if err != nil {
		return Image{}, fmt.Errorf("image: pull %w", err)
	}
	images, err := s.importFrom(ctx, ImportOptions{Progress: o.Progress}, func(p *progress) ([]found, error) {
		return s.pull(ctx, r, o, p)
	})
	if err != nil {
		return Image{}, fmt.Errorf("image: pull %s: %w", r.Familiar(), explain(err))
	}
	return images[0], nil
}

func (s *Store) pull(ctx context.Context, r Reference, o TransferOptions, p *progress) ([]found, error) {
	c := connect(o.Insecure)
	defer c.close()
	puller, err := remote.NewPuller(c.options...)
	if err != nil {
		return nil, err
	}
	target, err := r.remote(o.Insecure)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	p.begin("ask "+r.Registry, 0)
	top, err := puller.Get(ctx, target)
	if err != nil {
		return nil, err
	}
	if len(top.Manifest) > maxDocument {
		return nil, fmt.Errorf("a manifest of %d bytes, at most %d are read: %w", len(top.Manifest), maxDocument, ErrTooLarge)
	}
	d := ocispec.Descriptor{
		MediaType: string(top.MediaType),
		Digest:    digest.FromBytes(top.Manifest),
		Size:      int64(len(top.Manifest)),
	}
	// The client takes a registry's word for the digest of what the registry calls a manifest of schema 1.
	if r.Digest != "" && r.Digest.Algorithm().FromBytes(top.Manifest) != r.Digest {
		return nil, fmt.Errorf("manifest %s, and not %s: %w", d.Digest, r.Digest, ErrDigest)
	}
	if _, err := s.addBytes(d.MediaType, top.Manifest); err != nil {
		return nil, err
	}
	from := &origin{s: s, puller: puller, repository: target.Context(), p: p}
	image, err := s.gatherOne(ctx, d, o.Platform, from.fetch, func(m ocispec.Manifest) {
		var total int64
		for _, l := range m.Layers {
			if !s.hasBlob(l.Digest, l.Size) {
				total += l.Size
			}
		}
		p.begin("pull "+r.Familiar(), total)
	})
	if err != nil {
		return nil, err
	}
	if r.Digest != "" {
		r.Tag = "" // it says nothing beside the digest
	}
	image.names = []string{r.String()}
	return []found{image}, nil
}

// An origin is where an image's blobs come from.
type origin struct {
	s          *Store
	puller     *remote.Puller
	repository name.Repository
	p          *progress
}

// tries is how often a blob is begun anew when the connection breaks in the middle of it. Requests that fail are tried
// again by the client itself.
const tries = 3

func (r *origin) fetch(ctx context.Context, d ocispec.Descriptor) error {
	if r.s.hasBlob(d.Digest, d.Size) {
		return nil
	}
	target := r.repository.Digest(d.Digest.String())
	if isManifest(d.MediaType) || isIndex(d.MediaType) {
		m, err := r.puller.Get(ctx, target)
		if err != nil {
			return err
		}
		if digest.FromBytes(m.Manifest) != d.Digest {
			return fmt.Errorf("manifest %s: %w", d.Digest, ErrDigest)
		}
		_, err = r.s.addBytes(d.MediaType, m.Manifest)
		return err
	}
	var err error
	for range tries {
		var n int64
		if n, err = r.fetchBlob(ctx, target, d); err == nil || ctx.Err() != nil || !isBroken(err) {
			break
		}
		r.p.add(-n)
	}
	return err
}

func (r *origin) fetchBlob(ctx context.Context, target name.Digest, d ocispec.Descriptor) (n int64, err error) {
	layer, err := r.puller.Layer(ctx, target)
	if err != nil {
		return 0, err
	}
	body, err := layer.Compressed()
	if err != nil {
		return 0, err
	}
	defer body.Close()
	// More than what was announced is not worth waiting for.
	limited := io.LimitReader(body, d.Size+1)
	_, _, err = r.s.addBlob(ctx, &progressReader{limited, func(m int64) { n += m; r.p.add(m) }}, d.Digest, d.Size)
	return n, err
}

// isBroken tells whether a connection broke, which is nobody's fault.
func isBroken(err error) bool {
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &network)
}
