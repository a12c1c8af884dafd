package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"tandem/container/image/layer"
)

// A Change is what a layer does to one name, by the letters of docker diff.
type Change struct {
	Op   string `json:"op"`   // A is added, C changed, D deleted
	Path string `json:"path"` // from the root of the image
	Kind string `json:"kind"` // as ls -l has it; h for one more name of a file
	Size int64  `json:"size"` // of a file in bytes
}

// LayerChanges is a layer, and what it does to those below it.
type LayerChanges struct {
	Layer
	Folder   string   `json:"folder"`  // that overlayfs mounts
	Entries  int      `json:"entries"` // names in it
	Bytes    int64    `json:"bytes"`   // of its files
	Disk     int64    `json:"disk"`    // that they take, about
	Added    int      `json:"added"`
	Changed  int      `json:"changed"`
	Deleted  int      `json:"deleted"`
	Changes  []Change `json:"changes"`            // ordered by path
	Skipped  int      `json:"skipped"`            // devices and attributes that could not be had here
	Examples []string `json:"examples,omitempty"` // of those, the first few
}

// Changes tells what each layer of an image does, the bottom one first, and unpacks those that are not.
func (s *Store) Changes(ctx context.Context, ref string, p Progress) ([]LayerChanges, error) {
	layers, err := s.changes(ctx, ref, p)
	if err != nil {
		return nil, fmt.Errorf("image: layers of %s: %w", ref, err)
	}
	return layers, nil
}

func (s *Store) changes(ctx context.Context, ref string, p Progress) ([]LayerChanges, error) {
	unlock, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, set, err := s.resolveAndUnpack(ctx, ref, p)
	if err != nil {
		return nil, err
	}
	all := []LayerChanges{}
	root := &node{}
	for i, l := range f.image().Layers {
		r := set.records[i]
		c := LayerChanges{
			Layer: l, Folder: s.layerPath(set.keys[i], diffDir), Entries: r.Entries, Bytes: r.Bytes, Disk: r.Disk,
			Changes: []Change{}, Skipped: r.Skipped, Examples: r.Examples,
		}
		var entries []layer.Entry
		err := s.readEntries(set.keys[i], func(e layer.Entry) error {
			entries = append(entries, e)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(set.keys), err)
		}
		c.apply(root, entries)
		all = append(all, c)
	}
	return all, nil
}

// node is a name in the layers so far.
type node struct {
	layer.Entry
	names map[string]*node
}

func (n *node) walk(path string, create bool) *node {
	if path == "." {
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		next := n.names[name]
		if next == nil {
			if !create {
				return nil
			}
			if n.names == nil {
				n.names = map[string]*node{}
			}
			next = &node{}
			n.names[name] = next
		}
		n = next
	}
	return n
}

// apply changes the tree as a layer does, and notes how. Whiteouts and opaque folders are about the layers below, so
// they come before all that the layer has itself.
func (c *LayerChanges) apply(root *node, entries []layer.Entry) {
	there := map[string]bool{} // in this layer, so that it is changed and not deleted
	for _, e := range entries {
		there[e.Path] = there[e.Path] || e.Kind != layer.Whiteout
	}
	for _, e := range entries {
		switch {
		case e.Kind == layer.Whiteout:
			above, name := cut(e.Path)
			parent := root.walk(above, false)
			if parent == nil || parent.names[name] == nil {
				continue // a whiteout of nothing
			}
			if !there[e.Path] {
				c.note("D", parent.names[name].Entry, e.Path)
				delete(parent.names, name)
			} else {
				parent.names[name].names = nil
			}
		case e.Opaque:
			folder := root.walk(e.Path, false)
			if folder == nil {
				continue
			}
			for name, n := range folder.names {
				if path := strings.TrimPrefix(e.Path+"/"+name, "./"); !there[path] {
					c.note("D", n.Entry, path)
					delete(folder.names, name)
				} else {
					n.names = nil
				}
			}
		}
	}
	for _, e := range entries {
		if e.Kind == layer.Whiteout || e.Path == "." {
			continue
		}
		n := root.walk(e.Path, true)
		switch {
		case n.Kind == 0:
			c.note("A", e, e.Path)
		case e.Kind == layer.Dir && n.SameFolder(e), e.Implied && n.Kind == layer.Dir:
			continue // only here for what is in it
		default:
			c.note("C", e, e.Path)
		}
		n.Entry = e
		if e.Kind != layer.Dir {
			n.names = nil
		}
	}
	slices.SortFunc(c.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
}

func cut(path string) (above, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ".", path
	}
	return path[:i], path[i+1:]
}

func (c *LayerChanges) note(op string, e layer.Entry, path string) {
	change := Change{Op: op, Path: path, Kind: string(rune(e.Kind)), Size: e.Size}
	switch op {
	case "A":
		c.Added++
	case "C":
		c.Changed++
	default:
		c.Deleted++
		change.Size = 0
	}
	c.Changes = append(c.Changes, change)
}
