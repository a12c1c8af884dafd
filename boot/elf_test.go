package boot

import (
	"bytes"
	"debug/elf"
	"errors"
	"strings"
	"testing"
)

func TestParseELFRefuses(t *testing.T) {
	header := func(f func(h *elf.Header64)) func(*elfFile) { return func(e *elfFile) { e.header = f } }
	progs := func(f func(p []elf.Prog64)) func(*elfFile) { return func(e *elfFile) { e.progs = f } }
	notes := func(b ...[]byte) func(*elfFile) { return func(e *elfFile) { e.notes = bytes.Join(b, nil) } }
	cases := []struct {
		name  string
		spoil func(*elfFile)
		want  error
		says  string
	}{
		{"32-bit", header(func(h *elf.Header64) { h.Ident[elf.EI_CLASS] = 1 }), ErrFormat, "ELFCLASS32"},
		{"big-endian", header(func(h *elf.Header64) { h.Ident[elf.EI_DATA] = 2 }), ErrFormat, "ELFDATA2MSB"},
		{"arm64", header(func(h *elf.Header64) { h.Machine = uint16(elf.EM_AARCH64) }), ErrFormat, "EM_AARCH64"},
		{"a module", header(func(h *elf.Header64) { h.Type = uint16(elf.ET_REL) }), ErrFormat, "ET_REL"},
		{"header size", header(func(h *elf.Header64) { h.Phentsize = 32 }), ErrCorrupt, "e_phentsize"},
		{"no headers", header(func(h *elf.Header64) { h.Phnum = 0 }), ErrFormat, "program headers"},
		{"too many headers", header(func(h *elf.Header64) { h.Phnum = 0xffff }), ErrCorrupt, "65535"},
		{"headers beyond the file", header(func(h *elf.Header64) { h.Phoff = 1 << 40 }), ErrCorrupt, "e_phoff"},
		{"headers at the last address", header(func(h *elf.Header64) { h.Phoff = ^uint64(0) }), ErrCorrupt, "e_phoff"},
		{"headers across the end", header(func(h *elf.Header64) { h.Phoff = 335_300 }), ErrCorrupt, "truncated"},

		{"an interpreter", progs(func(p []elf.Prog64) { p[1].Type = uint32(elf.PT_INTERP) }), ErrFormat, "PT_INTERP"},
		{"nothing to load", progs(func(p []elf.Prog64) { p[0].Type, p[1].Type, p[2].Type = 0, 0, 0 }), ErrFormat, "PT_LOAD"},
		{"offset beyond the file", progs(func(p []elf.Prog64) { p[0].Off = 1 << 40 }), ErrCorrupt, "p_offset"},
		{"offset wraps", progs(func(p []elf.Prog64) { p[0].Off = ^uint64(0) - 4095 }), ErrCorrupt, "segment 0"},
		{"size beyond the file", progs(func(p []elf.Prog64) { p[2].Filesz, p[2].Memsz = 1<<30, 1<<30 }), ErrCorrupt, "segment 2"},
		{"file size wraps", progs(func(p []elf.Prog64) { p[0].Filesz = ^uint64(0) }), ErrCorrupt, "p_filesz"},
		{"more file than memory", progs(func(p []elf.Prog64) { p[0].Memsz-- }), ErrCorrupt, "p_memsz"},
		{"memory wraps", progs(func(p []elf.Prog64) { p[2].Memsz = ^uint64(0) }), ErrCorrupt, "address space"},
		{"overlap", progs(func(p []elf.Prog64) { p[1].Paddr = p[0].Paddr + 0x1000 }), ErrCorrupt, "overlap"},
		{"overlap of zeros", progs(func(p []elf.Prog64) { p[0].Memsz = 0x20_0001 }), ErrCorrupt, "overlap"},
		{"notes too long", progs(func(p []elf.Prog64) {
			p[3] = elf.Prog64{Type: uint32(elf.PT_NOTE), Off: 0, Filesz: 300_000}
			p[2] = p[3]
			p[1] = p[3]
			p[0] = p[3]
		}), ErrCorrupt, "notes"},

		{"half a note", notes([]byte{1, 0, 0, 0}), ErrCorrupt, "notes"},
		{"a note beyond the notes", notes(le.AppendUint64(nil, 1<<32|200), make([]byte, 40)), ErrCorrupt, "note"},
		{"a note whose sizes wrap", notes(le.AppendUint64(nil, ^uint64(0)), make([]byte, 40)), ErrCorrupt, "note"},
		{"PVH entry of 64 bits", notes(pvhNote(1 << 32)), ErrCorrupt, "0x100000000"},
		{"PVH entry of two bytes", notes(note("Xen", notePhys32Entry, []byte{1, 2})), ErrCorrupt, "2 bytes"},
	}
	for _, c := range cases {
		file := vmlinux()
		c.spoil(&file)
		_, err := Open(write(t, file.bytes()))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want %v and %q in it", c.name, err, c.want, c.says)
		}
	}
}

// TestManyBigSegments has segments that share one stretch of the file: copies of it would be far larger than it.
func TestManyBigSegments(t *testing.T) {
	const megabytes = 20
	file := elfFile{entry: 0x100_0000, loads: []elfLoad{{paddr: 0x100_0000, data: make([]byte, megabytes<<20)}}}
	for i := range uint64(70) {
		file.loads = append(file.loads, elfLoad{paddr: 0x1000_0000 + i*megabytes<<20})
	}
	file.progs = func(p []elf.Prog64) {
		for i := range p[:71] {
			p[i].Off, p[i].Filesz, p[i].Memsz = pageSize, megabytes<<20, megabytes<<20
		}
	}
	if _, err := Open(write(t, file.bytes())); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v, want ErrCorrupt", err)
	}
}

func TestNotes(t *testing.T) {
	cases := []struct {
		name  string
		notes []byte
		pvh   uint64
		linux bool
	}{
		{"none", nil, 0, false},
		{"others'", note("GNU", 3, pattern(20)), 0, false},
		{"Linux's own", note("Linux", 0x100, []byte("6.1")), 0, true},
		{"Xen's of Linux", note("Xen", noteGuestOS, []byte("linux\x00")), 0, true},
		{"Xen's of another", note("Xen", noteGuestOS, []byte("FreeBSD\x00")), 0, false},
		{"PVH", pvhNote(0x100_0000), 0x100_0000, false},
		{"PVH of a 32-bit kernel", note("Xen", notePhys32Entry, []byte{0, 0, 0, 1}), 0x100_0000, false},
		{"PVH's number, another's note", note("GNU", notePhys32Entry, make([]byte, 8)), 0, false},
		{"last one without padding", append(note("GNU", 3, pattern(20)), note("Linux", 1, []byte("x"))[:12+8+1]...), 0, true},
	}
	for _, c := range cases {
		file := vmlinux()
		file.notes = c.notes
		i := open(t, file.bytes()).Image
		if i.PVHEntry != c.pvh || i.Linux != c.linux {
			t.Errorf("%s: PVH entry %#x, Linux %v, want %#x, %v", c.name, i.PVHEntry, i.Linux, c.pvh, c.linux)
		}
	}
}
