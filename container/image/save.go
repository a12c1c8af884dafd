package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes images as one OCI archive, which docker, podman, skopeo and Import read. An image goes by the name that
// it is asked for by; with an ID, by all of its names.
func (s *Store) Save(ctx context.Context, w io.Writer, refs ...string) error {
	if err := s.save(ctx, w, refs); err != nil {
		return fmt.Errorf("image: save: %w", err)
	}
	return nil
}

func (s *Store) save(ctx context.Context, w io.Writer, refs []string) error {
	unlock, err := s.share(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	out := &archiveWriter{ctx: ctx, s: s, tar: tar.NewWriter(w), done: map[digest.Digest]bool{}}
	if err := out.bytes(layoutFile, layoutText()); err != nil {
		return err
	}
	for _, ref := range refs {
		f, image, err := s.resolve(ref)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		names := image.Names
		for _, name := range image.Names {
			if isNameOf(ref, name) {
				names = []string{name}
			}
		}
		if len(names) == 0 {
			names = []string{""}
		}
		for _, name := range names {
			d := f.descriptor
			d.Platform = &f.config.Platform
			if name != "" {
				d.Annotations = map[string]string{nameAnnotation: name, containerdName: name}
			}
			index.Manifests = append(index.Manifests, d)
		}
		for _, d := range append([]ocispec.Descriptor{f.descriptor, f.manifest.Config}, f.manifest.Layers...) {
			if err := out.blob(d); err != nil {
				return fmt.Errorf("%s: %w", ref, err)
			}
		}
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := out.bytes(indexFile, data); err != nil {
		return err
	}
	return out.tar.Close()
}

// archiveWriter writes the files of an OCI archive. They have no time, so that an image gives the same bytes each time.
type archiveWriter struct {
	ctx  context.Context
	s    *Store
	tar  *tar.Writer
	done map[digest.Digest]bool
}

func (a *archiveWriter) header(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatPAX,
	})
}

func (a *archiveWriter) bytes(name string, data []byte) error {
	if err := a.header(name, int64(len(data))); err != nil {
		return err
	}
	_, err := a.tar.Write(data)
	return err
}

// blob writes a blob of the store, verified on the way.
func (a *archiveWriter) blob(d ocispec.Descriptor) error {
	if a.done[d.Digest] {
		return nil
	}
	a.done[d.Digest] = true
	f, err := a.s.openBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := a.header(path.Join(blobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded()), d.Size); err != nil {
		return err
	}
	_, err = io.Copy(a.tar, &contextReader{a.ctx, &verifiedFile{newVerifier(f, d.Digest, d.Size), f}})
	return err
}
