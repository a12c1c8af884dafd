package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/boot/initramfs"
	"tandem/guest/program"
	"tandem/internal/linked"
)

// hostProgram is what goes into the guest so that it can run a command that only the host has: the program of that name,
// with the libraries that it is linked with. There is none for what the guest has itself, from busybox or from the user
// (own), nor for what is no ELF program, nor for a path outside the folders that programs are looked up in: the guest says
// what it thinks of those.
func hostProgram(ctx context.Context, command string, own []initramfs.File) ([]initramfs.File, error) {
	folders := strings.Split(program.DefaultPath, ":")
	name := filepath.Base(command)
	if command != name && !slices.Contains(folders, filepath.Dir(command)) {
		return nil, nil
	}
	applets, err := initramfs.Applets(ctx)
	if err != nil {
		return nil, err
	}
	there := func(path string) bool {
		if command != name {
			return path == command
		}
		return filepath.Base(path) == name && slices.Contains(folders, filepath.Dir(path))
	}
	if slices.ContainsFunc(applets, there) || slices.ContainsFunc(own, func(f initramfs.File) bool { return there(f.Name) }) {
		return nil, nil
	}
	path, err := exec.LookPath(command)
	if err != nil {
		return nil, nil //nolint:nilerr // the guest will say that it is not there
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	p, err := linked.Find(ctx, path)
	if errors.Is(err, linked.ErrNoProgram) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files, err := initramfs.AddProgram(p)
	if err == nil && !slices.Contains(folders, filepath.Dir(path)) {
		files = append(files, initramfs.File{Name: filepath.Join("/usr/bin", name), Mode: unix.S_IFLNK | 0o777, Data: []byte(path)})
	}
	return files, err
}
