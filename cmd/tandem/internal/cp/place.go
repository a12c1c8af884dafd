package cp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Place is where paths lead: into a root, or with none, where this process's own paths lead.
type Place struct {
	// Root is a descriptor of a container's topmost folder. What is in there may be hostile, and change at any moment.
	Root *os.File
}

// ErrPath is a path that says where nothing can be.
var ErrPath = errors.New("invalid path")

// retries is how often a walk is begun anew that met a ".." while somebody renamed folders (EAGAIN), see openat2(2).
const retries = 128

func openat2(dir int, name string, how unix.OpenHow) (*os.File, error) {
	how.Flags |= unix.O_CLOEXEC
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dir, name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN) && try < retries:
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// open opens what a path leads to. The last link is followed if flags say so.
func (p Place) open(name string, flags int) (*os.File, error) {
	if strings.ContainsRune(name, 0) {
		return nil, fmt.Errorf("%w %q", ErrPath, name)
	}
	if p.Root == nil {
		return openat2(unix.AT_FDCWD, name, unix.OpenHow{Flags: uint64(flags)})
	}
	// A path that begins with a slash is taken from the root on; one that does not, too.
	return openat2(int(p.Root.Fd()), name, unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// reopen opens for reading or writing what was opened by O_PATH, and so is known for what it is: that other open would have
// had an effect, if it was a FIFO or a device. The way is this process's own procfs.
func reopen(f *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(self(f), flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func self(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

func statOf(f *os.File) (unix.Stat_t, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return stat, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return stat, nil
}

func isDir(stat unix.Stat_t) bool { return stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// Source is what is to be packed. It stays the same file or folder, wherever its name leads later.
type Source struct {
	file *os.File
	stat unix.Stat_t
	path string
	// contents says that it is a folder of which the contents are meant: its path ends in "/.".
	contents bool
}

// Open finds what is to be copied. A link at the end of the path is itself what is copied, if it shall not be followed.
func (p Place) Open(name string, follow bool) (*Source, error) {
	flags := unix.O_PATH
	asFolder := strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.") || name == "."
	if !follow && !asFolder {
		flags |= unix.O_NOFOLLOW
	}
	f, err := p.open(name, flags)
	if err != nil {
		return nil, err
	}
	s := &Source{file: f, path: name, contents: strings.HasSuffix(name, "/.") || name == "."}
	if s.stat, err = statOf(f); err != nil {
		f.Close()
		return nil, err
	}
	if asFolder && !isDir(s.stat) {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: unix.ENOTDIR}
	}
	return s, nil
}

// Close forgets it.
func (s *Source) Close() error { return s.file.Close() }

// Base is the name that it has in its folder. The root has none: ".".
func (s *Source) Base() string {
	if base := path.Base(path.Clean(s.path)); base != "/" && base != ".." {
		return base
	}
	return "."
}

// Target is where a copy goes.
type Target struct {
	place  Place
	path   string   // of the folder
	folder *os.File // that
	name   string   // of the copy in it: "." is the folder itself, empty what an archive says
	onto   *os.File // a file that is there, and is written to
}

// Close forgets it. The files stay.
func (t *Target) Close() error {
	if t.onto != nil {
		t.onto.Close()
	}
	return t.folder.Close()
}

// Errors of a copy that has no place to go to.
var (
	ErrNoFolder     = errors.New("the folder must be there")
	ErrFolderOnFile = errors.New("cannot copy a folder onto a file")
)

// Target finds where the copy of a source goes, by docker's rules, which are cp's: into a folder that is there; onto a
// file; or to a name that is not there, in a folder that is. A nil source is an archive, which goes into a folder.
func (p Place) Target(name string, s *Source) (*Target, error) {
	there, err := p.open(name, unix.O_PATH)
	if errors.Is(err, fs.ErrNotExist) {
		return p.newTarget(name, s)
	}
	if err != nil {
		return nil, err
	}
	stat, err := statOf(there)
	if err != nil {
		there.Close()
		return nil, err
	}
	if isDir(stat) {
		t := &Target{place: p, path: name, folder: there}
		switch {
		case s == nil:
		case s.contents:
			t.name = "."
		default:
			t.name = s.Base()
		}
		return t, nil
	}
	defer there.Close()
	switch {
	case s == nil || strings.HasSuffix(name, "/"):
		return nil, &fs.PathError{Op: "copy to", Path: name, Err: unix.ENOTDIR}
	case isDir(s.stat):
		return nil, fmt.Errorf("%s: %w", name, ErrFolderOnFile)
	}
	t, err := p.newTarget(name, s)
	if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG && s.stat.Mode&unix.S_IFMT == unix.S_IFREG {
		if t.onto, err = openPath(there); err != nil {
			t.folder.Close()
			return nil, err
		}
	}
	return t, err
}

func openPath(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// newTarget is a name in a folder that is there.
func (p Place) newTarget(name string, s *Source) (*Target, error) {
	if s == nil || strings.HasSuffix(name, "/") && !isDir(s.stat) || path.Clean(name) == "/" {
		return nil, fmt.Errorf("%s: %w", name, ErrNoFolder)
	}
	clean := path.Clean(name)
	folder, err := p.open(path.Dir(clean), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoFolder, err)
	}
	return &Target{place: p, path: path.Dir(clean), folder: folder, name: path.Base(clean)}, nil
}
