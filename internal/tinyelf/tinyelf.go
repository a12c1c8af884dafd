// Package tinyelf makes executables of a few hundred bytes out of machine code, in anonymous files: for what has to be a
// process of its own, and would be slow and large as a Go program.
//
//	0x400000  ELF header
//	          program headers       one segment, which is read and executed, holds all of the file;
//	Entry     the code              another is memory that the code may ask for, which is empty, to be written to;
//	                                the third says that the stack cannot be executed
//
// See elf(5). Package debug/elf has names for what stands here, and brings half a debugger with it, to programs that live
// for milliseconds.
package tinyelf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	base    = 0x400000
	headers = 64 + 3*56 // an ELF header and three program headers
)

// Entry is where the code begins, and is begun with the stack that execve(2) makes.
const Entry = base + headers

// Memory is what the code finds beside itself and its stack: Size bytes of noughts at the address At, a multiple of the page
// size that is far from the code's. None is 0 bytes.
type Memory struct{ At, Size uint64 }

// Image is the file.
func Image(code []byte, memory Memory) []byte {
	order := binary.LittleEndian
	image := make([]byte, 0, headers+len(code))
	half := func(list ...uint16) {
		for _, v := range list {
			image = order.AppendUint16(image, v)
		}
	}
	word := func(list ...uint32) {
		for _, v := range list {
			image = order.AppendUint32(image, v)
		}
	}
	long := func(list ...uint64) {
		for _, v := range list {
			image = order.AppendUint64(image, v)
		}
	}
	// Elf64_Ehdr: ELFCLASS64, ELFDATA2LSB, EV_CURRENT.
	image = append(image, 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	half(2, 62)              // ET_EXEC, EM_X86_64
	word(1)                  // EV_CURRENT
	long(Entry, 64, 0)       // entry, program headers, no section headers
	word(0)                  // flags
	half(64, 56, 3, 0, 0, 0) // sizes and numbers of headers
	size := uint64(headers + len(code))
	// Elf64_Phdr: type, flags, offset, virtual and physical address, size in the file and in memory, alignment.
	const ptNull, ptLoad, ptGNUStack, pfX, pfW, pfR = 0, 1, 0x6474e551, 1, 2, 4
	word(ptLoad, pfR|pfX)
	long(0, base, base, size, size, 0x1000)
	kind := uint32(ptLoad)
	if memory.Size == 0 {
		kind = ptNull
	}
	word(kind, pfR|pfW)
	long(0, memory.At, memory.At, 0, memory.Size, 0x1000)
	word(ptGNUStack, pfR|pfW)
	long(0, 0, 0, 0, 0, 16)
	return append(image, code...)
}

// Create makes the file, in memory, so that nobody can change it. The descriptor is the caller's; it is closed on exec.
func Create(name string, code []byte, memory Memory) (fd int, err error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err = unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all of them were executable
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w (vm.memfd_noexec must not be 2)", err)
	}
	image := Image(code, memory)
	if n, err := unix.Write(fd, image); err != nil || n != len(image) {
		unix.Close(fd)
		return -1, fmt.Errorf("write %s: %d of %d bytes: %w", name, n, len(image), err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("seal %s: %w", name, err)
	}
	return fd, nil
}
