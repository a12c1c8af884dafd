package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tandem/boot/kmod"
)

// What add does with a kernel of the same name.
const (
	refuse = iota
	replace
)

// add makes a kernel in a temporary folder, indexes its modules, and puts it into the store by a rename. make fills the
// folder and gives the name. The caller holds the lock.
func (s *Store) add(build func(dir *os.Root) (name string, r record, err error), progress Progress, existing int) (Kernel, error) {
	temp, err := os.MkdirTemp(s.dir, tempPrefix)
	if err != nil {
		return Kernel{}, err
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil {
		return Kernel{}, err
	}
	root, err := os.OpenRoot(temp)
	if err != nil {
		return Kernel{}, err
	}
	defer root.Close()
	name, r, err := build(root)
	if err != nil {
		return Kernel{}, err
	}
	if err := checkName(name); err != nil {
		return Kernel{}, err
	}
	if err := checkRelease(r.Release); err != nil {
		return Kernel{}, err
	}
	modules := filepath.Join(temp, modulesRoot, "lib/modules", r.Release)
	if _, err := os.Stat(modules); err == nil {
		progress("index the modules of "+name, 0, 0)
		if err := kmod.Depmod(modules); err != nil {
			return Kernel{}, err
		}
	}
	if err := seal(root, r); err != nil {
		return Kernel{}, err
	}
	if err := s.place(temp, name, existing); err != nil {
		return Kernel{}, err
	}
	return s.Get(name)
}

// seal records the kernel, and brings it all to the disk before a rename makes it visible.
func seal(root *os.Root, r record) error {
	_, digest, err := digestFile(filepath.Join(root.Name(), imageFile))
	if err != nil {
		return err
	}
	r.Digest = "sha256:" + digest
	r.Added = time.Now().UTC()
	err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			r.Size += info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := writeRecord(root, r); err != nil {
		return err
	}
	return syncFilesystem(root.Name())
}

// writeRecord writes kernel.json in one step.
func writeRecord(root *os.Root, r record) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := root.WriteFile(recordFile+".new", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return root.Rename(recordFile+".new", recordFile)
}

// place renames a finished folder to its name; an older kernel of that name makes way, if it may.
func (s *Store) place(temp, name string, existing int) error {
	final := filepath.Join(s.dir, name)
	_, err := os.Lstat(final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.Rename(temp, final)
	case err != nil:
		return err
	case existing == refuse:
		return fmt.Errorf("%q: %w", name, ErrExists)
	}
	// In one step, so that a reader finds one or the other, and so does who comes after a crash.
	err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, final, unix.RENAME_EXCHANGE)
	if err == nil {
		return os.RemoveAll(temp)
	}
	if !errors.Is(err, unix.EINVAL) { // of a file system that cannot
		return &os.LinkError{Op: "exchange", Old: temp, New: final, Err: err}
	}
	dead := filepath.Join(s.dir, deadPrefix+name)
	if err := os.Rename(final, dead); err != nil {
		return err
	}
	if err := os.Rename(temp, final); err != nil {
		return errors.Join(err, os.Rename(dead, final))
	}
	return os.RemoveAll(dead)
}
