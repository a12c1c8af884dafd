package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tandem/kvm"
)

// Where the guest has what, in its 64 KiB.
const (
	memorySize = 0x10000
	codeAt     = 0x1000
	dataAt     = 0x2000 // for the instructions that are tried
	pml4At     = 0x4000
	pdptAt     = 0x5000
	pdAt       = 0x6000
	stackTop   = 0x8000
)

// guest is a VM with one vCPU, that runs in 64-bit mode, without interrupts
// and without any exception handler.
type guest struct {
	vm     *kvm.VM
	cpu    *kvm.VCPU
	cpuid  []kvm.CPUIDEntry // what the vCPU has been given
	memory []byte
}

func newGuest(sys *kvm.System) (*guest, error) {
	g := &guest{}
	if err := g.setUp(sys); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *guest) setUp(sys *kvm.System) (err error) {
	g.memory, err = unix.Mmap(-1, 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("kvm/probe: map guest memory: %w", err)
	}
	if g.vm, err = sys.CreateVM(); err != nil {
		return err
	}
	// Addresses that the guest's memory leaves free; KVM on older VMX wants them.
	if err = g.vm.SetTSSAddr(0xfffb_d000); err != nil {
		return err
	}
	if err = g.vm.SetMemory(kvm.MemorySlot{Memory: g.memory}); err != nil {
		return err
	}
	if g.cpu, err = g.vm.CreateVCPU(0); err != nil {
		return err
	}
	if g.cpuid, err = sys.SupportedCPUID(); err != nil {
		return err
	}
	return g.cpu.SetCPUID(g.cpuid)
}

func (g *guest) close() {
	if g.cpu != nil {
		g.cpu.Close()
	}
	if g.vm != nil {
		g.vm.Close()
	}
	if g.memory != nil {
		unix.Munmap(g.memory)
	}
}

// mode is the CPL that the code runs at.
type mode uint8

const (
	kernelMode mode = 0
	userMode   mode = 3
)

// Bits of the page tables and control registers that are used below.
const (
	pagePresent, pageWritable, pageUser, pageLarge = 1 << 0, 1 << 1, 1 << 2, 1 << 7

	cr0PE, cr0MP, cr0ET, cr0NE, cr0PG          = 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 31
	cr4PAE, cr4OSFXSR, cr4XMM, cr4XSave        = 1 << 5, 1 << 9, 1 << 10, 1 << 18
	eferLME, eferLMA                           = 1 << 8, 1 << 10
	rflagsReserved                      uint64 = 1 << 1
)

// load puts code in place, and the vCPU before it: 64-bit mode at the CPL of
// mode, with the first 2 MiB mapped one to one.
func (g *guest) load(code []byte, m mode) error {
	copy(g.memory[codeAt:], code)
	const table = pagePresent | pageWritable | pageUser
	binary.LittleEndian.PutUint64(g.memory[pml4At:], pdptAt|table)
	binary.LittleEndian.PutUint64(g.memory[pdptAt:], pdAt|table)
	binary.LittleEndian.PutUint64(g.memory[pdAt:], 0|table|pageLarge)

	sregs, err := g.cpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CR3 = pml4At
	sregs.CR0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0PG
	sregs.CR4 = cr4PAE | cr4OSFXSR | cr4XMM
	if g.offers(featureXSave) {
		sregs.CR4 |= cr4XSave
	}
	sregs.EFER = eferLME | eferLMA
	dpl, rpl := uint8(m), uint16(m)
	sregs.CS = kvm.Segment{Limit: ^uint32(0), Selector: 8 | rpl, Typ: 11, Present: 1, DPL: dpl, S: 1, L: 1, G: 1}
	data := kvm.Segment{Limit: ^uint32(0), Selector: 16 | rpl, Typ: 3, Present: 1, DPL: dpl, S: 1, DB: 1, G: 1}
	sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
	if err := g.cpu.SetSregs(sregs); err != nil {
		return err
	}
	return g.cpu.SetRegs(kvm.Regs{RIP: codeAt, RSP: stackTop, RFLAGS: rflagsReserved})
}

// Bits of CPUID leaf 1's ECX.
const (
	featureCX16  = 1 << 13
	featureXSave = 1 << 26
)

// offers tells whether the vCPU's CPUID has all of the features.
func (g *guest) offers(features uint32) bool {
	leaf := kvm.FindCPUID(g.cpuid, 1, 0)
	return leaf != nil && leaf.Ecx&features == features
}

// counting is a loop of two instructions that counts its rounds in RCX.
var counting = []byte{
	0x48, 0xff, 0xc1, // inc rcx
	0xeb, 0xfb, // jmp -5
}

const countingInstructions = 2

// A loop that was cut short after fewer rounds than this says more about the way
// into the guest, which takes milliseconds on a KVM that is itself emulated,
// than about the guest: it is given more time, up to longest.
const (
	fewestRounds = 1000
	longest      = 100 * time.Millisecond
)

// rate runs the loop for some slices of time, and returns instructions a
// second of CPU time in the best of them: a host that is busy with something
// else can only make a slice look slow.
func (g *guest) rate(m mode, slices int, long time.Duration) (float64, error) {
	if err := g.load(counting, m); err != nil {
		return 0, err
	}
	if err := g.cpu.Bind(); err != nil {
		return 0, err
	}
	defer g.cpu.Unbind()
	best := 0.0
	for range slices {
		r, err := g.slice(long)
		if err != nil {
			return 0, err
		}
		best = max(best, r)
	}
	return best, nil
}

// rateOrEnough is rate, quickly: it stops at the first slice that shows enough,
// and goes on to a second, longer look before it says that there is less. Of the
// time that a host above this one spends elsewhere no clock here knows.
func (g *guest) rateOrEnough(m mode, enough float64) (float64, error) {
	best, err := g.rate(m, quickSlices, quickSlice)
	for n := 0; err == nil && best < enough && n < doubtSlices; n++ {
		var r float64
		r, err = g.rate(m, 1, doubtSlice)
		best = max(best, r)
	}
	return best, err
}

// slice runs the loop for about as long as it is told to, or longer where that
// says nothing yet.
func (g *guest) slice(long time.Duration) (float64, error) {
	for {
		rounds, took, err := g.count(long)
		if err != nil {
			return 0, err
		}
		if rounds >= fewestRounds || long >= longest {
			return countingInstructions * float64(rounds) / took.Seconds(), nil
		}
		long *= 4
	}
}

// count runs the loop once, and returns how many rounds it made in which CPU
// time.
func (g *guest) count(long time.Duration) (rounds uint64, took time.Duration, err error) {
	before, err := g.cpu.Regs()
	if err != nil {
		return 0, 0, err
	}
	if took, err = g.runFor(long); err != nil {
		return 0, 0, err
	}
	after, err := g.cpu.Regs()
	if err != nil {
		return 0, 0, err
	}
	if took <= 0 {
		return 0, 0, errors.New("kvm/probe: the guest's loop took no time")
	}
	return after.RCX - before.RCX, took, nil
}

// runFor runs the guest until a timer kicks it out, and returns the CPU time
// that this thread spent. The guest's code must make no exits.
func (g *guest) runFor(long time.Duration) (time.Duration, error) {
	var (
		mu    sync.Mutex
		fired bool
	)
	start := threadTime()
	timer := time.AfterFunc(long, func() {
		mu.Lock()
		defer mu.Unlock()
		fired = true
		_ = g.cpu.Kick() // bound above, and not closed before this function returns
	})
	defer timer.Stop()
	for {
		exit, err := g.cpu.Run()
		if err == nil {
			return 0, fmt.Errorf("kvm/probe: the guest's loop made an exit: %v", exit)
		}
		if !errors.Is(err, kvm.ErrInterrupted) {
			return 0, err
		}
		mu.Lock() // also waits for Kick to be over
		done := fired
		mu.Unlock()
		if done {
			return threadTime() - start, nil
		}
	}
}

// threadTime is the CPU time of this thread, in the guest and outside.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// instructions are those that Linux uses in kernel mode and interpreters are
// known to lack. Each ends in a HLT, which exits as the VM has no irqchip.
var instructions = []struct {
	name     string
	features uint32 // in CPUID leaf 1's ECX
	code     []byte
}{
	{"x87", 0, []byte{
		0xdb, 0xe3, // fninit
		0xd9, 0xe8, // fld1
		0xf4, // hlt
	}},
	{"FXSAVE", 0, []byte{
		0x0f, 0xae, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, // fxsave [dataAt]
		0xf4, // hlt
	}},
	{"XSAVE", featureXSave, []byte{
		0xb8, 0x03, 0x00, 0x00, 0x00, // mov eax, 3: x87 and SSE
		0x31, 0xd2, // xor edx, edx
		0x0f, 0xae, 0x24, 0x25, 0x00, 0x20, 0x00, 0x00, // xsave [dataAt]
		0xf4, // hlt
	}},
	{"CMPXCHG16B", featureCX16, []byte{
		0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0x20, 0x00, 0x00, // cmpxchg16b [dataAt]
		0xf4, // hlt
	}},
}

// try runs code in kernel mode and returns the exit that it made, as text, if
// that was not the HLT at its end.
func (g *guest) try(code []byte) (why string, err error) {
	if err := g.load(code, kernelMode); err != nil {
		return "", err
	}
	for {
		exit, err := g.cpu.Run()
		if errors.Is(err, kvm.ErrInterrupted) {
			continue
		}
		if err != nil {
			return "", err
		}
		if _, halted := exit.(*kvm.HLT); halted {
			return "", nil
		}
		return exit.String(), nil
	}
}
