package image

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Removed tells what Remove and Prune took away.
type Removed struct {
	Names  []string        `json:"names"`  // of images
	Images []digest.Digest `json:"images"` // manifests that no name is left for
	Bytes  int64           `json:"bytes"`  // of disk space, blobs and unpacked layers
	Kept   bool            `json:"kept"`   // somebody is adding to the store, so that no content could be removed
}

// Remove takes the name ref away, or all names of the image if ref is no name, and then what no image needs any more.
// It refuses with [ErrInUse] if the image loses its last name while it is leased, unless force is set; leased layers
// stay until they are released, even then.
func (s *Store) Remove(ref string, force bool) (Removed, error) {
	r, err := s.remove(func(index *ocispec.Index, leased leasedBy) ([]ocispec.Descriptor, error) {
		d, err := s.find(*index, ref)
		if err != nil {
			return nil, err
		}
		other := func(e ocispec.Descriptor) bool { return e.Digest != d.Digest }
		entries := slices.DeleteFunc(slices.Clone(index.Manifests), other)
		named := d.Annotations[nameAnnotation]
		if named != "" && len(entries) > 1 && isNameOf(ref, named) {
			return []ocispec.Descriptor{d}, nil
		}
		if owners := leased(d.Digest); len(owners) > 0 && !force {
			return nil, fmt.Errorf("%w by %s", ErrInUse, owners[0])
		}
		return entries, nil
	})
	if err != nil {
		return r, fmt.Errorf("image: remove %s: %w", ref, err)
	}
	return r, nil
}

// isNameOf tells whether a reference means an image by this name, and not by a digest.
func isNameOf(ref, name string) bool {
	r, err := parseReference(ref)
	if err != nil || r.Digest != "" {
		return false
	}
	local, ok := r.local()
	return name == r.String() || ok && name == local.String()
}

// Prune removes what no named or leased image needs; with all, also images that nobody leases.
func (s *Store) Prune(all bool) (Removed, error) {
	r, err := s.remove(func(index *ocispec.Index, leased leasedBy) ([]ocispec.Descriptor, error) {
		return slices.DeleteFunc(slices.Clone(index.Manifests), func(e ocispec.Descriptor) bool {
			return len(leased(e.Digest)) > 0 || !all && e.Annotations[nameAnnotation] != ""
		}), nil
	})
	if err != nil {
		return r, fmt.Errorf("image: prune: %w", err)
	}
	return r, nil
}

// leasedBy gives the owners of an image's leases.
type leasedBy func(digest.Digest) []string

// remove takes those entries out of the index that choose gives, and then what nothing refers to.
func (s *Store) remove(choose func(*ocispec.Index, leasedBy) ([]ocispec.Descriptor, error)) (Removed, error) {
	var r Removed
	change := func(index *ocispec.Index) error {
		r = Removed{Names: []string{}, Images: []digest.Digest{}}
		leases, err := s.leases()
		if err != nil {
			return err
		}
		leased := func(d digest.Digest) (owners []string) {
			for _, l := range leases {
				if l.Image == d {
					owners = append(owners, l.Owner)
				}
			}
			return owners
		}
		gone, err := choose(index, leased)
		if err != nil {
			return err
		}
		for _, d := range gone {
			name := d.Annotations[nameAnnotation]
			if name != "" {
				r.Names = append(r.Names, name)
			}
			index.Manifests = slices.DeleteFunc(index.Manifests, func(e ocispec.Descriptor) bool {
				return e.Digest == d.Digest && e.Annotations[nameAnnotation] == name
			})
		}
		for _, d := range gone {
			if !hasManifest(index, d) && !slices.Contains(r.Images, d.Digest) {
				r.Images = append(r.Images, d.Digest)
			}
		}
		return nil
	}
	err := s.changeIndex(change)
	var made int64
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		// The new index needs a little room, and who removes images wants to make some. Layers can go before: they are
		// unpacked anew if the image is to stay after all.
		if n, e := s.collect(r.Images...); e == nil {
			made, err = n, s.changeIndex(change)
		}
	}
	if err != nil {
		return r, err
	}
	r.Bytes, err = s.collect()
	r.Bytes += made
	if errors.Is(err, errLocked) {
		r.Kept = true
		return r, nil
	}
	return r, err
}
