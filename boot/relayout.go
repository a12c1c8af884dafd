package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
)

// mappable tells whether every segment's pages in memory are pages of the file.
func (i *Image) mappable() bool {
	return !slices.ContainsFunc(i.Loads, func(l Load) bool { return !l.congruent() })
}

// writeTo writes an ELF file with the same segments and notes to f, each segment on pages of its own. from is the file
// that i was read from.
func (i *Image) writeTo(f *os.File, from io.ReaderAt) error {
	return sparsely(f, func(w io.Writer) error {
		headers, loads := i.layout()
		at := int64(len(headers))
		if _, err := w.Write(headers); err != nil {
			return err
		}
		for n, l := range loads {
			if _, err := io.CopyN(w, zeroReader{}, l.Offset-at); err != nil {
				return err
			}
			old := i.Loads[n]
			size := int64(old.FileSize)
			if _, err := io.CopyN(w, io.NewSectionReader(from, old.Offset, size), size); err != nil {
				return fmt.Errorf("copy segment %d: %w", n, err)
			}
			at = l.Offset + int64(l.FileSize)
		}
		return nil
	})
}

// layout returns the new file's headers and notes, with which it starts, and where the segments are in it.
func (i *Image) layout() (headers []byte, loads []Load) {
	var progs []elf.Prog64
	at := int64(ehdrSize + phdrSize*(len(i.Loads)+1) + len(i.notes))
	for _, l := range i.Loads {
		at = int64(roundUp(uint64(at), pageSize)) + int64(l.PhysAddr%pageSize)
		loads = append(loads, Load{l.PhysAddr, at, l.FileSize, l.MemSize})
		progs = append(progs, elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W | elf.PF_X), Off: uint64(at),
			Vaddr: l.PhysAddr, Paddr: l.PhysAddr, Filesz: l.FileSize, Memsz: l.MemSize, Align: pageSize,
		})
		at += int64(l.FileSize)
	}
	progs = append(progs, elf.Prog64{
		Type: uint32(elf.PT_NOTE), Off: uint64(ehdrSize + phdrSize*len(i.Loads) + phdrSize), Filesz: uint64(len(i.notes)),
		Memsz: uint64(len(i.notes)), Align: 4,
	})
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{
			0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT),
		},
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Entry: i.Entry,
		Phoff: ehdrSize, Ehsize: ehdrSize, Phentsize: phdrSize, Phnum: uint16(len(progs)),
	}
	var b bytes.Buffer
	// Neither the buffer nor these types of fixed size can make Write fail.
	_ = binary.Write(&b, le, &h)
	_ = binary.Write(&b, le, progs)
	b.Write(i.notes)
	return b.Bytes(), loads
}

// zeroReader reads as zeros without end.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
