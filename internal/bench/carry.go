package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"tandem/boot/initramfs"
	"tandem/internal/linked"
)

// program is one that was carried into a guest with all that it is linked with.
type program struct{ loader, libraries, binary string }

// argv runs it by its own loader: what the guest has of libraries, or of a cache of them, does not matter.
func (p program) argv(args ...string) []string {
	return append([]string{p.loader, "--library-path", p.libraries, p.binary}, args...)
}

// carry gives a dynamically linked program as the files of a folder of a guest: the program, its loader, and then its
// shared libraries.
func carry(ctx context.Context, binary, home string) (program, []initramfs.File, error) {
	p := program{loader: path.Join(home, "loader"), libraries: path.Join(home, "lib"), binary: path.Join(home, filepath.Base(binary))}
	fail := func(err error) (program, []initramfs.File, error) {
		return program{}, nil, fmt.Errorf("carry %s: %w", binary, err)
	}
	found, err := linked.Find(ctx, binary)
	if err != nil {
		return fail(err)
	}
	if found.Loader == "" {
		return fail(errors.New("it names no loader (PT_INTERP): linked statically?"))
	}
	var files []initramfs.File
	add := func(from, to string) error {
		data, err := os.ReadFile(from)
		files = append(files, initramfs.File{Name: to, Mode: 0o755, Data: data})
		return err
	}
	err = errors.Join(add(binary, p.binary), add(found.Loader, p.loader))
	for _, l := range found.Libraries {
		err = errors.Join(err, add(l.Path, path.Join(p.libraries, l.Name)))
	}
	if err != nil {
		return fail(err)
	}
	return p, files, nil
}
