package boot

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOpenBzImage(t *testing.T) {
	k := open(t, bzImage())
	if k.Format != BzImage || k.Image != nil || k.Setup == nil {
		t.Fatalf("format %v, setup %v, image %v", k.Format, k.Setup, k.Image)
	}
	if k.Version != testVersion {
		t.Errorf("version %q, want %q", k.Version, testVersion)
	}
	h := k.Setup
	if h.Version != 0x20f || h.InitrdMax != 0x7fff_ffff || h.Alignment != 0x20_0000 || !h.Relocatable ||
		h.CmdlineSize != 2047 || h.PrefAddress != 0x100_0000 || h.InitSize != 0x50_0000 {
		t.Errorf("setup header %+v", h)
	}
	if want := int64(3 * sectorSize); h.Code.Offset != want || h.Payload.Offset != want+0x300 {
		t.Errorf("code at %#x, payload at %#x", h.Code.Offset, h.Payload.Offset)
	}
}

func TestOpenELF(t *testing.T) {
	k := open(t, vmlinux().bytes())
	if k.Format != ELF || k.Setup != nil || k.Version != "" {
		t.Fatalf("format %v, setup %v, version %q", k.Format, k.Setup, k.Version)
	}
	i := k.Image
	if i.Entry != 0x100_0000 || i.PVHEntry != 0x100_0850 || !i.Linux || len(i.Loads) != 3 {
		t.Errorf("image %+v", i)
	}
	if got, want := i.Range(), (Range{0x100_0000, 0x40_1000}); got != want {
		t.Errorf("Range() = %v, want %v", got, want)
	}
}

// TestOpenForeign has files that are no kernels; the error has to say what they are.
func TestOpenForeign(t *testing.T) {
	head := func(at int, magic string) []byte {
		b := make([]byte, 4096)
		copy(b, "MZ")
		copy(b[at:], magic)
		return b
	}
	bootSector := make([]byte, 512)
	le.PutUint16(bootSector[510:], bootFlag)
	cases := []struct {
		name     string
		contents []byte
		says     string
	}{
		{"empty", nil, "empty"},
		{"one byte", []byte("x"), "neither"},
		{"text", []byte("hello, this is not a kernel\n"), "neither"},
		{"arm64", head(0x38, "ARM\x64"), "arm64"},
		{"RISC-V", head(0x38, "RSC\x05"), "RISC-V"},
		{"zboot", head(4, "zimg"), "zboot"},
		{"UEFI program", head(0, "MZ"), "UEFI"},
		{"initramfs", []byte("070701" + strings.Repeat("0", 104)), "initramfs"},
		{"gzip", []byte("\x1f\x8b\x08\x00"), "gzip"},
		{"package", []byte("!<arch>\ndebian-binary"), "Debian package"},
		{"disk", []byte("QFI\xfb\x00\x00\x00\x03"), "qcow2"},
		{"script", []byte("#!/bin/sh\n"), "script"},
		{"boot sector", bootSector, "boot sector"},
	}
	for _, c := range cases {
		_, err := Open(write(t, c.contents))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want ErrFormat and %q in it", c.name, err, c.says)
		}
	}
}

func TestOpenWhatIsNoFile(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrFormat) {
		t.Errorf("a folder: error %v, want ErrFormat", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(pipe); !errors.Is(err, ErrFormat) { // and it must not wait for a writer
		t.Errorf("a named pipe: error %v, want ErrFormat", err)
	}
	if _, err := Open(os.DevNull); !errors.Is(err, ErrFormat) {
		t.Errorf("a device: error %v, want ErrFormat", err)
	}
}

func TestOpenBrokenBzImage(t *testing.T) {
	u32 := func(at int, v uint32) func([]byte) { return func(b []byte) { le.PutUint32(b[at:], v) } }
	cases := []struct {
		name  string
		spoil func([]byte)
		want  error
		says  string
	}{
		{"old protocol", func(b []byte) { le.PutUint16(b[offVersion:], 0x20b) }, ErrFormat, "2.11"},
		{"zImage", func(b []byte) { b[offLoadFlags] = 0 }, ErrFormat, "zImage"},
		{"32-bit", func(b []byte) { le.PutUint16(b[offXLoadFlags:], 0) }, ErrFormat, "32-bit"},
		{"short header", func(b []byte) { b[offHeaderLength] = 0x10 }, ErrCorrupt, "0x212"},
		{"long header", func(b []byte) { b[offHeaderLength] = 0xff }, ErrCorrupt, "0x301"},
		{"no code", u32(offSysSize, 0), ErrCorrupt, "syssize"},
		{"more code than there is", u32(offSysSize, 1<<30), ErrCorrupt, "truncated"},
		{"setup beyond the file", func(b []byte) { b[offSetupSects] = 255 }, ErrCorrupt, "truncated"},
		{"no payload", u32(offPayloadSize, 0), ErrCorrupt, "payload"},
		{"payload beyond the code", u32(offPayload, 1<<31), ErrCorrupt, "payload"},
		{"payload too long", u32(offPayloadSize, 0xffff_ffff), ErrCorrupt, "payload"},
		{"both, to wrap around", func(b []byte) {
			u32(offPayload, 0xffff_ff00)(b)
			u32(offPayloadSize, 0x200)(b)
		}, ErrCorrupt, "payload"},
		{"alignment", u32(offAlignment, 0x30_0000), ErrCorrupt, "0x300000"},
		{"alignment 0", u32(offAlignment, 0), ErrCorrupt, "kernel_alignment"},
	}
	for _, c := range cases {
		_, err := Open(write(t, bzFile{payload: gzipped(vmlinux().bytes()), header: c.spoil}.bytes()))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want %v and %q in it", c.name, err, c.want, c.says)
		}
	}
}

// TestOpenTruncated opens the kernels cut off at every length where something begins or ends.
func TestOpenTruncated(t *testing.T) {
	whole := bzImage()
	for _, n := range []int{offVersion, 0x23f, endSetupHeader - 1, endSetupHeader, 3*sectorSize - 1, 3 * sectorSize, len(whole) - 16} {
		if _, err := Open(write(t, whole[:n])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a bzImage of %#x bytes cut at %#x: error %v, want ErrCorrupt", len(whole), n, err)
		}
	}
	whole = vmlinux().bytes()
	for _, n := range []int{4, ehdrSize - 1, ehdrSize, ehdrSize + 3*phdrSize, pageSize, len(whole) - 1} {
		if _, err := Open(write(t, whole[:n])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("an ELF file of %#x bytes cut at %#x: error %v, want ErrCorrupt", len(whole), n, err)
		}
	}
}

// TestVersionIsHarmless has versions that must not reach a terminal, or aren't there.
func TestVersionIsHarmless(t *testing.T) {
	for name, spoil := range map[string]func([]byte){
		"none":           func(b []byte) { le.PutUint16(b[offKernelVersion:], 0) },
		"outside":        func(b []byte) { le.PutUint16(b[offKernelVersion:], 0xffff) },
		"escape codes":   func(b []byte) { copy(b[0x400:], "\x1b[2Jevil") },
		"without an end": func(b []byte) { copy(b[0x400:], bytes.Repeat([]byte("x"), 0x200)) },
	} {
		if k := open(t, bzFile{payload: []byte("xxxx"), header: spoil}.bytes()); k.Version != "" {
			t.Errorf("%s: version %q, want none", name, k.Version)
		}
	}
}
