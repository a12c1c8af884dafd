package child

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The stub is the program that executes the container's command. It is put together here, byte for byte, and lives in an
// anonymous file that is sealed. What it does:
//
//	fcntl(FD, F_SETFD, FD_CLOEXEC)                        the socket to the parent: a successful execve closes it
//	seccomp(SECCOMP_SET_MODE_FILTER, FLAGS, &fprog)       if it carries a filter
//	execve(argv[0], &argv[1], envp)                       the first argument is the path
//	write(FD, {recordFailed, NUMBER, errno, 0}, 16)       if that failed
//	exit_group(126)
type stub struct {
	fd     int          // FD
	number uint32       // NUMBER, the call's in the printed program
	flags  uint         // FLAGS
	filter []sockFilter // nil: none
}

type sockFilter = unix.SockFilter

const (
	stubBase    = 0x400000
	stubHeaders = 64 + 2*56 // an ELF header and two program headers
)

// code is the stub's machine code. The filter stands behind it.
func (s stub) code() []byte {
	var b bytes.Buffer
	word := func(op byte, v uint32) { // mov r32, imm32
		b.WriteByte(op)
		binary.Write(&b, binary.LittleEndian, v)
	}
	const eax, edx, esi, edi = 0xb8, 0xba, 0xbe, 0xbf
	var jumps []int
	orFail := func() {
		b.Write([]byte{0x85, 0xc0, 0x75, 0}) // test eax, eax; jnz fail
		jumps = append(jumps, b.Len())
	}
	word(edi, uint32(s.fd))
	word(esi, unix.F_SETFD)
	word(edx, unix.FD_CLOEXEC)
	word(eax, unix.SYS_FCNTL)
	b.Write([]byte{0x0f, 0x05}) // syscall
	orFail()
	filterAt := -1
	if s.filter != nil {
		word(edi, unix.SECCOMP_SET_MODE_FILTER)
		word(esi, uint32(s.flags))
		filterAt = b.Len() + 1
		word(edx, 0) // the address, below 4 GiB
		word(eax, unix.SYS_SECCOMP)
		b.Write([]byte{0x0f, 0x05})
		orFail()
	}
	b.Write([]byte{
		0x48, 0x8b, 0x04, 0x24, // mov rax, [rsp]: argc
		0x48, 0x8b, 0x7c, 0x24, 0x08, // mov rdi, [rsp+8]: argv[0]
		0x48, 0x8d, 0x74, 0x24, 0x10, // lea rsi, [rsp+16]: &argv[1]
		0x48, 0x8d, 0x54, 0xc4, 0x10, // lea rdx, [rsp+rax*8+16]: envp
	})
	word(eax, unix.SYS_EXECVE)
	b.Write([]byte{0x0f, 0x05})
	fail := b.Len()
	b.Write([]byte{0xf7, 0xd8, 0x50, 0x48, 0xb9}) // neg eax; push rax; mov rcx, imm64
	binary.Write(&b, binary.LittleEndian, uint64(s.number)<<32|uint64(recordFailed))
	b.WriteByte(0x51) // push rcx
	word(edi, uint32(s.fd))
	b.Write([]byte{0x48, 0x89, 0xe6}) // mov rsi, rsp
	word(edx, recordSize)
	word(eax, unix.SYS_WRITE)
	b.Write([]byte{0x0f, 0x05})
	word(edi, exitFailed)
	word(eax, unix.SYS_EXIT_GROUP)
	b.Write([]byte{0x0f, 0x05})
	for b.Len()%8 != 0 {
		b.WriteByte(0xcc) // int3
	}
	code := b.Bytes()
	for _, at := range jumps {
		code[at-1] = byte(fail - at)
	}
	if filterAt >= 0 {
		binary.LittleEndian.PutUint32(code[filterAt:], uint32(stubBase+stubHeaders+len(code)))
	}
	return code
}

// image is the stub as an ELF file: one segment that holds all, and none for a stack that could be executed.
func (s stub) image() []byte {
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	body := s.code()
	if s.filter != nil {
		// struct sock_fprog, and behind it what it points at.
		at := uint64(stubBase+stubHeaders+len(body)) + 16
		body = binary.LittleEndian.AppendUint64(body, uint64(len(s.filter)))
		body = binary.LittleEndian.AppendUint64(body, at)
		for _, f := range s.filter {
			body = binary.LittleEndian.AppendUint16(body, f.Code)
			body = append(body, f.Jt, f.Jf)
			body = binary.LittleEndian.AppendUint32(body, f.K)
		}
	}
	size := uint64(stubHeaders + len(body))
	put(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: stubBase + stubHeaders, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	})
	put(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: stubBase, Paddr: stubBase,
		Filesz: size, Memsz: size, Align: 0x1000,
	})
	put(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16})
	b.Write(body)
	return b.Bytes()
}

// file is the stub as a file that can be executed and can't be changed. Its descriptor is above min.
func (s stub) file(min int) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("tandem-stub", flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 all of them were executable
		fd, err = unix.MemfdCreate("tandem-stub", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("child: memfd_create: %w (vm.memfd_noexec must not be 2)", err)
	}
	defer unix.Close(fd)
	image := s.image()
	if n, err := unix.Write(fd, image); err != nil || n != len(image) {
		return nil, fmt.Errorf("child: write the stub: %d of %d bytes: %w", n, len(image), err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("child: seal the stub: %w", err)
	}
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, min)
	if err != nil {
		return nil, fmt.Errorf("child: fcntl F_DUPFD_CLOEXEC %d: %w", min, err)
	}
	return os.NewFile(uintptr(high), "stub"), nil
}
