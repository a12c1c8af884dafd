package main

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"tandem/boot/initramfs"
)

// program is one that was carried into a guest with all that it is linked with.
type program struct{ loader, libraries, binary string }

// argv runs it by its own loader: what the guest has of libraries, or of a cache of them, does not matter.
func (p program) argv(args ...string) []string {
	return append([]string{p.loader, "--library-path", p.libraries, p.binary}, args...)
}

// carry gives a dynamically linked program as the files of a folder of a guest: the program, its loader, and then its
// shared libraries. It is the loader itself, glibc's, that says which these are: the order in which it searches
// (ld.so(8): DT_RUNPATH, ld.so.cache and more) is nobody else's to know. It runs none of the program to tell.
func carry(ctx context.Context, binary, home string) (program, []initramfs.File, error) {
	p := program{loader: path.Join(home, "loader"), libraries: path.Join(home, "lib"), binary: path.Join(home, filepath.Base(binary))}
	fail := func(err error) (program, []initramfs.File, error) {
		return program{}, nil, fmt.Errorf("carry %s: %w", binary, err)
	}
	loader, err := interpreter(binary)
	if err != nil {
		return fail(err)
	}
	list, err := exec.CommandContext(ctx, loader, "--list", binary).Output()
	if err != nil {
		return fail(fmt.Errorf("%s --list: %w", loader, err))
	}
	libraries, err := parseList(list)
	if err != nil {
		return fail(fmt.Errorf("%s --list: %w", loader, err))
	}
	var files []initramfs.File
	add := func(from, to string) error {
		data, err := os.ReadFile(from)
		files = append(files, initramfs.File{Name: to, Mode: 0o755, Data: data})
		return err
	}
	err = errors.Join(add(binary, p.binary), add(loader, p.loader))
	for _, l := range libraries {
		err = errors.Join(err, add(l.path, path.Join(p.libraries, l.name)))
	}
	if err != nil {
		return fail(err)
	}
	return p, files, nil
}

// interpreter is the loader that a program names, its PT_INTERP.
func interpreter(binary string) (string, error) {
	file, err := elf.Open(binary)
	if err != nil {
		return "", err
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(segment.Open(), 4096)) // PATH_MAX
		return string(bytes.TrimRight(b, "\x00")), err
	}
	return "", errors.New("it names no loader (PT_INTERP): linked statically?")
}

// library is one that a program is linked with, by the name that it asks for (DT_NEEDED).
type library struct{ name, path string }

// parseList reads what a loader lists: lines of "name => path (address)". The vDSO has no arrow, and
// the loader has none or a path for its name.
func parseList(list []byte) (libraries []library, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		name, rest, found := strings.Cut(strings.TrimSpace(lines.Text()), " => ")
		if !found || path.IsAbs(name) {
			continue
		}
		end := strings.LastIndex(rest, " (0x")
		if end < 0 || !path.IsAbs(rest) {
			return nil, fmt.Errorf("library %s: %s", name, rest)
		}
		libraries = append(libraries, library{name, rest[:end]})
	}
	return libraries, nil
}
