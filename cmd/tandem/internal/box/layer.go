package box

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tandem/internal/plan"
)

// A box's own layer, below its folder of data.
const (
	layerFolder = "layer"
	upperFolder = layerFolder + "/upper"
	workFolder  = layerFolder + "/work"
)

// layerSteps make the folders that take what the box writes. Where files are on an overlay already, as within a container
// or the lab, no layer can be: overlayfs keeps its marks in attributes that another overlayfs does not pass on. The layer
// is in memory then.
func (r *Record) layerSteps() []plan.Step {
	layer, upper, work := r.data(layerFolder), r.data(upperFolder), r.data(workFolder)
	steps := []plan.Step{{
		Op: "mkdir", Object: layer, Args: []plan.Arg{plan.A("mode", "0700")}, Why: "the box's own layer",
		Do: func() error { return mkdir(layer, 0o700) },
	}}
	if onOverlay(layer) {
		steps = append(steps, plan.Step{
			Op: "mount", Object: layer, Args: []plan.Arg{plan.A("type", "tmpfs")}, Why: "a layer has no place on another overlay",
			Do: func() error {
				if os.Geteuid() != 0 {
					return fmt.Errorf("%s is on an overlay, where no layer can be, and a user can mount no other file system there; "+
						"set TANDEM_ROOT to a folder elsewhere", layer)
				}
				err := unix.Mount("tandem", layer, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700")
				return os.NewSyscallError("mount", err)
			},
			Undo: func() error { return unmount(layer) },
		})
	}
	owner := fmt.Sprintf("%d:%d", r.Root.UID, r.Root.GID)
	return append(steps, plan.Step{
		Op: "mkdir", Object: upper, Args: []plan.Arg{plan.A("mode", fmt.Sprintf("%04o", r.Root.Mode)), plan.A("owner", owner)},
		Why: "what the box writes goes here, and nothing to the layers below",
		Do:  r.makeUpper,
	}, plan.Step{
		Op: "mkdir", Object: work, Args: []plan.Arg{plan.A("mode", "0700")}, Why: "overlayfs's own, on the same file system",
		Do: func() error { return mkdir(work, 0o700) },
	})
}

// onOverlay looks at the file system that a path will be on: that of the longest part of it that is there.
func onOverlay(path string) bool {
	for {
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err == nil {
			return fs.Type == unix.OVERLAYFS_SUPER_MAGIC
		}
		if path == "/" {
			return false
		}
		path = filepath.Dir(path)
	}
}

// makeUpper makes the folder that will look like the box's root: overlayfs shows the topmost layer's.
func (r *Record) makeUpper() error {
	path := r.data(upperFolder)
	if err := os.Mkdir(path, 0o700); errors.Is(err, os.ErrExist) {
		return nil // a box that is started again: it may have changed its root's owner and mode itself
	} else if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, int(r.Root.UID), int(r.Root.GID)); err != nil {
			return err
		}
	}
	if err := unix.Chmod(path, r.Root.Mode); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// mkdir takes a folder that is there.
func mkdir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// removeData removes a box's folder of data, or the layer in it alone.
func (h *Home) removeData(id string, layerOnly bool) error {
	layer := filepath.Join(h.dataFolder(id), layerFolder)
	if err := unmount(layer); err != nil {
		return err
	}
	if layerOnly {
		return os.RemoveAll(layer)
	}
	return os.RemoveAll(h.dataFolder(id))
}

// unmount takes a folder that is no mount, or not there. A user has made no mounts.
func unmount(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		return nil
	}
	return &os.PathError{Op: "unmount", Path: path, Err: err}
}
