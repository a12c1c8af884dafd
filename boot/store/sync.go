package store

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncFilesystem brings the file system that dir is on to its disk: one call for the thousands of files of a kernel.
func syncFilesystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", dir, err)
	}
	return nil
}
