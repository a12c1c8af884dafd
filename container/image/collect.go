package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Usage is disk space in bytes.
type Usage struct {
	Images   int   `json:"images"`
	Layers   int   `json:"layers"`   // unpacked ones
	Blobs    int64 `json:"blobs"`    // manifests, configurations and layers, as they came
	Unpacked int64 `json:"unpacked"` // the layers' files
	Garbage  int64 `json:"garbage"`  // what Prune would remove of either
}

// Usage tells what the store takes of the disk.
func (s *Store) Usage() (Usage, error) {
	u, err := s.usage()
	if err != nil {
		return u, fmt.Errorf("image: usage: %w", err)
	}
	return u, nil
}

func (s *Store) usage() (Usage, error) {
	var u Usage
	index, err := s.readIndex()
	if err != nil {
		return u, err
	}
	u.Images = len(s.images(index))
	live, err := s.mark()
	if err != nil {
		return u, err
	}
	err = s.eachBlob(func(d digest.Digest, path string, size int64) error {
		u.Blobs += size
		if !live.blobs[d] {
			u.Garbage += size
		}
		return nil
	})
	if err != nil {
		return u, err
	}
	err = s.eachLayer(func(key string) error {
		size := s.layerSize(key)
		u.Layers++
		u.Unpacked += size
		if !live.layers[key] {
			u.Garbage += size
		}
		return nil
	})
	return u, err
}

// marked is what has to stay.
type marked struct {
	blobs  map[digest.Digest]bool
	layers map[string]bool
}

// mark finds what images and leases need. Of an image that is broken, what can be found; but one that cannot be read just
// now is not broken. Of those that are to go, it is their blobs: layers can be unpacked anew.
func (s *Store) mark(going ...digest.Digest) (marked, error) {
	m := marked{blobs: map[digest.Digest]bool{}, layers: map[string]bool{}}
	index, err := s.readIndex()
	if err != nil {
		return m, err
	}
	for _, d := range index.Manifests {
		m.blobs[d.Digest] = true
		m.blobs[digest.Digest(d.Annotations[sourceAnnotation])] = true
		f, err := s.load(plain(d))
		if isFaulty(err) {
			continue
		}
		if err != nil {
			return m, err
		}
		m.blobs[f.manifest.Config.Digest] = true
		chains := f.chainIDs()
		for i, l := range f.manifest.Layers {
			m.blobs[l.Digest] = true
			if slices.Contains(going, d.Digest) {
				continue
			}
			// One that was unpacked for this chain is in the place of the other.
			if _, err := os.Stat(s.layerPath(key(chains[i]))); err == nil {
				m.layers[key(chains[i])] = true
			} else {
				m.layers[key(f.config.RootFS.DiffIDs[i])] = true
			}
		}
	}
	leases, err := s.leases()
	if err != nil {
		return m, err
	}
	for _, l := range leases {
		for _, key := range l.Lower {
			m.layers[key] = true
		}
	}
	return m, nil
}

// isFaulty tells that the fault is in an image's documents, or that they are not there.
func isFaulty(err error) bool {
	for _, fault := range []error{ErrFormat, ErrDigest, ErrMissing, ErrTooLarge} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// collect removes what nothing refers to, and what a process that died has left; and of images that are to go, the
// unpacked layers. It fails with errLocked if somebody is adding or using content just now.
func (s *Store) collect(going ...digest.Digest) (freed int64, err error) {
	unlock, err := s.tryLock(contentLock)
	if err != nil {
		return 0, err
	}
	defer unlock()
	live, err := s.mark(going...)
	if err != nil {
		return 0, err
	}
	err = s.eachLayer(func(key string) error {
		if live.layers[key] {
			return nil
		}
		freed += s.layerSize(key)
		// A layer has a name as long as all of it is there. A process that was killed may have left some of an older one.
		dead := s.layerPath(tempPrefix + key)
		if err := s.removeTree(dead); err != nil {
			return err
		}
		if err := os.Rename(s.layerPath(key), dead); err != nil {
			return err
		}
		return s.removeTree(dead)
	})
	if err != nil {
		return freed, err
	}
	err = s.eachBlob(func(d digest.Digest, path string, size int64) error {
		if live.blobs[d] {
			return nil
		}
		freed += size
		return os.Remove(path)
	})
	if err != nil {
		return freed, err
	}
	return freed, s.sweep()
}

// sweep removes temporary files and locks. The caller has the content to itself, and sweep the index, so that nobody
// uses them.
func (s *Store) sweep() error {
	unlock, err := s.lock(context.Background(), indexLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	layers, err := os.ReadDir(s.path(layersDir))
	if err != nil {
		return err
	}
	for _, e := range layers {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := s.removeTree(s.layerPath(e.Name())); err != nil {
				return err
			}
		}
	}
	for _, dir := range []string{tempDir, locksDir} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if dir == locksDir && (e.Name() == contentLock || e.Name() == indexLock) {
				continue
			}
			if err := os.RemoveAll(s.path(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachBlob calls f with every blob.
func (s *Store) eachBlob(f func(d digest.Digest, path string, size int64) error) error {
	algorithms, err := os.ReadDir(s.path(blobsDir))
	if err != nil {
		return err
	}
	for _, a := range algorithms {
		blobs, err := os.ReadDir(s.path(blobsDir, a.Name()))
		if err != nil {
			return err
		}
		for _, b := range blobs {
			d := digest.NewDigestFromEncoded(digest.Algorithm(a.Name()), b.Name())
			info, err := b.Info()
			if errors.Is(err, os.ErrNotExist) || d.Validate() != nil {
				continue // removed just now, or nothing of ours
			}
			if err != nil {
				return err
			}
			if err := f(d, filepath.Join(s.path(blobsDir, a.Name()), b.Name()), info.Size()); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachLayer calls f with every unpacked layer.
func (s *Store) eachLayer(f func(key string) error) error {
	entries, err := os.ReadDir(s.path(layersDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			if err := f(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// layerSize is the disk space of an unpacked layer as its record tells.
func (s *Store) layerSize(key string) int64 {
	r, err := s.anyRecord(key)
	if err != nil {
		return 0
	}
	return r.Disk
}
