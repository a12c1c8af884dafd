package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stack makes two layers, as an image might have, and a container's view.
func stack() error {
	fmt.Println("Two layers, base and app over it, and an empty upper folder:")
	for path, text := range map[string]string{
		"base/config": "base's", "base/tool": "tool", "base/data/1": "one", "base/data/2": "two",
		"app/config": "app's", "app/main": "main",
	} {
		if err := write(path, text); err != nil {
			return err
		}
	}
	if err := mountOverlay("merged", "app:base", "upper", "work"); err != nil {
		return err
	}
	return show("base", "app", "upper", "merged")
}

// copyUp: lower layers are never written to.
func copyUp() error {
	fmt.Println("Copy-up: open(O_WRONLY) of a lower layer's file is enough")
	f, err := os.OpenFile("merged/tool", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if err := show("upper"); err != nil {
		return err
	}
	fmt.Println("  and write()")
	if _, err := f.WriteString("+"); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return show("upper", "base", "merged")
}

// whiteout: what is to be missing needs something that says so.
func whiteout() error {
	fmt.Println("Whiteout: unlink() of files")
	for _, path := range []string{"merged/config", "merged/tool"} {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return show("upper", "app", "base", "merged")
}

// opaque: a new folder has nothing of an old one of its name.
func opaque() error {
	fmt.Println("Opaque: rmdir() of a folder, and mkdir() of another of its name")
	if err := os.RemoveAll("merged/data"); err != nil {
		return err
	}
	if err := show("upper"); err != nil {
		return err
	}
	if err := write("merged/data/3", "three"); err != nil {
		return err
	}
	return show("upper", "base", "merged")
}

// attributes: the data go along with whatever is changed.
func attributes() error {
	fmt.Println("Copy-up again: chmod() of a file, which writes no byte of it")
	if err := os.Chmod("merged/main", 0o755); err != nil {
		return err
	}
	for _, layer := range []string{"app", "upper", "merged"} {
		info, err := os.Stat(filepath.Join(layer, "main"))
		if err != nil {
			return err
		}
		fmt.Printf("  %-7s main has mode %v and %d bytes\n", layer+":", info.Mode(), info.Size())
	}
	return nil
}

// layers: what was an upper folder is a layer, when nobody writes to it any
// more. That is how an image is built.
func layers() error {
	fmt.Println("A layer more: the upper folder becomes the uppermost of the lower ones")
	if err := unix.Unmount("merged", 0); err != nil {
		return fmt.Errorf("umount merged: %w", err)
	}
	fmt.Println("  umount(merged)")
	if err := mountOverlay("one", "upper:app:base", "upper1", "work1"); err != nil {
		return err
	}
	return show("one", "upper1")
}

// shared: any number of containers stand on the same layers.
func shared() error {
	fmt.Println("Two containers: the same layers, each with an upper folder of its own")
	if err := mountOverlay("two", "upper:app:base", "upper2", "work2"); err != nil {
		return err
	}
	if err := write("one/config", "one's"); err != nil {
		return err
	}
	if err := write("two/config", "two's"); err != nil {
		return err
	}
	return show("one", "two", "upper1", "upper2", "upper")
}
