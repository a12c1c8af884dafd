package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/internal/pattern"
)

// List gives all images, the one added last first. One whose documents are broken or missing is there with what the
// index tells, and a Problem.
func (s *Store) List() ([]Image, error) {
	index, err := s.readIndex()
	if err != nil {
		return nil, fmt.Errorf("image: list: %w", err)
	}
	images := s.images(index)
	slices.SortStableFunc(images, func(a, b Image) int { return b.Added.Compare(a.Added) })
	return images, nil
}

// images gives one image for each manifest of the index, in its order.
func (s *Store) images(index ocispec.Index) []Image {
	at := map[digest.Digest]int{}
	images := []Image{}
	for _, d := range index.Manifests {
		i, ok := at[d.Digest]
		if !ok {
			i = len(images)
			at[d.Digest] = i
			f, err := s.load(plain(d))
			if err != nil {
				f = &imageFiles{descriptor: plain(d)}
			}
			image := f.image()
			if err != nil {
				image.Problem = err.Error()
			}
			images = append(images, image)
		}
		images[i].note(d)
	}
	return images
}

// note adds what an entry of the index says of the image.
func (i *Image) note(e ocispec.Descriptor) {
	if name := e.Annotations[nameAnnotation]; name != "" {
		i.Names = append(i.Names, name)
	}
	i.Source = cmp.Or(i.Source, digest.Digest(e.Annotations[sourceAnnotation]))
	added, err := time.Parse(time.RFC3339Nano, e.Annotations[addedAnnotation])
	if err == nil && added.After(i.Added) {
		i.Added = added
	}
}

// plain is a descriptor without what the index says besides.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// Resolve gives the image that is meant by a name (alpine, alpine:3.22, host:5000/a/b@sha256:...), by the digest of
// its manifest or configuration, or by the first hexadecimal digits of either, four at least.
func (s *Store) Resolve(ref string) (Image, error) {
	f, image, err := s.resolve(ref)
	if err != nil {
		return Image{}, fmt.Errorf("image: %s: %w", ref, err)
	}
	merged := f.image()
	merged.Names, merged.Source, merged.Added = image.Names, image.Source, image.Added
	return merged, nil
}

// Config gives the configuration of an image: its command, environment, user and so on.
func (s *Store) Config(ref string) (ocispec.Image, error) {
	f, _, err := s.resolve(ref)
	if err != nil {
		return ocispec.Image{}, fmt.Errorf("image: %s: %w", ref, err)
	}
	return f.config, nil
}

// Layers gives the folders of an image's layers as overlayfs takes its lower ones, topmost first, and unpacks those
// that are not. Nothing keeps them from being removed: see [Store.Acquire].
func (s *Store) Layers(ctx context.Context, ref string, p Progress) (lower []string, config ocispec.Image, err error) {
	unlock, err := s.share(ctx)
	if err == nil {
		defer unlock()
		var f *imageFiles
		var set layerSet
		if f, set, err = s.resolveAndUnpack(ctx, ref, p); err == nil {
			return s.lower(set), f.config, nil
		}
	}
	return nil, config, fmt.Errorf("image: layers of %s: %w", ref, err)
}

func (s *Store) resolveAndUnpack(ctx context.Context, ref string, tell Progress) (*imageFiles, layerSet, error) {
	f, _, err := s.resolve(ref)
	if err != nil {
		return nil, layerSet{}, err
	}
	p := newProgress(tell)
	p.begin("unpack "+ref, f.layerBytes())
	set, err := s.ensure(ctx, f, p)
	return f, set, err
}

// layerBytes is the size of all layers' blobs.
func (f *imageFiles) layerBytes() int64 {
	var n int64
	for _, l := range f.manifest.Layers {
		n += l.Size
	}
	return n
}

// resolve finds an image, and reads it.
func (s *Store) resolve(ref string) (*imageFiles, Image, error) {
	index, err := s.readIndex()
	if err != nil {
		return nil, Image{}, err
	}
	d, err := s.find(index, ref)
	if err != nil {
		return nil, Image{}, err
	}
	f, err := s.load(plain(d))
	if err != nil {
		return nil, Image{}, err
	}
	// What the entries of this one manifest tell.
	image := Image{Names: []string{}}
	for _, e := range index.Manifests {
		if e.Digest == d.Digest {
			image.note(e)
		}
	}
	return f, image, nil
}

var hexPattern = pattern.New(`^(sha256:|sha512:)?[0-9a-f]{4,128}$`)

// find gives the entry of the index that ref means. A name goes before an ID, as with docker.
func (s *Store) find(index ocispec.Index, ref string) (ocispec.Descriptor, error) {
	if !idPattern.MatchString(ref) && !strings.HasPrefix(ref, "sha256:") && !strings.HasPrefix(ref, "sha512:") {
		r, err := parseReference(ref)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if d, ok := findName(index, r); ok {
			return d, nil
		}
	}
	if !hexPattern.MatchString(ref) {
		return ocispec.Descriptor{}, ErrNotFound
	}
	return s.findID(index, ref)
}

func findName(index ocispec.Index, r Reference) (ocispec.Descriptor, bool) {
	names := []Reference{r}
	if local, ok := r.local(); ok {
		names = append(names, local)
	}
	for _, want := range names {
		for _, d := range index.Manifests {
			name := d.Annotations[nameAnnotation]
			if want.Digest == "" {
				if name == want.String() {
					return d, true
				}
				continue
			}
			if d.Digest != want.Digest && d.Annotations[sourceAnnotation] != want.Digest.String() {
				continue
			}
			if have, err := parseReference(name); err == nil && have.Name() == want.Name() {
				return d, true
			}
		}
	}
	return ocispec.Descriptor{}, false
}

// findID finds the image whose manifest, or else whose configuration, has a digest that begins so.
func (s *Store) findID(index ocispec.Index, prefix string) (ocispec.Descriptor, error) {
	begins := func(d digest.Digest) bool {
		return strings.HasPrefix(d.String(), prefix) || strings.HasPrefix(d.Encoded(), prefix)
	}
	found := map[digest.Digest]ocispec.Descriptor{}
	for _, d := range index.Manifests {
		if begins(d.Digest) {
			found[d.Digest] = d
		} else if f, err := s.load(plain(d)); err == nil && begins(f.manifest.Config.Digest) {
			found[d.Digest] = d
		}
	}
	switch len(found) {
	case 0:
		return ocispec.Descriptor{}, ErrNotFound
	case 1:
		for _, d := range found {
			return d, nil
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w: %d begin so", ErrAmbiguous, len(found))
}

// Tag gives an image one more name. An image that had the name loses it.
func (s *Store) Tag(ref, name string) error {
	err := s.tag(ref, name)
	if err != nil {
		return fmt.Errorf("image: tag %s as %s: %w", ref, name, err)
	}
	return nil
}

func (s *Store) tag(ref, name string) error {
	r, err := parseReference(name)
	if err != nil {
		return err
	}
	if r.Digest != "" {
		return fmt.Errorf("%w: a digest is no name that can be given", ErrReference)
	}
	return s.changeIndex(func(index *ocispec.Index) error {
		d, err := s.find(*index, ref)
		if err != nil {
			return err
		}
		if _, err := s.load(plain(d)); err != nil {
			return err
		}
		addToIndex(index, d, r.String(), d.Annotations[sourceAnnotation], time.Now())
		return nil
	})
}
