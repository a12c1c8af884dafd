package vmm

import (
	"encoding/binary"
	"testing"

	"tandem/vmm/layout"
)

// The first vCPU wakes the others (INIT, then SIPI to everybody else), each counts
// itself in, and the first powers off when all have.
func TestSMP(t *testing.T) {
	const cpus, counter, apCode = 4, 0x3000, 0x2000
	g := protected32()
	g.store32(layout.LAPIC+0xF0, 0x1FF)               // enable the local APIC
	g.store32(layout.LAPIC+0x300, 0xC4500)            // INIT to all but self
	g.store32(layout.LAPIC+0x300, 0xC4600|apCode>>12) // SIPI
	loop := g.Len()
	g.load32(counter).emit(0x3D).imm(cpus - 1).jnz(loop)
	g.powerOff()

	ap := real16()
	ap.emit(0xF0, 0xFF, 0x06).imm(counter) // lock inc word [counter]
	ap.halt()

	spec := g.spec()
	spec.CPUs = cpus
	vm := newVM(t, spec)
	poke(t, vm, apCode, ap.Bytes())
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if o := wait(t, vm); o.Ending != PowerOff {
		t.Errorf("outcome = %v", o)
	}
	b, err := vm.Memory().Slice(counter, 4)
	if err != nil {
		t.Fatal(err)
	}
	if n := binary.LittleEndian.Uint32(b); n != cpus-1 {
		t.Errorf("%d vCPUs were woken, want %d", n, cpus-1)
	}
}

// vCPUs that wait to be woken can be paused and stopped too.
func TestPauseSMP(t *testing.T) {
	spec := protected32().spin().spec()
	spec.CPUs = layout.MaxCPUs
	vm := newVM(t, spec)
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	for range 3 {
		if err := vm.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if err := vm.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	vm.Stop()
	if o := wait(t, vm); o.Ending != Stopped {
		t.Errorf("outcome = %v", o)
	}
}
