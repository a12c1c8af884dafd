package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container"
	"tandem/internal/lock"
	"tandem/internal/plan"
)

// ErrNoLayer is a box on a folder of the host's that has ended: what it wrote was thrown away.
var ErrNoLayer = errors.New("what it wrote was thrown away at its end, as it ran on a folder of the host's (--rootfs)")

// OpenRoot opens the box's topmost folder, to resolve paths in it that the box chose (see package cp). While it runs that
// is what its first process sees, mounts and all; else its layers, mounted for as long as the descriptor is open, and
// nowhere that has a name. The box does not start before done is called.
func (r *Record) OpenRoot(ctx context.Context) (root *os.File, done func(), err error) {
	if c, err := r.Container(); err == nil {
		root, err := r.liveRoot(c)
		return root, func() { root.Close() }, err
	}
	unlock, err := r.lockLayer()
	if err != nil {
		return nil, nil, err
	}
	if root, err = r.layerRoot(ctx); err != nil {
		unlock()
		return nil, nil, err
	}
	return root, func() {
		root.Close()
		unlock()
	}, nil
}

// lockLayer keeps two from mounting the same upper layer, of which overlayfs says that anything may come. Who runs holds it
// while he starts, and is seen to run from then on.
func (r *Record) lockLayer() (unlock func(), err error) {
	return lock.File(r.file("layer.lock"))
}

func (r *Record) layerRoot(ctx context.Context) (*os.File, error) {
	if c, err := r.Container(); err == nil { // it started meanwhile
		return r.liveRoot(c)
	}
	if r.Options.Rootfs != "" && r.Exit != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, ErrNoLayer)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: %s; only root can look into a container that does not run", ErrStopped, r.Name)
	}
	layer := plan.New("make the layer of box " + r.Name)
	layer.Add(r.dataStep())
	layer.Add(r.layerSteps()...)
	if _, err := layer.Run(ctx); err != nil {
		return nil, err
	}
	return r.mountLayers()
}

func (r *Record) liveRoot(c *container.Container) (*os.File, error) {
	state, err := liveState(c)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/root", state.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("box %s: open its root: %w", r.Name, err)
	}
	root := os.NewFile(uintptr(fd), "root of "+r.Name)
	if _, err := liveState(c); err != nil { // the number may have been another's
		root.Close()
		return nil, err
	}
	if err := notOurs(root); err != nil {
		root.Close()
		return nil, fmt.Errorf("box %s: %w", r.Name, err)
	}
	return root, nil
}

// liveState wants a container that has entered its root, and has not ended.
func liveState(c *container.Container) (*specs.State, error) {
	state, err := c.State()
	if err != nil {
		return nil, err
	}
	if state.Status != specs.StateRunning && state.Status != container.StatePaused {
		return nil, fmt.Errorf("%w, but %s", ErrStopped, state.Status)
	}
	return state, nil
}

// notOurs refuses this process's own root: nothing that is meant for a box may be done there.
func notOurs(root *os.File) error {
	var here, there unix.Statx_t
	const mask = unix.STATX_MNT_ID | unix.STATX_INO
	if err := unix.Statx(unix.AT_FDCWD, "/", 0, mask, &here); err != nil {
		return fmt.Errorf("statx /: %w", err)
	}
	if err := unix.Statx(int(root.Fd()), "", unix.AT_EMPTY_PATH, mask, &there); err != nil {
		return fmt.Errorf("statx its root: %w", err)
	}
	if here.Mnt_id == there.Mnt_id && here.Ino == there.Ino {
		return errors.New("its root is the host's own")
	}
	return nil
}

// mountLayers mounts the box's layers as an overlay that is attached nowhere, see fsmount(2).
func (r *Record) mountLayers() (*os.File, error) {
	return mountOverlay(overlayLayers{r.Lower, r.data(upperFolder), r.data(workFolder)}, r.data(""))
}

// lowerRoot is what was there before the box wrote anything.
func (r *Record) lowerRoot() (*os.File, error) {
	if len(r.Lower) > 1 {
		return mountOverlay(overlayLayers{lower: r.Lower}, r.data(""))
	}
	fd, err := unix.Open(r.Lower[0], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: r.Lower[0], Err: err}
	}
	return os.NewFile(uintptr(fd), r.Lower[0]), nil
}

// Volume names the mount of the user's that a path of a box lies on, if there is one. In a box that does not run it is not
// there, and what is written to such a path would never be seen.
func (r *Record) Volume(path string) (source string, ok bool) {
	path = filepath.Clean("/" + path)
	for _, m := range r.Options.Mounts {
		if rest, below := strings.CutPrefix(path, m.Destination); below && (rest == "" || rest[0] == '/') {
			return m.Source, true
		}
	}
	return "", false
}
