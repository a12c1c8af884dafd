package image

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"tandem/container/image/layer"
)

// The files of an unpacked layer, in a folder that is named after its diff ID. A layer that leaves out folders which
// look special in the layers below needs a folder of its own for each chain of layers, named after the chain ID: it
// has to show them as they are below.
const (
	diffDir     = "diff"       // what overlayfs mounts
	recordFile  = "layer.json" // a layerRecord
	entriesFile = "entries"    // a list of layer.Entry
)

// tempPrefix begins the names of layers that are not whole yet, or any more. No digest begins with it.
const tempPrefix = ".new-"

// layerRecord is what is known of an unpacked layer.
type layerRecord struct {
	DiffID     digest.Digest `json:"diff_id"`
	Entries    int           `json:"entries"`
	Bytes      int64         `json:"bytes"` // of its files
	Disk       int64         `json:"disk"`  // that they take, about
	Implied    bool          `json:"implied,omitempty"`
	Root       *RootFolder   `json:"root,omitempty"` // if the archive has an entry for it
	RootOpaque bool          `json:"root_opaque,omitempty"`
	UserXattr  bool          `json:"user_xattr,omitempty"`
	Skipped    int           `json:"skipped,omitempty"`
	Examples   []string      `json:"examples,omitempty"` // of what was skipped
}

// key is the name of the folder.
func key(d digest.Digest) string { return d.Encoded() }

func (s *Store) layerPath(key string, parts ...string) string {
	return s.path(append([]string{layersDir, key}, parts...)...)
}

// anyRecord gives the record of a layer that is unpacked, or os.ErrNotExist.
func (s *Store) anyRecord(key string) (r layerRecord, err error) {
	data, err := os.ReadFile(s.layerPath(key, recordFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", s.layerPath(key, recordFile), err)
	}
	return r, nil
}

// readRecord is anyRecord for a layer that has to be the one with this diff ID.
func (s *Store) readRecord(key string, diffID digest.Digest) (layerRecord, error) {
	r, err := s.anyRecord(key)
	if err != nil {
		return r, err
	}
	if r.DiffID != diffID {
		return r, fmt.Errorf("%s is of %s, and not of %s: %w", s.layerPath(key), r.DiffID, diffID, ErrDigest)
	}
	if r.UserXattr != s.user {
		return r, fmt.Errorf("%s was unpacked by a user with other rights: use a store of your own", s.layerPath(key))
	}
	return r, nil
}

// layerSet is an image's layers as folders, the bottom one first.
type layerSet struct {
	keys    []string
	records []layerRecord
}

// lower gives the folders for overlayfs, topmost first. The root of an overlay is merged from all of its layers even
// if one says that its root is opaque, so those below that one are left out here. Overlayfs takes no folder twice, and
// a layer that comes again above has nothing to show below.
func (s *Store) lower(set layerSet) []string {
	lower := []string{}
	for i := len(set.keys) - 1; i >= 0; i-- {
		if dir := s.layerPath(set.keys[i], diffDir); !slices.Contains(lower, dir) {
			lower = append(lower, dir)
		}
		if set.records[i].RootOpaque {
			break
		}
	}
	return lower
}

// root gives what the root folder looks like: as the topmost layer says that says it.
func (set layerSet) root() RootFolder {
	for i := len(set.records) - 1; i >= 0; i-- {
		if r := set.records[i].Root; r != nil {
			return *r
		}
	}
	return RootFolder{Mode: layer.ImpliedMode}
}

// ensure unpacks those layers of an image that are not. The caller shares the content lock.
func (s *Store) ensure(ctx context.Context, f *imageFiles, p *progress) (layerSet, error) {
	n := len(f.manifest.Layers)
	set := layerSet{keys: make([]string, n), records: make([]layerRecord, n)}
	spent := &budget{limit: s.limits.ImageBytes}
	chains := f.chainIDs()
	var wanted []wantedLayer
	for i, l := range f.manifest.Layers {
		diffID := f.config.RootFS.DiffIDs[i]
		set.keys[i] = key(diffID)
		if i > 0 { // one that was unpacked for this chain has come out of fixImplied
			if _, err := os.Stat(s.layerPath(key(chains[i]))); err == nil {
				set.keys[i] = key(chains[i])
			}
		}
		wanted = append(wanted, wantedLayer{key: set.keys[i], blob: l, diffID: diffID, at: i})
	}
	if err := s.ensureLayers(ctx, wanted, set.records, spent, p); err != nil {
		return set, err
	}
	return set, s.fixImplied(ctx, f, &set, spent, p)
}

// fixImplied looks after the folders that a layer has no entry for and which had to be made: they would hide how the
// same folders look below. Where that differs, the layer is unpacked once more, for this chain alone. The root is not
// one of them, as hardly a layer has an entry for it: see [Lease].
func (s *Store) fixImplied(ctx context.Context, f *imageFiles, set *layerSet, spent *budget, p *progress) error {
	chains := f.chainIDs()
	for i := 1; i < len(set.keys); i++ {
		if !set.records[i].Implied || set.keys[i] == key(chains[i]) {
			continue
		}
		parents, err := s.impliedFrom(ctx, set, i)
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(set.keys), err)
		}
		if len(parents) == 0 {
			continue
		}
		spent.spent.Add(-set.records[i].Bytes) // it is in the place of the other
		set.keys[i] = key(chains[i])
		again := wantedLayer{
			key: set.keys[i], blob: f.manifest.Layers[i], diffID: f.config.RootFS.DiffIDs[i], at: i, parents: parents,
		}
		if err := s.ensureLayers(ctx, []wantedLayer{again}, set.records, spent, p); err != nil {
			return err
		}
	}
	return nil
}

// impliedFrom gives those folders that layer i implies and that look different in the layers below it.
func (s *Store) impliedFrom(ctx context.Context, set *layerSet, i int) (map[string]layer.Entry, error) {
	implied := map[string]layer.Entry{}
	err := s.readEntries(set.keys[i], func(e layer.Entry) error {
		if e.Implied && !e.Opaque && e.Path != "." {
			implied[e.Path] = e
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	differ := map[string]layer.Entry{}
	for j := i - 1; j >= 0 && len(implied) > 0; j-- {
		if err := ctx.Err(); err != nil { // an image can have many layers, and each of them a long list
			return nil, err
		}
		gone := map[string]bool{}
		err := s.readEntries(set.keys[j], func(e layer.Entry) error {
			gone[e.Path] = gone[e.Path] || e.Kind != layer.Dir
			mine, ok := implied[e.Path]
			if !ok || e.Kind != layer.Dir {
				return nil
			}
			gone[e.Path] = false // a folder that is there again after its whiteout
			if e.Implied && !e.Opaque {
				return nil // it says nothing; one further below may
			}
			delete(implied, e.Path)
			if !mine.SameFolder(e) {
				differ[e.Path] = e
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for path := range implied {
			for p := path; p != "."; p = filepath.Dir(p) {
				if gone[p] { // and so there is nothing of it further below
					delete(implied, path)
					break
				}
			}
		}
		if set.records[j].RootOpaque {
			break
		}
	}
	return differ, nil
}

// readEntries calls f with each entry of an unpacked layer.
func (s *Store) readEntries(key string, f func(layer.Entry) error) error {
	in, err := os.Open(s.layerPath(key, entriesFile))
	if err != nil {
		return err
	}
	defer in.Close()
	return layer.ReadList(bufio.NewReaderSize(in, 128<<10), f)
}

// budget is what the layers of an image may take together.
type budget struct {
	limit int64
	spent atomic.Int64
}

func (b *budget) spend(n int64) error {
	if b.spent.Add(n) > b.limit {
		return fmt.Errorf("with its layers unpacked the image has more than %d bytes: %w", b.limit, ErrTooLarge)
	}
	return nil
}

func (b *budget) left() int64 { return max(0, b.limit-b.spent.Load()) }
