package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// elfFile describes an ELF file to make; the zero value of a field is what a kernel has.
type elfFile struct {
	entry  uint64
	loads  []elfLoad
	notes  []byte
	header func(*elf.Header64) // changes the header before it is written
	progs  func([]elf.Prog64)  // and the program headers: loads in order, then the notes
	skew   uint64              // added to each segment's offset, so that it isn't congruent
}

type elfLoad struct {
	paddr uint64
	data  []byte
	memsz uint64 // 0 for the data's length
}

// note makes a note.
func note(owner string, kind uint32, desc []byte) []byte {
	var b []byte
	b = le.AppendUint32(b, uint32(len(owner)+1))
	b = le.AppendUint32(b, uint32(len(desc)))
	b = le.AppendUint32(b, kind)
	b = append(b, owner...)
	b = append(b, make([]byte, roundUp(uint64(len(owner)+1), 4)-uint64(len(owner)))...)
	b = append(b, desc...)
	return append(b, make([]byte, roundUp(uint64(len(desc)), 4)-uint64(len(desc)))...)
}

func pvhNote(entry uint64) []byte { return note("Xen", notePhys32Entry, le.AppendUint64(nil, entry)) }

func (f elfFile) bytes() []byte {
	progs := make([]elf.Prog64, 0, len(f.loads)+1)
	var contents []byte
	at := uint64(pageSize)
	for _, l := range f.loads {
		offset := at + l.paddr%pageSize + f.skew
		contents = append(contents, make([]byte, offset-pageSize-uint64(len(contents)))...)
		contents = append(contents, l.data...)
		at = roundUp(offset+uint64(len(l.data)), pageSize)
		size := uint64(len(l.data))
		progs = append(progs, elf.Prog64{
			Type: uint32(elf.PT_LOAD), Off: offset, Vaddr: 0xffff_ffff_8000_0000 + l.paddr, Paddr: l.paddr, Filesz: size,
			Memsz: max(size, l.memsz), Align: pageSize,
		})
	}
	notesAt := uint64(ehdrSize + phdrSize*(len(f.loads)+1))
	progs = append(progs, elf.Prog64{Type: uint32(elf.PT_NOTE), Off: notesAt, Filesz: uint64(len(f.notes)), Memsz: uint64(len(f.notes))})
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: f.entry, Phoff: ehdrSize,
		Ehsize: ehdrSize, Phentsize: phdrSize, Phnum: uint16(len(progs)),
	}
	if f.header != nil {
		f.header(&h)
	}
	if f.progs != nil {
		f.progs(progs)
	}
	var b bytes.Buffer
	_ = binary.Write(&b, le, h)
	_ = binary.Write(&b, le, progs)
	b.Write(f.notes)
	b.Write(make([]byte, pageSize-b.Len()))
	b.Write(contents)
	return b.Bytes()
}

// pattern is n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(n)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// vmlinux is a small kernel with what Linux's has: segments off page ends, .bss, a long stretch of zeros, notes.
func vmlinux() elfFile {
	text := pattern(300_001)
	clear(text[100_000:270_000])
	return elfFile{
		entry: 0x100_0000,
		loads: []elfLoad{
			{paddr: 0x100_0000, data: text},
			{paddr: 0x120_0000, data: pattern(5000)},
			{paddr: 0x130_1000, data: pattern(20_000), memsz: 0x10_0000},
		},
		notes: append(note("Linux", 0x100, []byte("salt")), pvhNote(0x100_0850)...),
	}
}

// bzFile describes a bzImage to make.
type bzFile struct {
	payload []byte
	header  func(head []byte) // changes the first sectors before they are written
}

const testVersion = "6.1.0-test (somebody@somewhere) #1 SMP"

// bytes makes the bzImage: one boot sector, two setup sectors, then code with the payload 0x300 bytes into it.
func (f bzFile) bytes() []byte {
	const sectors, payloadAt = 2, 0x300
	code := append(pattern(payloadAt), f.payload...)
	code = append(code, make([]byte, roundUp(uint64(len(code)), 16)-uint64(len(code)))...)
	b := make([]byte, (sectors+1)*sectorSize)
	b[offSetupSects] = sectors
	le.PutUint32(b[offSysSize:], uint32(len(code)/16))
	le.PutUint16(b[offBootFlag:], bootFlag)
	b[offHeaderLength] = 0x6c - 2 // ends at 0x26c, as the newest does
	copy(b[offMagic:], setupMagic)
	le.PutUint16(b[offVersion:], 0x020f)
	le.PutUint16(b[offKernelVersion:], 0x200)
	copy(b[0x400:], testVersion)
	b[offLoadFlags] = loadedHigh
	le.PutUint32(b[offInitrdMax:], 0x7fff_ffff)
	le.PutUint32(b[offAlignment:], 0x20_0000)
	b[offRelocatable] = 1
	le.PutUint16(b[offXLoadFlags:], xlfKernel64|1<<1)
	le.PutUint32(b[offCmdlineSize:], 2047)
	le.PutUint32(b[offPayload:], payloadAt)
	le.PutUint32(b[offPayloadSize:], uint32(len(f.payload)))
	le.PutUint64(b[offPrefAddress:], 0x100_0000)
	le.PutUint32(b[offInitSize:], 0x50_0000)
	if f.header != nil {
		f.header(b)
	}
	return append(b, code...)
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// bzImage is the small kernel as distributions ship theirs.
func bzImage() []byte { return bzFile{payload: gzipped(vmlinux().bytes())}.bytes() }

// write puts a kernel into a file.
func write(t testing.TB, contents []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(path, contents, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens the kernel with these contents.
func open(t testing.TB, contents []byte) *Kernel {
	t.Helper()
	return openPath(t, write(t, contents))
}

func openPath(t testing.TB, path string) *Kernel {
	t.Helper()
	k, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// unpack unpacks k into dir.
func unpack(t testing.TB, k *Kernel, dir string) *Kernel {
	t.Helper()
	u, err := Unpack(k, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}
