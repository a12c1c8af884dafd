package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/container/cgroup"
	"tandem/internal/pattern"
	"tandem/network"
)

// Leftover is something of a box that is no more, or whose keeper is no more.
type Leftover struct {
	Kind string `json:"kind"` // container, folder, cgroup, lease, ...
	Name string `json:"name"`
	Why  string `json:"why"`

	remove func(context.Context) error
}

var idPattern = pattern.New(fmt.Sprintf("^[0-9a-f]{%d}$", 2*idBytes))

// Leftovers finds what crashes have left. It changes nothing, and may tell of what is just being made or removed.
func (h *Home) Leftovers(ctx context.Context) ([]Leftover, error) {
	known, left, err := h.deadBoxes()
	errs := []error{err}
	for _, find := range []func(map[string]bool) ([]Leftover, error){h.strayFolders, h.strayContainers, h.strayCgroups, h.strayLeases} {
		more, err := find(known)
		left, errs = append(left, more...), append(errs, err)
	}
	net, err := h.network().Leftovers(ctx, h.needed(known))
	for _, l := range net {
		left = append(left, Leftover{Kind: "network " + l.Kind, Name: l.Name, Why: l.Why})
	}
	return left, errors.Join(append(errs, err)...)
}

// Collect removes what Leftovers finds, and gives what it has removed. No box is made meanwhile.
func (h *Home) Collect(ctx context.Context) ([]Leftover, error) {
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	left, err := h.Leftovers(ctx)
	errs := []error{err}
	var removed []Leftover
	for _, l := range left {
		if l.remove == nil {
			continue
		}
		err := l.remove(ctx)
		if errors.Is(err, errAlive) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", l.Kind, l.Name, err))
			continue
		}
		removed = append(removed, l)
	}
	halfMade, err := h.Engine().Collect(ctx)
	errs = append(errs, err)
	for _, name := range halfMade {
		removed = append(removed, Leftover{Kind: "container", Name: name, Why: "its maker was killed"})
	}
	list, err := h.List()
	if err != nil {
		return removed, errors.Join(append(errs, err)...)
	}
	alive := make(map[string]bool)
	for _, r := range list {
		alive[r.ID] = true
	}
	net, err := h.network().Collect(ctx, h.needed(alive))
	for _, l := range net {
		removed = append(removed, Leftover{Kind: "network " + l.Kind, Name: l.Name, Why: l.Why})
	}
	return removed, errors.Join(append(errs, err)...)
}

// needed tells of a lease whether somebody needs it: one of the boxes, or whom Foreign knows.
func (h *Home) needed(boxes map[string]bool) func(id string) bool {
	return func(id string) bool { return boxes[id] || h.Foreign != nil && h.Foreign(id) }
}

func (h *Home) network() network.Store {
	return network.Store{State: filepath.Join(h.Run, networkFolder)}
}

// deadBoxes gives all boxes that have a record, and as leftovers those that nobody keeps.
func (h *Home) deadBoxes() (known map[string]bool, left []Leftover, err error) {
	list, err := h.List()
	known = make(map[string]bool)
	for _, r := range list {
		known[r.ID] = true
		if r.Status() == Dead {
			left = append(left, Leftover{
				Kind: "container", Name: r.Name, Why: fmt.Sprintf("its keeper, process %d, was killed", r.Keeper.PID),
				remove: func(context.Context) error { return r.collect() },
			})
		}
	}
	return known, left, err
}

// errAlive is a box that somebody has started since it was found dead.
var errAlive = errors.New("container is not dead any more")

// collect removes a dead box, if it still is.
func (r *Record) collect() error {
	unlock, err := r.lockBegin()
	if errors.Is(err, ErrNotFound) {
		return nil // somebody else has removed it
	}
	if err != nil {
		return err
	}
	defer unlock()
	if r.Status() != Dead {
		return errAlive
	}
	return r.Discard()
}

// strayFolders are those that no record belongs to: a crash came between the two.
func (h *Home) strayFolders(known map[string]bool) ([]Leftover, error) {
	var left []Leftover
	for _, root := range []string{h.Run, h.Data} {
		entries, err := os.ReadDir(filepath.Join(root, boxesFolder))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return left, err
		}
		for _, e := range entries {
			path := filepath.Join(root, boxesFolder, e.Name())
			if known[e.Name()] || !idPattern.MatchString(e.Name()) {
				continue
			}
			if _, err := os.Stat(filepath.Join(h.runFolder(e.Name()), recordFile)); err == nil {
				continue // there is one, which cannot be read: that is an error of List's
			}
			left = append(left, Leftover{
				Kind: "folder", Name: path, Why: "no container has it",
				remove: func(context.Context) error {
					return errors.Join(h.removeData(e.Name(), false), os.RemoveAll(path))
				},
			})
		}
	}
	return left, nil
}

func (h *Home) strayContainers(known map[string]bool) ([]Leftover, error) {
	list, err := h.Engine().List()
	var left []Leftover
	for _, c := range list {
		if !known[c.ID()] {
			left = append(left, Leftover{
				Kind: "engine state", Name: c.ID(), Why: "no container has it",
				remove: func(ctx context.Context) error { return c.Delete(ctx, true) },
			})
		}
	}
	return left, err
}

// strayCgroups looks for groups by their name, in all hierarchies.
func (h *Home) strayCgroups(known map[string]bool) ([]Leftover, error) {
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	var left []Leftover
	for _, y := range host.Hierarchies {
		paths, err := filepath.Glob(filepath.Join(y.Mount, h.cgroupPrefix()+"*"))
		if err != nil {
			return left, err
		}
		for _, path := range paths {
			id := strings.TrimPrefix(filepath.Base(path), h.cgroupPrefix())
			if known[id] || !idPattern.MatchString(id) {
				continue
			}
			left = append(left, Leftover{
				Kind: "cgroup", Name: path, Why: "no container has it",
				remove: func(ctx context.Context) error { return removeCgroup(ctx, y, path) },
			})
		}
	}
	return left, nil
}

// removeCgroup ends what is in the group of one hierarchy.
func removeCgroup(ctx context.Context, y cgroup.Hierarchy, path string) error {
	paths := make(map[string]string)
	switch {
	case y.Version == 2:
		paths[""] = path
	case y.Name != "":
		paths["name="+y.Name] = path
	default:
		for _, c := range y.Controllers {
			paths[c] = path
		}
	}
	g, err := cgroup.Open(paths)
	if err != nil {
		return err
	}
	if err := g.Kill(ctx); err != nil && !errors.Is(err, cgroup.ErrGone) {
		return err
	}
	if err := g.Remove(ctx); err != nil && !errors.Is(err, cgroup.ErrGone) {
		return err
	}
	return nil
}

// strayLeases keep images from being removed.
func (h *Home) strayLeases(known map[string]bool) ([]Leftover, error) {
	if _, err := os.Stat(filepath.Join(h.Data, "images")); errors.Is(err, os.ErrNotExist) {
		return nil, nil // there is no store, and it need not be made to see that
	}
	store, err := h.Images()
	if err != nil {
		return nil, err
	}
	leases, err := store.Leases()
	var left []Leftover
	for _, l := range leases {
		if !known[l.Owner] && idPattern.MatchString(l.Owner) {
			left = append(left, Leftover{
				Kind: "lease", Name: l.Ref, Why: "container " + ShortID(l.Owner) + " is gone",
				remove: func(context.Context) error { return store.Release(l.Owner) },
			})
		}
	}
	return left, err
}
