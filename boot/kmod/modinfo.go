package kmod

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"strings"
)

// maxModinfo bounds a .modinfo section. amdgpu's, which names thousands of devices, has about 60 KiB.
const maxModinfo = 4 << 20

// An Info is what a module says of itself in its .modinfo section.
type Info struct {
	Name      string // as the kernel knows it; empty in kernels before 4.13
	Depends   []string
	Aliases   []string
	Pre, Post []string // soft dependencies
	VerMagic  string   // the kernel that it was built for: its release comes first
}

// ReadInfo reads the .modinfo of an uncompressed module.
func ReadInfo(r io.ReaderAt) (Info, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return Info{}, fmt.Errorf("kmod: read .modinfo: %v: %w", err, ErrFormat)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return Info{}, fmt.Errorf("kmod: read .modinfo: no such section: %w", ErrFormat)
	}
	// The linker never compresses an allocated section; debug/elf would unpack one to any size that its header says.
	if s.Flags&elf.SHF_COMPRESSED != 0 || s.Type != elf.SHT_PROGBITS {
		return Info{}, fmt.Errorf("kmod: read .modinfo: type %v, flags %v: %w", s.Type, s.Flags, ErrFormat)
	}
	if s.Size > maxModinfo {
		return Info{}, fmt.Errorf("kmod: read .modinfo of %d bytes: %w", s.Size, ErrTooLarge)
	}
	data, err := s.Data()
	if err != nil {
		return Info{}, fmt.Errorf("kmod: read .modinfo: %v: %w", err, ErrFormat)
	}
	return parseInfo(data)
}

// parseInfo reads "key=value" strings with one or more NULs between them.
func parseInfo(data []byte) (Info, error) {
	var i Info
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if len(entry) == 0 {
			continue
		}
		key, value, ok := strings.Cut(string(entry), "=")
		if !ok {
			return Info{}, fmt.Errorf("kmod: parse .modinfo: %.80q is not KEY=VALUE: %w", entry, ErrFormat)
		}
		switch key {
		case "name":
			i.Name = value
		case "vermagic":
			i.VerMagic = value
		case "depends":
			for dep := range strings.SplitSeq(value, ",") {
				if dep != "" {
					i.Depends = append(i.Depends, Name(dep))
				}
			}
		case "alias":
			i.Aliases = append(i.Aliases, value)
		case "softdep":
			pre, post := parseSoft(strings.Fields(value))
			i.Pre, i.Post = append(i.Pre, pre...), append(i.Post, post...)
		}
	}
	for _, names := range [][]string{i.Depends, i.Aliases, i.Pre, i.Post, {i.Name}} {
		for _, n := range names {
			if strings.ContainsFunc(n, notInField) {
				return Info{}, fmt.Errorf("kmod: parse .modinfo: name %.80q: %w", n, ErrFormat)
			}
		}
	}
	return i, nil
}

// notInField tells what cannot stand in a field of an index file.
func notInField(r rune) bool { return r <= ' ' || r == 0x7f }
