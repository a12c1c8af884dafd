package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"tandem/container/image/compress"
)

// containerdName is where containerd, and Docker on top of it, put the full name of an image.
const containerdName = "io.containerd.image.name"

// A fetcher brings a blob into the store, verified.
type fetcher func(ctx context.Context, d ocispec.Descriptor) error

// gather brings the images that an index lists into the store: of each name the one for the platform.
func (s *Store) gather(ctx context.Context, index ocispec.Index, o ImportOptions, fetch fetcher) ([]found, error) {
	var names []string
	groups := map[string][]ocispec.Descriptor{}
	for _, d := range index.Manifests {
		if d.Annotations["vnd.docker.reference.type"] != "" { // an attestation of another manifest
			continue
		}
		if err := s.checkDescriptor(d); err != nil {
			return nil, err
		}
		name, err := nameOf(d)
		if err != nil {
			return nil, err
		}
		if _, ok := groups[name]; !ok {
			names = append(names, name)
		}
		groups[name] = append(groups[name], d)
	}
	if len(index.Manifests) > maxManifests {
		return nil, fmt.Errorf("an index of more than %d manifests: %w", maxManifests, ErrTooLarge)
	}
	var all []found
	for _, name := range names {
		group := groups[name]
		// Several manifests for several platforms are one image; those without platforms are as many.
		if len(group) > 1 && !slices.ContainsFunc(group, func(d ocispec.Descriptor) bool { return d.Platform == nil }) {
			d, err := s.chooseFrom(ctx, ocispec.Index{Manifests: group}, o.Platform, fetch)
			if err != nil {
				return nil, err
			}
			group = []ocispec.Descriptor{d}
		}
		for _, d := range group {
			image, err := s.gatherOne(ctx, d, o.Platform, fetch, nil)
			if err != nil {
				return nil, err
			}
			if name != "" {
				image.names = []string{name}
			}
			all = append(all, image)
		}
	}
	return all, nil
}

// nameOf gives the full name that an index has for a manifest. The layout specification lets a reference name be
// anything; a tag alone, which skopeo and buildah write, names nothing.
func nameOf(d ocispec.Descriptor) (string, error) {
	name := d.Annotations[containerdName]
	if ref := d.Annotations[ocispec.AnnotationRefName]; name == "" && strings.ContainsAny(ref, "/:") {
		name = ref
	}
	if name == "" {
		return "", nil
	}
	r, err := parseReference(name)
	if err != nil {
		return "", err
	}
	r.Digest = ""
	if r.Tag == "" {
		return "", nil
	}
	return r.String(), nil
}

// gatherOne brings one image into the store. What it is given may be an index.
// layersNext, which may be nil, is called before the layers are fetched.
func (s *Store) gatherOne(ctx context.Context, d ocispec.Descriptor, platform *ocispec.Platform, fetch fetcher,
	layersNext func(ocispec.Manifest),
) (found, error) {
	data, err := s.fetchDocument(ctx, d, fetch)
	if err != nil {
		return found{}, err
	}
	mediaType, err := mediaTypeOf(data, d.MediaType)
	if err != nil {
		return found{}, fmt.Errorf("%s: %w", d.Digest, err)
	}
	image := found{}
	if isIndex(mediaType) {
		index, err := parseIndex(data, mediaType)
		if err != nil {
			return found{}, fmt.Errorf("index %s: %w", d.Digest, err)
		}
		image.source = d.Digest.String()
		if d, err = s.chooseFrom(ctx, index, platform, fetch); err != nil {
			return found{}, fmt.Errorf("index %s: %w", image.source, err)
		}
		if data, err = s.fetchDocument(ctx, d, fetch); err != nil {
			return found{}, err
		}
		mediaType = d.MediaType
	}
	m, err := s.parseManifest(data, mediaType)
	if err != nil {
		return found{}, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	image.descriptor = ocispec.Descriptor{MediaType: m.MediaType, Digest: d.Digest, Size: d.Size}
	config, err := s.fetchDocument(ctx, m.Config, fetch)
	if err == nil {
		_, err = parseConfig(config, m)
	}
	if err != nil {
		return found{}, fmt.Errorf("configuration %s: %w", m.Config.Digest, err)
	}
	if layersNext != nil {
		layersNext(m)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxFetches)
	for i, l := range m.Layers {
		group.Go(func() error {
			if err := fetch(ctx, l); err != nil {
				return fmt.Errorf("layer %d of %d: %w", i+1, len(m.Layers), err)
			}
			return nil
		})
	}
	return image, group.Wait()
}

// maxFetches is how many layers come at the same time, as with docker.
const maxFetches = 3

func (s *Store) chooseFrom(ctx context.Context, index ocispec.Index, platform *ocispec.Platform, fetch fetcher) (
	ocispec.Descriptor, error,
) {
	open := func(d ocispec.Descriptor) ([]byte, error) { return s.fetchDocument(ctx, d, fetch) }
	d, err := choose(index, platformOr(platform), open)
	if err != nil {
		return d, err
	}
	return d, s.checkDescriptor(d)
}

// fetchDocument brings a blob into the store and gives its bytes.
func (s *Store) fetchDocument(ctx context.Context, d ocispec.Descriptor, fetch fetcher) ([]byte, error) {
	if err := s.checkDescriptor(d); err != nil {
		return nil, err
	}
	if d.Size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read: %w", d.Digest, d.Size, maxDocument, ErrTooLarge)
	}
	if err := fetch(ctx, d); err != nil {
		return nil, err
	}
	return s.readBlob(d)
}

// dockerImage is an element of the manifest.json that docker save writes (Docker image specification v1.2, "Combined
// Image JSON + Filesystem Changeset Format").
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string // the bottom one first
}

// gatherDocker makes manifests for the images of a docker archive, which has none.
func (s *Store) gatherDocker(table []byte, a *archive) ([]found, error) {
	var list []dockerImage
	if err := unmarshal(table, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", dockerIndex, err)
	}
	var all []found
	for i, image := range list {
		f, err := s.gatherDockerImage(image, a)
		if err != nil {
			return nil, fmt.Errorf("image %d of %d: %w", i+1, len(list), err)
		}
		all = append(all, f)
	}
	return all, nil
}

func (s *Store) gatherDockerImage(image dockerImage, a *archive) (found, error) {
	if len(image.Layers) > s.limits.Layers {
		return found{}, fmt.Errorf("%d layers, at most %d are allowed: %w", len(image.Layers), s.limits.Layers, ErrTooLarge)
	}
	config, err := a.lookUp(image.Config)
	if err != nil {
		return found{}, fmt.Errorf("configuration: %w", err)
	}
	// The name is that of the content in what docker writes, and then it has to be the right one.
	sum := strings.TrimSuffix(strings.TrimPrefix(image.Config, "sha256:"), ".json")
	if hexName.MatchString(sum) && sum != config.Digest.Encoded() {
		return found{}, fmt.Errorf("configuration %.100q is %s: %w", image.Config, config.Digest, ErrDigest)
	}
	config.MediaType = ocispec.MediaTypeImageConfig
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    []ocispec.Descriptor{},
	}
	for _, name := range image.Layers {
		l, err := a.lookUp(name)
		if err == nil {
			l.MediaType, err = s.layerType(l)
		}
		if err != nil {
			return found{}, fmt.Errorf("layer %.200q: %w", name, err)
		}
		m.Layers = append(m.Layers, l)
	}
	var f found
	for _, tag := range image.RepoTags {
		r, err := parseReference(tag)
		if err != nil {
			return found{}, err
		}
		f.names = append(f.names, r.String())
	}
	if err := s.checkOrder(m); err != nil {
		return found{}, err
	}
	f.descriptor, err = s.addManifest(m)
	return f, err
}

// checkOrder holds the layers of a manifest that was put together here against its configuration. What is not
// compressed has but one digest; the two of others are compared when they are unpacked.
func (s *Store) checkOrder(m ocispec.Manifest) error {
	data, err := s.readBlob(m.Config)
	if err != nil {
		return err
	}
	config, err := parseConfig(data, m)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", m.Config.Digest, err)
	}
	for i, l := range m.Layers {
		if diffID := config.RootFS.DiffIDs[i]; l.MediaType == ocispec.MediaTypeImageLayer && l.Digest != diffID {
			return fmt.Errorf("layer %d of %d is %s, and %s in the configuration: %w",
				i+1, len(m.Layers), l.Digest, diffID, ErrDigest)
		}
	}
	return nil
}

// addManifest puts a manifest of our own into the store.
func (s *Store) addManifest(m ocispec.Manifest) (ocispec.Descriptor, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.addBytes(m.MediaType, data)
}

// layerType looks at how a blob is compressed, for its media type.
func (s *Store) layerType(d ocispec.Descriptor) (string, error) {
	f, err := s.openBlob(d)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, compress.HeadSize)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	return mediaTypeFor(compress.Detect(head[:n]))
}

func mediaTypeFor(f compress.Format) (string, error) {
	switch f {
	case compress.None:
		return ocispec.MediaTypeImageLayer, nil
	case compress.Gzip:
		return ocispec.MediaTypeImageLayerGzip, nil
	case compress.Zstd:
		return ocispec.MediaTypeImageLayerZstd, nil
	}
	return "", fmt.Errorf("a layer is not compressed by %s: %w", f, ErrFormat)
}
