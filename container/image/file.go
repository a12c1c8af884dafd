package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writeFile puts a file into the store's folder in one step: after a crash there is the old one or the new one. The
// caller holds the index lock or shares the content lock.
func (s *Store) writeFile(name string, data []byte) (err error) {
	f, err := os.CreateTemp(s.path(tempDir), "file-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	path := s.path(name)
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir brings the names in a folder to the disk.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// sync brings the file system that the store is on to its disk: one call for the thousands of files of a layer.
func (s *Store) sync() error {
	f, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	written := s.written.Load()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", s.dir, err)
	}
	s.synced.Store(written)
	return nil
}

// syncBlobs is sync unless there was one after the last blob.
func (s *Store) syncBlobs() error {
	if s.synced.Load() == s.written.Load() {
		return nil
	}
	return s.sync()
}

// removeTree removes a folder of unpacked files, also if their modes forbid it: a folder that its owner may not write
// to is nothing that stops root, and no more should it stop others from removing what is theirs.
func (s *Store) removeTree(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if s.helper != nil {
		return s.helper.remove(path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() { // called before the folder is read, and once more if that failed
			if e := root.Chmod(name, 0o700); e != nil {
				return e
			}
			if err != nil {
				return nil
			}
		}
		return err
	})
	return errors.Join(err, root.Close(), os.RemoveAll(path))
}
