package child

import (
	"encoding/binary"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Int is a number, shown as it is.
func Int(name string, v int) Arg { return arg(name, uintptr(v), nil) }

// Flags is a number that is shown as text, such as "MS_BIND|MS_REC".
func Flags(name string, v uint64, show string) Arg {
	return arg(name, uintptr(v), show)
}

// From is what an earlier call returned.
func From(name string, r Reg) Arg {
	return Arg{name: name, value: uintptr(r), isReg: true}
}

// hidden keeps an argument out of the printed form.
func hidden(a Arg) Arg {
	a.hidden = true
	return a
}

// File is one of the parent's descriptors. Those that no argument names are closed in the child.
func (p *Program) File(name string, fd int) Arg {
	return p.Late(name, "", func() (*os.File, error) {
		// A copy: this one may have the number of one that the command is to inherit.
		high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, p.lowest())
		if err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		return os.NewFile(uintptr(high), name), nil
	})
}

// Str is text, NUL-terminated in memory. Text that has a NUL byte of its own is an error of the program's.
func (p *Program) Str(name, s string) Arg {
	return arg(name, p.cstring(name, s), s)
}

// Bytes is the address of a copy of b.
func (p *Program) Bytes(name string, b []byte, show any) Arg {
	if len(b) == 0 {
		return Arg{name: name, show: show}
	}
	return arg(name, uintptr(p.place(b)), show)
}

// structure is the address of a copy of v.
func structure[T any](p *Program, name string, v *T, show any) Arg {
	return arg(name, uintptr(p.place(bytesOf(v))), show)
}

// filled is the address of memory that a call fills.
func filled(name string, at uint64, show any) Arg { return arg(name, uintptr(at), show) }

func (p *Program) cstring(name, s string) uintptr {
	if strings.IndexByte(s, 0) >= 0 {
		p.fail("%s %q has a NUL byte", name, s)
		return 0
	}
	at := p.end()
	p.data = append(append(p.data, s...), 0)
	return uintptr(at)
}

// vector is the address of a NULL-terminated array of strings, as execve(2) takes it.
func (p *Program) vector(name string, list []string) uintptr {
	v := make([]uint64, 0, len(list)+1)
	for _, s := range list {
		v = append(v, uint64(p.cstring(name, s)))
	}
	return uintptr(p.words(append(v, 0)...))
}

// Filter is the address of a struct sock_fprog.
func (p *Program) Filter(name string, program []unix.SockFilter) Arg {
	if len(program) == 0 {
		p.fail("a filter of no instructions")
		return Arg{name: name}
	}
	var code []byte
	for _, f := range program {
		code = binary.LittleEndian.AppendUint16(code, f.Code)
		code = append(code, f.Jt, f.Jf)
		code = binary.LittleEndian.AppendUint32(code, f.K)
	}
	return arg(name, uintptr(p.words(uint64(len(program)), p.place(code))), instructions(len(program)))
}
