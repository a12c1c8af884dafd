package child

import (
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
	const eax, edx, esi, edi = 0xb8, 0xba, 0xbe, 0xbf
	order := binary.LittleEndian
	code := make([]byte, 0, 256)
	add := func(b ...byte) { code = append(code, b...) }
	word := func(register byte, v uint32) { // mov r32, imm32
		code = order.AppendUint32(append(code, register), v)
	}
	call := func(number uint32) {
		word(eax, number)
		add(0x0f, 0x05) // syscall
	}
	var jumps []int
	orFail := func() {
		add(0x85, 0xc0, 0x75, 0) // test eax, eax; jnz fail
		jumps = append(jumps, len(code))
	}
	word(edi, uint32(s.fd))
	word(esi, unix.F_SETFD)
	word(edx, unix.FD_CLOEXEC)
	call(unix.SYS_FCNTL)
	orFail()
	filterAt := -1
	if s.filter != nil {
		word(edi, unix.SECCOMP_SET_MODE_FILTER)
		word(esi, uint32(s.flags))
		filterAt = len(code) + 1
		word(edx, 0) // the address, below 4 GiB
		call(unix.SYS_SECCOMP)
		orFail()
	}
	add(0x48, 0x8b, 0x04, 0x24)       // mov rax, [rsp]: argc
	add(0x48, 0x8b, 0x7c, 0x24, 0x08) // mov rdi, [rsp+8]: argv[0]
	add(0x48, 0x8d, 0x74, 0x24, 0x10) // lea rsi, [rsp+16]: &argv[1]
	add(0x48, 0x8d, 0x54, 0xc4, 0x10) // lea rdx, [rsp+rax*8+16]: envp
	call(unix.SYS_EXECVE)
	fail := len(code)
	add(0xf7, 0xd8, 0x50, 0x48, 0xb9) // neg eax; push rax; mov rcx, imm64
	code = order.AppendUint64(code, uint64(s.number)<<32|uint64(recordFailed))
	add(0x51) // push rcx
	word(edi, uint32(s.fd))
	add(0x48, 0x89, 0xe6) // mov rsi, rsp
	word(edx, recordSize)
	call(unix.SYS_WRITE)
	word(edi, exitFailed)
	call(unix.SYS_EXIT_GROUP)
	for len(code)%8 != 0 {
		add(0xcc) // int3
	}
	for _, at := range jumps {
		code[at-1] = byte(fail - at)
	}
	if filterAt >= 0 {
		order.PutUint32(code[filterAt:], uint32(stubBase+stubHeaders+len(code)))
	}
	return code
}

// image is the stub as an ELF file: one segment that holds all, and none for a stack that could be executed. See elf(5);
// package debug/elf has names for it, and brings half a debugger with it.
func (s stub) image() []byte {
	order := binary.LittleEndian
	body := s.code()
	if s.filter != nil {
		// struct sock_fprog, and behind it what it points at.
		at := uint64(stubBase+stubHeaders+len(body)) + 16
		body = order.AppendUint64(body, uint64(len(s.filter)))
		body = order.AppendUint64(body, at)
		for _, f := range s.filter {
			body = order.AppendUint16(body, f.Code)
			body = append(body, f.Jt, f.Jf)
			body = order.AppendUint32(body, f.K)
		}
	}
	image := make([]byte, 0, stubHeaders+len(body))
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
	half(2, 62)                       // ET_EXEC, EM_X86_64
	word(1)                           // EV_CURRENT
	long(stubBase+stubHeaders, 64, 0) // entry, program headers, no section headers
	word(0)                           // flags
	half(64, 56, 2, 0, 0, 0)          // sizes and numbers of headers
	size := uint64(stubHeaders + len(body))
	// Elf64_Phdr: type, flags, offset, virtual and physical address, size in the file and in memory, alignment.
	const ptLoad, ptGNUStack, pfX, pfW, pfR = 1, 0x6474e551, 1, 2, 4
	word(ptLoad, pfR|pfX)
	long(0, stubBase, stubBase, size, size, 0x1000)
	word(ptGNUStack, pfR|pfW)
	long(0, 0, 0, 0, 0, 16)
	return append(image, body...)
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
