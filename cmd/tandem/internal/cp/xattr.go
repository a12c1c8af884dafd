package cp

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrRecord begins the name of a PAX record that holds an extended attribute, as star, GNU tar and docker have it.
const xattrRecord = "SCHILY.xattr."

// carried tells whether an attribute goes with a copy: not those by which a file system keeps its own books, such as
// trusted.overlay.*, nor labels of another policy.
func carried(name string) bool {
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") || name == "security.capability"
}

func (p *packer) xattrs(f *os.File, h *tar.Header) error {
	if !p.Xattrs {
		return nil
	}
	fd := int(f.Fd())
	list, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "flistxattr", Path: f.Name(), Err: err}
	}
	for name := range bytes.SplitSeq(list, []byte{0}) {
		if !carried(string(name)) {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, string(name), b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "fgetxattr " + string(name), Path: f.Name(), Err: err}
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[xattrRecord+string(name)] = string(value)
	}
	return nil
}

// grow reads what may grow between the question how long it is and the answer.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := read(b)
		if err == nil {
			return b[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || size > 1<<20 {
			return nil, err
		}
	}
}

func setXattrs(f *os.File, h *tar.Header) error {
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		if !ok || !carried(name) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); err != nil {
			return &fs.PathError{Op: "fsetxattr " + name, Path: f.Name(), Err: err}
		}
	}
	return nil
}
