// Package linked finds out which shared libraries a program of this host's is linked with, so that both can be taken to
// where there is nothing else: a guest, or a root file system of a test's.
package linked

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
	"strings"

	"golang.org/x/sys/unix"
)

// Program is a program of this host's, with all that it is linked with.
type Program struct {
	Path      string
	Loader    string // the dynamic linker that it names (PT_INTERP); empty for a static program
	Libraries []Library
}

// ErrNoProgram is of a file that does not begin as an ELF program does, such as a script.
var ErrNoProgram = errors.New("no ELF program")

// Library is one that a program is linked with: the name that it asks for (DT_NEEDED), and where that is.
type Library struct{ Name, Path string }

// Find finds out what a program is linked with. It is the loader itself, glibc's or musl's, that says: the order in
// which it searches (ld.so(8): DT_RUNPATH, ld.so.cache and more) is nobody else's to know. It runs none of the program to
// tell.
func Find(ctx context.Context, name string) (Program, error) {
	p := Program{Path: name}
	var err error
	if p.Loader, err = loaderOf(name); err != nil {
		return p, fmt.Errorf("linked: %s: %w", name, err)
	}
	if p.Loader == "" {
		return p, nil
	}
	list, err := exec.CommandContext(ctx, p.Loader, "--list", name).Output()
	if err == nil {
		p.Libraries, err = parseLibraries(list)
	}
	if err != nil {
		return p, fmt.Errorf("linked: %s: %s --list: %w", name, p.Loader, err)
	}
	return p, nil
}

// Files are the paths of all that it takes: the program, its loader, its libraries.
func (p Program) Files() []string {
	files := []string{p.Path}
	if p.Loader != "" {
		files = append(files, p.Loader)
	}
	for _, l := range p.Libraries {
		files = append(files, l.Path)
	}
	return files
}

func loaderOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := f.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if string(magic) != elf.ELFMAG {
		return "", ErrNoProgram
	}
	file, err := elf.NewFile(f)
	if err != nil {
		return "", err
	}
	return interpreter(file)
}

// interpreter is the loader that a program names, its PT_INTERP; empty for a static one.
func interpreter(file *elf.File) (string, error) {
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(segment.Open(), unix.PathMax))
		return string(bytes.TrimRight(b, "\x00")), err
	}
	return "", nil
}

// parseLibraries reads what a loader lists: lines of "name => path (address)". The vDSO has no arrow, and
// the loader has none or a path for its name.
func parseLibraries(list []byte) (libraries []Library, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		name, rest, found := strings.Cut(strings.TrimSpace(lines.Text()), " => ")
		if !found || path.IsAbs(name) {
			continue
		}
		end := strings.LastIndex(rest, " (0x")
		if end < 0 || !path.IsAbs(rest) {
			return nil, fmt.Errorf("library %s: %s", name, rest)
		}
		libraries = append(libraries, Library{name, rest[:end]})
	}
	return libraries, nil
}
