package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// What an entry of the index says besides the manifest's digest. The name is in the place that the image layout has
// for it, in full, so that other tools that read layouts find it.
const (
	nameAnnotation   = ocispec.AnnotationRefName
	sourceAnnotation = "tandem.source" // digest of the index that the manifest was chosen from
	addedAnnotation  = "tandem.added"  // RFC 3339
)

// readIndex gives the index as it is now. It needs no lock: the file is replaced in one step.
func (s *Store) readIndex() (ocispec.Index, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	data, err := os.ReadFile(s.path(indexFile))
	if errors.Is(err, os.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, err
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return index, fmt.Errorf("%s: %w", s.path(indexFile), err)
	}
	for _, d := range index.Manifests {
		if err := checkDigest(d.Digest); err != nil {
			return index, fmt.Errorf("%s: %w", s.path(indexFile), err)
		}
	}
	return index, nil
}

// changeIndex lets f change the index, and writes it. Nothing is written if f fails.
func (s *Store) changeIndex(f func(*ocispec.Index) error) error {
	unlock, err := s.lock(context.Background(), indexLock, unix.LOCK_EX) // held for moments
	if err != nil {
		return err
	}
	defer unlock()
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	if err := f(&index); err != nil {
		return err
	}
	if index.Manifests == nil {
		index.Manifests = []ocispec.Descriptor{} // image-index.md wants the field
	}
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	return s.writeFile(indexFile, append(data, '\n'))
}

// addToIndex names a manifest, in the place of what had the name, or adds it without one. The image that loses its last
// name stays, until it is pruned.
func addToIndex(index *ocispec.Index, d ocispec.Descriptor, name, source string, now time.Time) {
	entry := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform}
	entry.Annotations = map[string]string{addedAnnotation: now.UTC().Format(time.RFC3339Nano)}
	if source != "" {
		entry.Annotations[sourceAnnotation] = source
	}
	if name == "" {
		if !hasManifest(index, d) {
			index.Manifests = append(index.Manifests, entry)
		}
		return
	}
	entry.Annotations[nameAnnotation] = name
	removeName(index, name)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(e ocispec.Descriptor) bool {
		return e.Digest == d.Digest && e.Annotations[nameAnnotation] == "" // it has a name now
	})
	index.Manifests = append(index.Manifests, entry)
}

// removeName takes a name away and tells whether it was there. The manifest keeps an entry.
func removeName(index *ocispec.Index, name string) bool {
	has := func(e ocispec.Descriptor) bool { return e.Annotations[nameAnnotation] == name }
	i := slices.IndexFunc(index.Manifests, has)
	if i < 0 {
		return false
	}
	e := index.Manifests[i]
	index.Manifests = slices.Delete(index.Manifests, i, i+1)
	if !hasManifest(index, e) {
		delete(e.Annotations, nameAnnotation)
		index.Manifests = append(index.Manifests, e)
	}
	return true
}

func hasManifest(index *ocispec.Index, d ocispec.Descriptor) bool {
	return slices.ContainsFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == d.Digest })
}
