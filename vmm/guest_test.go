package vmm

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"tandem/internal/testenv"
	"tandem/vmm/layout"
)

// asm puts the machine code of a guest together, instruction by instruction. The
// encodings used are the same in 16-bit and 32-bit code, but where a name says
// otherwise.
type asm struct {
	bytes.Buffer
	mode Mode
}

func (a *asm) emit(b ...byte) *asm { a.Write(b); return a }

func (a *asm) imm(v uint32) *asm {
	if a.mode == ModeReal {
		return a.emit(byte(v), byte(v>>8))
	}
	return a.emit(byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

// outb writes a byte to a port: mov dx, port; mov al, v; out dx, al.
func (a *asm) outb(port uint16, v byte) *asm {
	return a.emit(0xBA).imm(uint32(port)).emit(0xB0, v, 0xEE)
}

// outl writes four bytes, in 32-bit code.
func (a *asm) outl(port uint16, v uint32) *asm {
	return a.emit(0xBA).imm(uint32(port)).emit(0xB8).imm(v).emit(0xEF)
}

// inl reads four bytes from a port into EAX, in 32-bit code.
func (a *asm) inl(port uint16) *asm { return a.emit(0xBA).imm(uint32(port)).emit(0xED) }

// send writes AL to COM1: mov dx, 0x3f8; out dx, al.
func (a *asm) send() *asm { return a.emit(0xBA).imm(layout.COM1).emit(0xEE) }

func (a *asm) print(s string) *asm {
	for _, c := range []byte(s) {
		a.outb(layout.COM1, c)
	}
	return a
}

// store32 writes v to a physical address, in 32-bit code: mov dword [addr], v.
func (a *asm) store32(addr, v uint32) *asm {
	return a.emit(0xC7, 0x05).imm(addr).imm(v)
}

// load32 reads EAX from a physical address, in 32-bit code.
func (a *asm) load32(addr uint32) *asm { return a.emit(0xA1).imm(addr) }

// store16 writes a word below 64 KiB in real mode: mov word [addr], v.
func (a *asm) store16(addr, v uint16) *asm {
	return a.emit(0xC7, 0x06, byte(addr), byte(addr>>8), byte(v), byte(v>>8))
}

func (a *asm) powerOff() *asm {
	return a.outb(layout.SleepControl, layout.SleepTypeS5<<2|layout.SleepEnable).halt()
}

// jnz jumps back to an offset that Len gave, if the last result was not zero; jz if
// it was, jmp always.
func (a *asm) jnz(to int) *asm { return a.emit(0x75, byte(to-a.Len()-2)) }
func (a *asm) jz(to int) *asm  { return a.emit(0x74, byte(to-a.Len()-2)) }
func (a *asm) jmp(to int) *asm { return a.emit(0xEB, byte(to-a.Len()-2)) }

// halt stops for good: cli; hlt; jmp to the hlt.
func (a *asm) halt() *asm { return a.emit(0xFA, 0xF4, 0xEB, 0xFD) }

// spin is an endless loop that makes no exits: jmp $.
func (a *asm) spin() *asm { return a.emit(0xEB, 0xFE) }

func real16() *asm      { return &asm{mode: ModeReal} }
func protected32() *asm { return &asm{mode: ModeProtected} }

const codeGPA = 0x1000

// spec is a small machine that runs the code.
func (a *asm) spec() Spec {
	return Spec{
		Name: "test", CPUs: 1, Memory: 2 << 20,
		Image: &Image{Code: a.Bytes(), GPA: codeGPA, Mode: a.mode},
	}
}

// safeBuffer is a buffer that a device writes and a test reads.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// testTime is far more than any of these guests takes.
const testTime = 2 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	t.Cleanup(cancel)
	return ctx
}

// newVM makes the machine and closes it after the test.
func newVM(t *testing.T, spec Spec) *VM {
	t.Helper()
	testenv.Need(t, testenv.KVM)
	vm, err := New(testContext(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	})
	return vm
}

// run starts the machine and waits for its end.
func run(t *testing.T, spec Spec) Outcome {
	t.Helper()
	vm := newVM(t, spec)
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	return wait(t, vm)
}

func wait(t *testing.T, vm *VM) Outcome {
	t.Helper()
	o, err := vm.Wait(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// talk runs a guest and gives what it wrote to COM1.
func talk(t *testing.T, spec Spec) (string, Outcome) {
	t.Helper()
	var out safeBuffer
	spec.Serial[0].Out = &out
	o := run(t, spec)
	return out.String(), o
}

func le32(s string) []uint32 {
	var list []uint32
	for b := []byte(s); len(b) >= 4; b = b[4:] {
		list = append(list, binary.LittleEndian.Uint32(b))
	}
	return list
}
