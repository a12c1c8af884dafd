package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

func removeOnce(path string) error {
	err := unix.Rmdir(path)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !inUse(err) {
		return err
	}
	entries, readErr := os.ReadDir(path)
	if errors.Is(readErr, fs.ErrNotExist) {
		return nil
	}
	below := false
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		below = true
		if err := removeOnce(filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	if !below {
		return err
	}
	err = unix.Rmdir(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
