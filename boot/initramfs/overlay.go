package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tandem/boot/cpio"
)

// ConfigPath is where init finds its configuration.
const ConfigPath = "/etc/tandem/init.json"

// maxOverlay bounds what a user adds to a run, as it is held in memory; larger things belong on a disk.
const maxOverlay = 1 << 30

// ErrTooLarge tells that a run's files are too many bytes for an initramfs.
var ErrTooLarge = errors.New("too large for an initramfs, use a disk")

// A File is what a user adds to the archive of one run.
type File struct {
	Name string // in the guest; parents are made
	Mode uint32 // as st_mode: S_IFREG, S_IFDIR or S_IFLNK (no type is S_IFREG), and the permissions
	Data []byte // the content, or a link's target
}

// Overlay makes the archive of one run: init's configuration at [ConfigPath], if there is one, and the files. It goes
// on the page behind a base archive, and replaces files of the same names there.
func Overlay(initJSON []byte, files ...File) ([]byte, error) {
	size := len(initJSON)
	for _, f := range files {
		if size += len(f.Data); size > maxOverlay {
			return nil, fmt.Errorf("initramfs: add %s: more than %d bytes: %w", f.Name, maxOverlay, ErrTooLarge)
		}
	}
	var out bytes.Buffer
	w := cpio.NewWriter(&out)
	if initJSON != nil {
		if err := w.Bytes(ConfigPath, 0o600, initJSON); err != nil {
			return nil, fmt.Errorf("initramfs: add configuration: %w", err)
		}
	}
	for _, f := range files {
		var err error
		switch perm := f.Mode & 0o7777; f.Mode & unix.S_IFMT {
		case 0, unix.S_IFREG:
			err = w.Bytes(f.Name, perm, f.Data)
		case unix.S_IFDIR:
			err = w.Dir(f.Name, perm)
		case unix.S_IFLNK:
			err = w.Symlink(f.Name, string(f.Data))
		default:
			err = fmt.Errorf("mode %#o is no file, folder or link: %w", f.Mode, errors.ErrUnsupported)
		}
		if err != nil {
			return nil, fmt.Errorf("initramfs: add %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("initramfs: add files: %w", err)
	}
	return out.Bytes(), nil
}

// AddTree reads the file or folder at src on the host for dst in the guest. A link at src itself is followed, links
// below it are kept as they are; sockets, pipes and devices are refused.
func AddTree(src, dst string) ([]File, error) {
	var (
		files []File
		total int64
	)
	root, err := filepath.EvalSymlinks(src)
	if err != nil {
		return nil, fmt.Errorf("initramfs: add %s: %w", src, err)
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		f := File{Name: path.Join(dst, filepath.ToSlash(rel)), Mode: st.Mode}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			f.Data = []byte(target)
		case unix.S_IFREG:
			if total += st.Size; total > maxOverlay {
				return fmt.Errorf("%s: more than %d bytes: %w", p, maxOverlay, ErrTooLarge)
			}
			if f.Data, err = os.ReadFile(p); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is no file, folder or link: %w", p, errors.ErrUnsupported)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("initramfs: add %s: %w", src, err)
	}
	return files, nil
}
