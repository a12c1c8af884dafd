package box

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/thread"
)

// overlayLayers are an overlay's, by their paths. The upper one may be empty.
type overlayLayers struct {
	lower       []string
	upper, work string
}

// openLayers are the same by descriptors: a path's length and characters do not matter then.
type openLayers struct {
	all         []int
	lower       []int
	upper, work int // -1 is none
}

func (l overlayLayers) open() (o openLayers, err error) {
	o.upper, o.work = -1, -1
	paths := slices.Clone(l.lower)
	if l.upper != "" {
		paths = append(paths, l.upper, l.work)
	}
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			o.close()
			return o, &os.PathError{Op: "open", Path: path, Err: err}
		}
		o.all = append(o.all, fd)
	}
	n := len(l.lower)
	if o.lower = o.all[:n]; l.upper != "" {
		o.upper, o.work = o.all[n], o.all[n+1]
	}
	return o, nil
}

func (o openLayers) close() {
	for _, fd := range o.all {
		unix.Close(fd)
	}
}

// mountOverlay mounts layers; folder is some folder.
func mountOverlay(l overlayLayers, folder string) (*os.File, error) {
	fd, err := l.mount()
	if errors.Is(err, unix.EINVAL) { // before Linux 6.7 it takes all lower layers in one word
		fd, err = l.mountOld(folder)
	}
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	return os.NewFile(uintptr(fd), "overlay"), nil
}

func byDescriptor(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func (l overlayLayers) mount() (int, error) {
	o, err := l.open()
	if err != nil {
		return -1, err
	}
	defer o.close()
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	set := func(key string, fd int) error {
		if fd < 0 {
			return nil
		}
		err := unix.FsconfigSetString(fs, key, byDescriptor(fd))
		return os.NewSyscallError("fsconfig "+key, err)
	}
	for _, fd := range o.lower {
		if err := set("lowerdir+", fd); err != nil {
			return -1, err
		}
	}
	if err := errors.Join(set("upperdir", o.upper), set("workdir", o.work)); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	return fd, os.NewSyscallError("fsmount", err)
}

// mountOld mounts with mount(2), on some folder, in a mount namespace that ends with the thread that made it. What is left
// is a copy of the mount that is attached nowhere.
func (l overlayLayers) mountOld(folder string) (int, error) {
	fd, err := -1, error(nil)
	thread.Throwaway(func() { fd, err = l.mountAside(folder) })
	return fd, err
}

func (l overlayLayers) mountAside(folder string) (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return -1, os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, os.NewSyscallError("mount /", err)
	}
	o, err := l.open() // here: layers have to be in the mount namespace of who mounts them
	if err != nil {
		return -1, err
	}
	defer o.close()
	options := o.options()
	if len(options) >= os.Getpagesize() {
		return -1, fmt.Errorf("%d layers: a kernel before 6.7 takes one page of options", len(l.lower))
	}
	if err := unix.Mount("overlay", folder, "overlay", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return -1, os.NewSyscallError("mount", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, folder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	return fd, os.NewSyscallError("open_tree", err)
}

func (o openLayers) options() string {
	var lower []string
	for _, fd := range o.lower {
		lower = append(lower, byDescriptor(fd))
	}
	options := "lowerdir=" + strings.Join(lower, ":")
	if o.upper >= 0 {
		options += ",upperdir=" + byDescriptor(o.upper) + ",workdir=" + byDescriptor(o.work)
	}
	return options
}
