package child

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/internal/tinyelf"
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
		order.PutUint32(code[filterAt:], uint32(tinyelf.Entry+len(code)))
	}
	return code
}

// body is the code, and the filter behind it.
func (s stub) body() []byte {
	order := binary.LittleEndian
	body := s.code()
	if s.filter != nil {
		// struct sock_fprog, and behind it what it points at.
		at := uint64(tinyelf.Entry+len(body)) + 16
		body = order.AppendUint64(body, uint64(len(s.filter)))
		body = order.AppendUint64(body, at)
		for _, f := range s.filter {
			body = order.AppendUint16(body, f.Code)
			body = append(body, f.Jt, f.Jf)
			body = order.AppendUint32(body, f.K)
		}
	}
	return body
}

// file is the stub as a file that can be executed and can't be changed. Its descriptor is above min.
func (s stub) file(min int) (*os.File, error) {
	fd, err := tinyelf.Create("tandem-stub", s.body())
	if err != nil {
		return nil, fmt.Errorf("child: %w", err)
	}
	defer unix.Close(fd)
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, min)
	if err != nil {
		return nil, fmt.Errorf("child: fcntl F_DUPFD_CLOEXEC %d: %w", min, err)
	}
	return os.NewFile(uintptr(high), "stub"), nil
}
