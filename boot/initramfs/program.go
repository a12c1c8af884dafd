package initramfs

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

// FindProgram finds out what a program is linked with. It is the loader itself, glibc's or musl's, that says: the order in
// which it searches (ld.so(8): DT_RUNPATH, ld.so.cache and more) is nobody else's to know. It runs none of the program to
// tell.
func FindProgram(ctx context.Context, name string) (Program, error) {
	p := Program{Path: name}
	var err error
	if p.Loader, err = loaderOf(name); err != nil {
		return p, fmt.Errorf("initramfs: program %s: %w", name, err)
	}
	if p.Loader == "" {
		return p, nil
	}
	list, err := exec.CommandContext(ctx, p.Loader, "--list", name).Output()
	if err == nil {
		p.Libraries, err = parseLibraries(list)
	}
	if err != nil {
		return p, fmt.Errorf("initramfs: program %s: %s --list: %w", name, p.Loader, err)
	}
	return p, nil
}

// Files puts the program into a guest, with its loader and its libraries: all where they are on the host, and the loader's
// cache, so that it finds them.
func (p Program) Files() ([]File, error) {
	names := []string{p.Path}
	if p.Loader != "" {
		names = append(names, p.Loader)
	}
	for _, l := range p.Libraries {
		names = append(names, l.Path)
	}
	var files []File
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("initramfs: program %s: %w", p.Path, err)
		}
		files = append(files, File{Name: filepath.Clean(name), Mode: 0o755, Data: data})
	}
	const cache = "/etc/ld.so.cache"
	if data, err := os.ReadFile(cache); err == nil && p.Loader != "" {
		files = append(files, File{Name: cache, Mode: 0o644, Data: data})
	}
	return files, nil
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
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(segment.Open(), 4096)) // PATH_MAX
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

// Applets are the programs that busybox gives to a guest of this host's: their paths in the guest, /bin/ls and so on. There
// are none without busybox.
func Applets(ctx context.Context) ([]string, error) {
	busybox := hostBusybox()
	if busybox == "" {
		return nil, nil
	}
	links, err := applets(ctx, busybox)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	list := []string{"/bin/busybox"}
	for _, link := range links {
		list = append(list, path.Join("/", link))
	}
	return list, nil
}
