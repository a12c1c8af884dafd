package guestinit

import (
	"errors"
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"tandem/guest/config"
)

// Folders of the initramfs that the new root is put together in.
const (
	lowerDir   = "/.lower"
	writesDir  = "/.writes"
	upperDir   = writesDir + "/upper"
	workDir    = writesDir + "/work"
	newRootDir = "/.root"
)

// mountRoot makes the final root and mounts what belongs into it.
func (p *pid1) mountRoot() error {
	mounts := lateMounts
	if p.config.Root == nil {
		if err := leaveRootfs(); err != nil {
			return err
		}
		mounts = append(mounts[:len(mounts):len(mounts)], tmpMount)
	} else if err := enterRoot(p.config.Root); err != nil {
		return err
	}
	if err := mountAll(mounts); err != nil {
		return err
	}
	linkDevices()
	for _, m := range p.config.Mounts {
		reportAll(mount(m))
	}
	return nil
}

// enterRoot goes to a root of the host's:
//
//	overlay  /
//	  upper  tmpfs, which takes the writes
//	  lower  9p, read-only
//
// Overlayfs keeps mounts of its own of the two, so ours can go as soon as it is mounted.
func enterRoot(r *config.Root) error {
	tmpfs := "mode=0755"
	if r.UpperSize != "" {
		tmpfs += ",size=" + r.UpperSize
	}
	steps := []config.Mount{
		{Source: r.Tag, Target: lowerDir, Type: "9p", Options: "ro," + r.Options},
		{Source: "tmpfs", Target: writesDir, Type: "tmpfs", Options: tmpfs},
	}
	if err := mountAll(steps); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for _, dir := range []string{upperDir, workDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	overlay := config.Mount{
		Source: "overlay", Target: newRootDir, Type: "overlay",
		Options: "lowerdir=" + lowerDir + ",upperdir=" + upperDir + ",workdir=" + workDir,
	}
	if err := mount(overlay); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for _, dir := range []string{lowerDir, writesDir} {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("root: unmount %s: %w", dir, err)
		}
	}
	return switchRoot(newRootDir)
}

// leaveRootfs makes a bind mount of the initramfs the root. It shows the same files, but unlike the initramfs itself,
// which is the one mount that has no parent, it can be left with pivot_root(2): a container's first step.
func leaveRootfs() error {
	if err := mount(config.Mount{Source: "/", Target: newRootDir, Type: "bind"}); err != nil {
		return err
	}
	if err := switchRoot(newRootDir); err != nil {
		return err
	}
	return os.Remove(newRootDir) // the mount point, which the new root shows as well
}

// switchRoot makes the file system at dir the root, and takes the early mounts along. pivot_root(2) refuses to leave an
// initramfs: the new root is moved on top of it instead.
func switchRoot(dir string) error {
	old, err := os.OpenRoot("/")
	if err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	defer old.Close()
	for _, m := range earlyMounts {
		if err := os.MkdirAll(dir+m.Target, 0o755); err != nil {
			return fmt.Errorf("switch root: %w", err)
		}
		if err := unix.Mount(m.Target, dir+m.Target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("switch root: move %s: %w", m.Target, err)
		}
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("switch root: move %s to /: %w", dir, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("switch root: chroot: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	freeOldRoot(old)
	return nil
}

// freeOldRoot removes the initramfs's files, which are memory, unless the new root shows them. A program that runs, such
// as this one, keeps its own file.
func freeOldRoot(old *os.Root) {
	before, err := old.Stat(".")
	if err != nil {
		return
	}
	after, err := os.Stat("/")
	if err != nil || os.SameFile(before, after) || !isMemory(old) {
		return
	}
	folder, err := old.Open(".")
	if err != nil {
		return
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		old.RemoveAll(name)
	}
}

// isMemory tells whether a root is an initramfs. Nobody wants files on anything else removed.
func isMemory(root *os.Root) bool {
	f, err := root.Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	var s unix.Statfs_t
	err = unix.Fstatfs(int(f.Fd()), &s)
	return err == nil && (s.Type == unix.RAMFS_MAGIC || s.Type == unix.TMPFS_MAGIC)
}

// mountedAs tells whether a file system of that type is mounted at a path.
func mountedAs(path, fsType string) bool {
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter(fsType))
	if err != nil {
		return false
	}
	for _, info := range infos {
		if info.Mountpoint == path {
			return true
		}
	}
	return false
}

// linkDevices makes the names in /dev that are not devices, and that shells and scripts rely on.
func linkDevices() {
	for name, target := range map[string]string{
		"/dev/fd":     "/proc/self/fd",
		"/dev/stdin":  "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1",
		"/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil && !errors.Is(err, os.ErrExist) {
			report("%v", err)
		}
	}
}
