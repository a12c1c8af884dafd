package boot

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// folder is where files are made that are to become an unpacked kernel; anonymous is none, files in memory.
type folder string

const anonymous = folder("")

// newFile is a new file filled by fill; if that fails, there is none.
func (d folder) newFile(fill func(*os.File) error) (*os.File, error) {
	file, err := d.create()
	if err != nil {
		return nil, err
	}
	if err := fill(file); err != nil {
		d.discard(file)
		return nil, err
	}
	return file, nil
}

func (d folder) create() (*os.File, error) {
	if d != anonymous {
		return os.CreateTemp(string(d), tempPrefix)
	}
	fd, err := unix.MemfdCreate("kernel", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd:kernel"), nil
}

func (d folder) discard(f *os.File) {
	if d != anonymous {
		os.Remove(f.Name())
	}
	f.Close()
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// abandoned is the age at which a file that nothing refers to was left behind rather than is in the making.
const abandoned = time.Hour

// sweep removes from the cache what is of no use any more: records of kernels that are gone, unpacked kernels without a
// record, and what a process that died was writing. Whoever has such a file open or mapped keeps it. What cannot be
// removed now will be another time, so there is no error.
func (c *cache) sweep() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	used := map[string]bool{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), recordSuffix) {
			continue
		}
		path := filepath.Join(c.dir, e.Name())
		rec, err := loadRecord(path)
		if err == nil {
			_, err = os.Stat(rec.Kernel)
		}
		if err != nil {
			removeAbandoned(path, e)
			continue
		}
		used[rec.ELF+elfSuffix] = true
	}
	for _, e := range entries {
		unused := strings.HasSuffix(e.Name(), elfSuffix) && !used[e.Name()]
		if unused || strings.HasPrefix(e.Name(), tempPrefix) {
			removeAbandoned(filepath.Join(c.dir, e.Name()), e)
		}
	}
}

func removeAbandoned(path string, e fs.DirEntry) {
	if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
		os.Remove(path)
	}
}
