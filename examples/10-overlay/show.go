package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// opaqueAttribute on a folder hides the folders of its name below it.
const opaqueAttribute = "trusted.overlay.opaque"

// show prints what is in folders, each in a line.
func show(dirs ...string) error {
	for _, dir := range dirs {
		var entries []string
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			text, err := describe(path)
			if err != nil {
				return err
			}
			entries = append(entries, strings.TrimPrefix(path, dir+"/")+text)
			return nil
		})
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			entries = []string{"nothing"}
		}
		fmt.Printf("  %-7s %s\n", dir+":", strings.Join(entries, ", "))
	}
	return nil
}

// describe says what lstat and getxattr say of an entry.
func describe(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		value := make([]byte, 8)
		n, err := unix.Lgetxattr(path, opaqueAttribute, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) { // the second from older overlays, which hide it
			return "/", nil
		}
		if err != nil {
			return "", &fs.PathError{Op: "getxattr", Path: path, Err: err}
		}
		return fmt.Sprintf("/ [%s=%s]", opaqueAttribute, value[:n]), nil
	case unix.S_IFCHR:
		return fmt.Sprintf(" [char device %d:%d]", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
	}
	text, err := os.ReadFile(path)
	return fmt.Sprintf("=%q", text), err
}
