package cgroup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// removeLimit is how long Remove waits for processes to be gone, where its context sets no shorter time.
const removeLimit = 5 * time.Second

// Remove takes the group away, and those below it, the deepest first. It must hold no process; one that is on its way
// out is waited for, for a few seconds at most, and then the error is ErrInUse. A group that is gone is no error.
// Groups above it stay, even those that Create made: others may be about to make theirs in them.
func (g *Group) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	var errs []error
	for _, f := range slices.Backward(g.folders) {
		if err := removeTree(ctx, f.path); err != nil {
			errs = append(errs, fmt.Errorf("cgroup: remove group %s: %w", f.path, err))
		}
	}
	return errors.Join(errs...)
}

// removeTree removes groups from below. Their files are no obstacle: they go with the folder.
func removeTree(ctx context.Context, path string) error {
	var p pause
	for {
		err := removeOnce(path)
		if err == nil || !inUse(err) {
			return denied(err)
		}
		if waitErr := untilUnused(ctx, path, &p); waitErr != nil {
			pids, _ := allPids(path)
			if len(pids) > 0 {
				return fmt.Errorf("%w: %d of them: %w", ErrInUse, len(pids), waitErr)
			}
			return fmt.Errorf("%w: %w", err, waitErr)
		}
	}
}

// untilUnused waits for version 2's word that the last process is gone. A group that is empty, or of version 1, has
// only the next try.
func untilUnused(ctx context.Context, path string, p *pause) error {
	f := folder{path: path}
	if now, err := readFile(f.file(cgroupEvents)); err == nil {
		if e, err := parseEvents(now); err == nil && e.populated {
			return f.untilEmpty(ctx)
		}
	}
	return p.wait(ctx)
}

// removeOnce removes what it can, from below, up to the first group that is in use.
func removeOnce(path string) error {
	err := rmdir(unix.AT_FDCWD, path)
	if err == nil || !inUse(err) {
		return err
	}
	if below, e := removeBelow(path); !below || e != nil {
		return cmp.Or(e, err)
	}
	return rmdir(unix.AT_FDCWD, path)
}

// removeBelow removes the groups in a group, and tells whether there were any.
func removeBelow(path string) (below bool, err error) {
	w, err := walk(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer w.close()
	below = len(w.rest) > 0
	for {
		name, ok := w.next()
		if !ok {
			if name, ok, err = w.up(); !ok || err != nil {
				return below, err
			}
			if err := rmdir(int(w.dir.Fd()), name); err != nil {
				return below, err
			}
			continue
		}
		err := rmdir(int(w.dir.Fd()), name)
		if err == nil {
			continue
		}
		if !inUse(err) {
			return below, err
		}
		if e := w.down(name); errors.Is(e, fs.ErrNotExist) {
			continue
		} else if e != nil {
			return below, e
		}
		if len(w.rest) == 0 { // then it holds processes
			return below, err
		}
	}
}

// rmdir is unlinkat(2) for a group. One that is gone is no error.
func rmdir(dir int, name string) error {
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
