package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Change is a path of a box's that is not as its image has it.
type Change struct {
	Op   string `json:"op"` // A is new, C is changed, D is gone
	Path string `json:"path"`
}

// Changes reads what the box has written from the overlay's upper layer: what is in it is new or changed, a whiteout (a
// character device 0:0) is gone, and of an opaque folder all that it does not have itself is gone, see
// Documentation/filesystems/overlayfs.rst. What is there for mounts alone is left out.
func (r *Record) Changes() ([]Change, error) {
	list := []Change{}
	if os.Geteuid() != 0 {
		return nil, errors.New("diff: the layers below can be looked into by root alone")
	}
	upper, err := os.OpenRoot(r.data(upperFolder))
	if errors.Is(err, fs.ErrNotExist) {
		if r.Options.Rootfs != "" && r.Exit != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, ErrNoLayer)
		}
		return list, nil // it was never started
	}
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	lower, err := r.lowerRoot()
	if err != nil {
		return nil, err
	}
	defer lower.Close()
	d := differ{upper: upper, lower: lower, mounts: make(map[string]bool)}
	for _, name := range hostFiles {
		d.mounts["/etc/"+name] = true
	}
	for _, m := range slices.Concat(r.Options.usualMounts(), r.Options.Mounts) {
		d.mounts[m.Destination] = true
	}
	d.mounts["/dev/console"], d.mounts["/dev/tandem-init"] = true, true
	if _, err := d.folder("/"); err != nil {
		return nil, err
	}
	slices.SortFunc(d.list, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return append(list, d.list...), nil
}

type differ struct {
	upper  *os.Root
	lower  *os.File
	mounts map[string]bool
	list   []Change
}

func (d *differ) note(op, name string) { d.list = append(d.list, Change{op, name}) }

// folder notes what is in one of the upper layer, and tells whether there is anything.
func (d *differ) folder(name string) (any bool, err error) {
	f, err := d.upper.Open("." + name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return false, err
	}
	here := make(map[string]bool)
	for _, e := range entries {
		here[e.Name()] = true
		noted, err := d.entry(path.Join(name, e.Name()), e)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it went away meanwhile
			return any, err
		}
		any = any || noted
	}
	if !opaque(f) {
		return any, nil
	}
	below, err := d.names(name)
	if err != nil {
		return any, err
	}
	for _, gone := range below {
		if !here[gone] {
			d.note("D", path.Join(name, gone))
			any = true
		}
	}
	return any, nil
}

func (d *differ) entry(name string, e fs.DirEntry) (noted bool, err error) {
	info, err := e.Info()
	if err != nil {
		return false, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	before, there := d.before(name)
	switch {
	case info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == 0:
		if there {
			d.note("D", name)
		}
		return there, nil
	case d.mounts[name]:
		return false, nil // made for something to be mounted on; what a box writes there goes there
	}
	below := false
	if info.IsDir() {
		if below, err = d.folder(name); err != nil {
			return false, err
		}
		same := there && before.Mode == stat.Mode && before.Uid == stat.Uid && before.Gid == stat.Gid
		if !below && (same || d.aboveMount(name)) {
			return false, nil
		}
	}
	op := "A"
	if there {
		op = "C"
	}
	d.note(op, name)
	return true, nil
}

func (d *differ) aboveMount(name string) bool {
	for m := range d.mounts {
		if strings.HasPrefix(m, name+"/") {
			return true
		}
	}
	return false
}

// before looks a name up in the layers below, where no link is followed.
func (d *differ) before(name string) (stat unix.Stat_t, there bool) {
	f, err := d.open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return stat, false
	}
	defer f.Close()
	return stat, unix.Fstat(int(f.Fd()), &stat) == nil
}

func (d *differ) names(name string) ([]string, error) {
	f, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, nil // there was none
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d *differ) open(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(int(d.lower.Fd()), name, &how)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func opaque(f *os.File) bool {
	value := make([]byte, 8)
	n, err := unix.Fgetxattr(int(f.Fd()), "trusted.overlay.opaque", value)
	return err == nil && string(value[:n]) == "y"
}
