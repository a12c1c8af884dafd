package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
)

// stampMark is what a guest prints when it has come as far as is measured. No monitor prints it by itself.
const stampMark = '~'

// stampCode prints stampMark on COM1 with its first instructions and halts. The bytes mean the same in 32-bit
// protected mode, where a PVH kernel is entered, and in 64-bit mode, where an ELF one is.
var stampCode = []byte{
	0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, stampMark, // mov al, '~'
	0xee,       // out dx, al
	0xf4,       // hlt
	0xeb, 0xfd, // jmp to the hlt
}

// Where the stamp kernel lies: page-aligned in the file and in memory, as Linux is.
const (
	stampGPA    = 0x0100_0000
	stampOffset = 0x1000
	noteOffset  = 0x200
)

// writeStampKernel makes the smallest kernel that every monitor takes: an ELF64 file with one loadable segment and
// Xen's PVH entry note.
func writeStampKernel(dir string) (string, error) {
	const (
		ptLoad, ptNote    = 1, 4
		headerSize        = 64
		programHeaderSize = 56
		physEntry         = 18 // XEN_ELFNOTE_PHYS32_ENTRY
	)
	var note bytes.Buffer
	for _, v := range []uint32{4, 4, physEntry} {
		binary.Write(&note, binary.LittleEndian, v)
	}
	note.WriteString("Xen\x00")
	binary.Write(&note, binary.LittleEndian, uint32(stampGPA))

	var file bytes.Buffer
	file.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	binary.Write(&file, binary.LittleEndian, struct {
		Type, Machine                       uint16
		Version                             uint32
		Entry, ProgramOffset, SectionOffset uint64
		Flags                               uint32
		Size, ProgramSize, Programs         uint16
		SectionSize, Sections, SectionNames uint16
	}{2, 62, 1, stampGPA, headerSize, 0, 0, headerSize, programHeaderSize, 2, 0, 0, 0})
	type program struct {
		Type, Flags                                    uint32
		Offset, VAddr, PAddr, FileSize, MemSize, Align uint64
	}
	// The note comes first: gokvm takes every segment for notes until it finds the one that it wants.
	size := uint64(note.Len())
	binary.Write(&file, binary.LittleEndian, program{ptNote, 4, noteOffset, 0, 0, size, size, 4})
	code := uint64(len(stampCode))
	binary.Write(&file, binary.LittleEndian, program{ptLoad, 5, stampOffset, stampGPA, stampGPA, code, code, 0x1000})
	file.Write(make([]byte, noteOffset-file.Len()))
	file.Write(note.Bytes())
	file.Write(make([]byte, stampOffset-file.Len()))
	file.Write(stampCode)

	path := filepath.Join(dir, "stamp.elf")
	return path, os.WriteFile(path, file.Bytes(), 0o644)
}
