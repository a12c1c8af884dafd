package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's names for what the OCI image specification took over (its media-types.md, "Compatibility Matrix").
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerLayerZstd    = "application/vnd.docker.image.rootfs.diff.tar.zstd"
)

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerManifestList
}

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

var layerTypes = []string{
	ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
	dockerLayer, dockerLayerGzip, dockerLayerZstd,
}

// document is what manifests and indexes have in common, to tell one from the other.
type document struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Config        json.RawMessage `json:"config"`
	Layers        json.RawMessage `json:"layers"`
	Manifests     json.RawMessage `json:"manifests"`
	FSLayers      json.RawMessage `json:"fsLayers"` // of Docker's first schema
}

// mediaTypeOf tells whether data is a manifest or an index. A document that can be taken for either means one thing to
// a scanner and another to a runtime (CVE-2021-41190), and is refused.
func mediaTypeOf(data []byte, claimed string) (string, error) {
	var d document
	if err := unmarshal(data, &d); err != nil {
		return "", err
	}
	switch {
	case d.SchemaVersion == 1 || d.FSLayers != nil:
		return "", fmt.Errorf("manifest of schema 1, which docker wrote until 2016: %w", ErrFormat)
	case d.SchemaVersion != 2:
		return "", fmt.Errorf("schema version %d, want 2: %w", d.SchemaVersion, ErrFormat)
	case d.Manifests != nil && (d.Config != nil || d.Layers != nil):
		return "", fmt.Errorf("both a manifest and an index: %w", ErrFormat)
	}
	says := d.MediaType
	if says == "" {
		says = claimed
	}
	switch {
	case d.Manifests != nil && (says == "" || isIndex(says)):
		if says == "" {
			says = ocispec.MediaTypeImageIndex
		}
	case d.Manifests == nil && (says == "" || isManifest(says)):
		if says == "" {
			says = ocispec.MediaTypeImageManifest
		}
	default:
		return "", fmt.Errorf("media type %.100q: %w", says, ErrFormat)
	}
	if (isIndex(claimed) || isManifest(claimed)) && claimed != says {
		return "", fmt.Errorf("media type %q, and %q was announced: %w", says, claimed, ErrFormat)
	}
	return says, nil
}

// unmarshal reads one JSON document that is all of data.
func unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: more follows the JSON document", ErrFormat)
	}
	return nil
}

// parseManifest reads a manifest and refuses what cannot be unpacked.
func (s *Store) parseManifest(data []byte, claimed string) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	mediaType, err := mediaTypeOf(data, claimed)
	if err != nil {
		return m, err
	}
	if !isManifest(mediaType) {
		return m, fmt.Errorf("an index, and not a manifest: %w", ErrFormat)
	}
	if err := unmarshal(data, &m); err != nil {
		return m, err
	}
	m.MediaType = mediaType
	if t := m.Config.MediaType; t != ocispec.MediaTypeImageConfig && t != dockerConfig {
		return m, fmt.Errorf("an artifact with a configuration of type %.100q: %w", t, ErrFormat)
	}
	if len(m.Layers) > s.limits.Layers {
		return m, fmt.Errorf("%d layers, at most %d are allowed: %w", len(m.Layers), s.limits.Layers, ErrTooLarge)
	}
	if err := s.checkDescriptor(m.Config); err != nil {
		return m, fmt.Errorf("configuration: %w", err)
	}
	for i, l := range m.Layers {
		if err := s.checkLayer(l); err != nil {
			return m, fmt.Errorf("layer %d of %d: %w", i+1, len(m.Layers), err)
		}
	}
	return m, nil
}

func (s *Store) checkDescriptor(d ocispec.Descriptor) error {
	if err := checkDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 {
		return fmt.Errorf("size %d: %w", d.Size, ErrFormat)
	}
	if d.Size > s.limits.BlobBytes {
		return fmt.Errorf("%s has %d bytes, at most %d are allowed: %w",
			d.Digest, d.Size, s.limits.BlobBytes, ErrTooLarge)
	}
	return nil
}

func (s *Store) checkLayer(d ocispec.Descriptor) error {
	switch t := d.MediaType; {
	case slices.Contains(layerTypes, t):
	case strings.Contains(t, "nondistributable") || strings.Contains(t, "foreign"):
		return fmt.Errorf("not to be distributed with the image (%.100q), so it cannot be had: %w", t, ErrFormat)
	default:
		return fmt.Errorf("of type %.100q: %w", t, ErrFormat)
	}
	if len(d.URLs) > 0 {
		return fmt.Errorf("to be fetched from %.100q, a place that its maker chose: %w", d.URLs[0], ErrFormat)
	}
	return s.checkDescriptor(d)
}

// parseConfig reads a configuration and refuses one that does not fit the manifest.
func parseConfig(data []byte, m ocispec.Manifest) (ocispec.Image, error) {
	var c ocispec.Image
	if err := unmarshal(data, &c); err != nil {
		return c, err
	}
	if c.RootFS.Type != "layers" && (c.RootFS.Type != "" || len(m.Layers) > 0) {
		return c, fmt.Errorf("root file system of type %.100q: %w", c.RootFS.Type, ErrFormat)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return c, fmt.Errorf("%d layers in the manifest, %d in the configuration: %w",
			len(m.Layers), len(c.RootFS.DiffIDs), ErrFormat)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := checkDigest(d); err != nil {
			return c, err
		}
	}
	if c.OS != "" && c.OS != "linux" {
		return c, fmt.Errorf("an image for %.100q: %w", c.OS, ErrFormat)
	}
	return c, nil
}

// An imageFiles is an image's documents, checked.
type imageFiles struct {
	descriptor ocispec.Descriptor // of the manifest
	manifest   ocispec.Manifest
	config     ocispec.Image
	rawConfig  []byte
}

// load reads an image's manifest and configuration from the store.
func (s *Store) load(d ocispec.Descriptor) (*imageFiles, error) {
	f := &imageFiles{descriptor: d}
	data, err := s.readBlob(d)
	if err == nil {
		f.manifest, err = s.parseManifest(data, d.MediaType)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	f.rawConfig, err = s.readBlob(f.manifest.Config)
	if err == nil {
		f.config, err = parseConfig(f.rawConfig, f.manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", f.manifest.Config.Digest, err)
	}
	return f, nil
}

// image gives what the store's users see of it; names and times are for the caller to add.
func (f *imageFiles) image() Image {
	i := Image{
		Names:    []string{},
		Digest:   f.descriptor.Digest,
		ID:       f.manifest.Config.Digest,
		Platform: f.config.Platform,
		Created:  f.config.Created,
		Size:     f.descriptor.Size + f.manifest.Config.Size,
		Layers:   make([]Layer, len(f.manifest.Layers)),
	}
	chains := f.chainIDs()
	made := commands(f.config.History)
	for n, l := range f.manifest.Layers {
		i.Size += l.Size
		i.Layers[n] = Layer{
			Digest: l.Digest, DiffID: f.config.RootFS.DiffIDs[n], ChainID: chains[n], MediaType: l.MediaType, Size: l.Size,
		}
		if n < len(made) {
			i.Layers[n].CreatedBy = made[n]
		}
	}
	return i
}

// chainIDs names each layer together with those below it. OCI image specification, config.md, "Layer ChainID".
func (f *imageFiles) chainIDs() []digest.Digest {
	return identity.ChainIDs(slices.Clone(f.config.RootFS.DiffIDs))
}

// commands gives those steps of a history that made a layer.
func commands(history []ocispec.History) []string {
	var made []string
	for _, h := range history {
		if !h.EmptyLayer {
			made = append(made, h.CreatedBy)
		}
	}
	return made
}
