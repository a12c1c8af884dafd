package image

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ParsePlatform reads os/architecture[/variant], such as linux/arm64/v8, or an architecture alone.
func ParsePlatform(s string) (ocispec.Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 1 {
		parts = []string{"linux", s}
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	odd := strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
	if odd || len(parts) > 3 || p.OS == "" || p.Architecture == "" {
		return p, fmt.Errorf("image: platform %.100q: want one such as linux/arm64", s)
	}
	return p, nil
}

// FormatPlatform is the inverse of ParsePlatform.
func FormatPlatform(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

func platformOr(p *ocispec.Platform) ocispec.Platform {
	if p != nil {
		return *p
	}
	return ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

// runs tells whether what is for platform have runs where want is asked for. Variants of arm64 are one, and amd64's
// have to be asked for, as the machine may not have them.
func runs(have, want ocispec.Platform) bool {
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return false
	}
	normal := map[string]string{"amd64": "v1", "arm64": "v8"}[want.Architecture]
	return either(have.Variant, normal) == either(want.Variant, normal) || want.Variant == "" && normal == ""
}

func either(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// maxNested bounds indexes inside indexes, and maxManifests what an index may list.
const (
	maxNested    = 4
	maxManifests = 1000
)

// choose gives the manifest for a platform among those that an index lists, in the order of the index. open gives the
// bytes of an index that the index lists. Attestations and the like are there for "unknown" platforms.
func choose(index ocispec.Index, want ocispec.Platform, open func(ocispec.Descriptor) ([]byte, error)) (
	ocispec.Descriptor, error,
) {
	var offers []string
	seen := map[digest.Digest]bool{}
	var search func(index ocispec.Index, depth int) (*ocispec.Descriptor, error)
	search = func(index ocispec.Index, depth int) (*ocispec.Descriptor, error) {
		if depth > maxNested {
			return nil, fmt.Errorf("indexes nested deeper than %d: %w", maxNested, ErrFormat)
		}
		for _, d := range index.Manifests {
			if err := checkDigest(d.Digest); err != nil {
				return nil, err
			}
			if seen[d.Digest] {
				continue // a digest cannot have itself in it, but an index can have one twice
			}
			if seen[d.Digest] = true; len(seen) > maxManifests {
				return nil, fmt.Errorf("an index of more than %d manifests: %w", maxManifests, ErrTooLarge)
			}
			if d.Platform != nil {
				if d.Platform.OS != "unknown" {
					offers = append(offers, FormatPlatform(*d.Platform))
				}
				if !runs(*d.Platform, want) {
					continue
				}
			}
			switch {
			case isManifest(d.MediaType) && d.Platform != nil:
				return &d, nil
			case isIndex(d.MediaType):
				data, err := open(d)
				if err != nil {
					return nil, fmt.Errorf("index %s: %w", d.Digest, err)
				}
				inner, err := parseIndex(data, d.MediaType)
				if err != nil {
					return nil, fmt.Errorf("index %s: %w", d.Digest, err)
				}
				if found, err := search(inner, depth+1); found != nil || err != nil {
					return found, err
				}
			}
		}
		return nil, nil
	}
	found, err := search(index, 1)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if found == nil {
		// One manifest that says nothing of a platform is what there is.
		if len(index.Manifests) == 1 && isManifest(index.Manifests[0].MediaType) && index.Manifests[0].Platform == nil {
			return index.Manifests[0], nil
		}
		return ocispec.Descriptor{}, fmt.Errorf("nothing for %s, only for %s: %w",
			FormatPlatform(want), either(strings.Join(offers, ", "), "nobody"), ErrNotFound)
	}
	return *found, nil
}

func parseIndex(data []byte, claimed string) (ocispec.Index, error) {
	var index ocispec.Index
	mediaType, err := mediaTypeOf(data, claimed)
	if err != nil {
		return index, err
	}
	if !isIndex(mediaType) {
		return index, fmt.Errorf("a manifest, and not an index: %w", ErrFormat)
	}
	return index, unmarshal(data, &index)
}
