package child

import (
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Everything that an address in a program points at is on the heap, where nothing moves, and is kept by the program.

// Int is a number, shown as it is.
func Int(name string, v int) Arg { return arg(name, uintptr(v), nil) }

// Flags is a number that is shown as text, such as "MS_BIND|MS_REC".
func Flags(name string, v uint64, show string) Arg {
	return arg(name, uintptr(v), show)
}

// From is what an earlier call returned.
func From(name string, r Reg) Arg {
	return Arg{name: name, operand: operand{value: uintptr(r), isReg: true}}
}

// hidden keeps an argument out of the printed form.
func hidden(a Arg) Arg {
	a.hidden = true
	return a
}

// File is one of the parent's descriptors. Those that no argument names are closed in the child.
func (p *Program) File(name string, fd int) Arg {
	p.files = append(p.files, fd)
	return Int(name, fd)
}

// Str is text, NUL-terminated in memory. Text that has a NUL byte of its own is an error of the program's.
func (p *Program) Str(name, s string) Arg {
	return arg(name, p.cstring(name, s), s)
}

// Bytes is the address of b.
func (p *Program) Bytes(name string, b []byte, show any) Arg {
	if len(b) == 0 {
		return Arg{name: name, show: show}
	}
	p.keep = append(p.keep, b)
	return arg(name, uintptr(unsafe.Pointer(unsafe.SliceData(b))), show)
}

// pointer is the address of v, which must be on the heap.
func pointer[T any](p *Program, name string, v *T, show any) Arg {
	p.keep = append(p.keep, v)
	return arg(name, uintptr(unsafe.Pointer(v)), show)
}

func (p *Program) cstring(name, s string) uintptr {
	if strings.IndexByte(s, 0) >= 0 {
		p.fail("%s %q has a NUL byte", name, s)
		return 0
	}
	if len(s)+1 > cap(p.text)-len(p.text) {
		p.text = make([]byte, 0, max(2048, len(s)+1))
		p.keep = append(p.keep, p.text)
	}
	at := len(p.text)
	p.text = append(append(p.text, s...), 0)
	return uintptr(unsafe.Pointer(&p.text[at]))
}

// vector is a NULL-terminated array of strings, as execve(2) takes it, with room for free words before them.
func (p *Program) vector(name string, free int, list []string) []uintptr {
	v := make([]uintptr, free, free+len(list)+1)
	for _, s := range list {
		v = append(v, p.cstring(name, s))
	}
	v = append(v, 0)
	p.keep = append(p.keep, v)
	return v
}

func address[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// expect compares memory that a call has filled.
type expect struct {
	at    unsafe.Pointer
	size  int // 4 or 8
	mask  uint64
	want  uint64
	errno unix.Errno
	to    Label
}

// store writes a word into memory. It is an address, but no write barrier may see it as one.
type store struct {
	at    unsafe.Pointer
	value uintptr
}

func (p *Program) storeWord(at *uintptr, value uintptr) {
	p.add(Call{
		kind: kindStore, op: "store", into: -1, quiet: true, store: &store{unsafe.Pointer(at), value},
	})
}

// Filter is the address of a struct sock_fprog.
func (p *Program) Filter(name string, program []unix.SockFilter) Arg {
	if len(program) == 0 {
		p.fail("a filter of no instructions")
		return Arg{name: name}
	}
	fprog := &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return pointer(p, name, fprog, fmt.Sprintf("%d instructions", len(program)))
}
