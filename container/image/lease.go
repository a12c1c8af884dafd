package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/internal/pattern"
)

// A Lease keeps an image's layers from being removed, and is what it takes to mount them.
type Lease struct {
	Owner  string        `json:"owner"` // who asked for it: a container's ID
	Ref    string        `json:"ref"`   // as it was asked for
	Image  digest.Digest `json:"image"` // its manifest's
	Since  time.Time     `json:"since"`
	Lower  []string      `json:"lower"`  // the layers' folders as overlayfs takes its lower ones, topmost first
	Root   RootFolder    `json:"root"`   // what the container's root folder has to look like
	Config ocispec.Image `json:"config"` // what to run
	Health *Healthcheck  `json:"healthcheck,omitempty"`
}

// A RootFolder is how the root folder of an image looks. Overlayfs shows the root of its topmost layer, which is an
// upper folder that somebody has just made, or a layer that says nothing of its root: so whoever makes an upper folder
// gives it this mode and owner.
type RootFolder struct {
	Mode    uint32    `json:"mode"` // 07777
	UID     uint32    `json:"uid"`
	GID     uint32    `json:"gid"`
	ModTime time.Time `json:"mod_time"`
}

// leaseFile is what is on the disk: the layers by name, as a store may be moved.
type leaseFile struct {
	Lease
	Lower []string `json:"layers"`
}

const leaseSuffix = ".json"

var ownerPattern = pattern.New(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}$`)

func (s *Store) leasePath(owner string) (string, error) {
	if !ownerPattern.MatchString(owner) {
		return "", fmt.Errorf("owner %.100q: up to 200 letters, digits, dots, - and _, a letter or digit first", owner)
	}
	return filepath.Join(leasesDir, owner+leaseSuffix), nil
}

// Acquire is [Store.Layers] with a lease on them, which holds until Release, also when this process ends. An owner has
// one lease; a second one replaces the first.
func (s *Store) Acquire(ctx context.Context, owner, ref string, p Progress) (Lease, error) {
	lease, err := s.acquire(ctx, owner, ref, p)
	if err != nil {
		return Lease{}, fmt.Errorf("image: lease %s to %s: %w", ref, owner, err)
	}
	return lease, nil
}

func (s *Store) acquire(ctx context.Context, owner, ref string, p Progress) (Lease, error) {
	path, err := s.leasePath(owner)
	if err != nil {
		return Lease{}, err
	}
	unlock, err := s.share(ctx)
	if err != nil {
		return Lease{}, err
	}
	defer unlock()
	f, set, err := s.resolveAndUnpack(ctx, ref, p)
	if err != nil {
		return Lease{}, err
	}
	lease := Lease{
		Owner: owner, Ref: ref, Image: f.descriptor.Digest, Since: time.Now().UTC(),
		Lower: s.lower(set), Root: set.root(), Config: f.config,
	}
	if lease.Health, err = parseHealthcheck(f.rawConfig); err != nil {
		return Lease{}, err
	}
	data, err := json.MarshalIndent(leaseFile{lease, set.keys}, "", "  ")
	if err != nil {
		return Lease{}, err
	}
	return lease, s.writeFile(path, append(data, '\n'))
}

// Release ends the owner's lease. It is no error if there is none.
func (s *Store) Release(owner string) error {
	path, err := s.leasePath(owner)
	if err == nil {
		err = os.Remove(s.path(path))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("image: release the lease of %s: %w", owner, err)
	}
	return nil
}

// Leases gives all of them, ordered by owner.
func (s *Store) Leases() ([]Lease, error) {
	files, err := s.leases()
	if err != nil {
		return nil, fmt.Errorf("image: list leases: %w", err)
	}
	leases := []Lease{}
	for _, f := range files {
		for i, key := range f.Lower {
			f.Lower[i] = s.layerPath(key, diffDir)
		}
		leases = append(leases, f.Lease)
	}
	return leases, nil
}

func (s *Store) leases() ([]leaseFile, error) {
	entries, err := os.ReadDir(s.path(leasesDir)) // in the order of their names
	if err != nil {
		return nil, err
	}
	var files []leaseFile
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), leaseSuffix) {
			continue
		}
		data, err := os.ReadFile(s.path(leasesDir, e.Name()))
		if errors.Is(err, os.ErrNotExist) { // released just now
			continue
		}
		if err != nil {
			return nil, err
		}
		var f leaseFile
		if err := json.Unmarshal(data, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", s.path(leasesDir, e.Name()), err)
		}
		files = append(files, f)
	}
	return files, nil
}
