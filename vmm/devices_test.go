package vmm

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/testenv"
	"tandem/virtio"
	"tandem/virtio/blk"
	"tandem/virtio/rng"
	"tandem/vmm/layout"
)

func rngDevice(name string, transport Transport) Device {
	return Device{
		Name: name, Type: virtio.TypeRNG, Transport: transport,
		Open: func() (virtio.Device, error) { return rng.New(), nil },
	}
}

func diskDevice(name string, transport Transport, path string) Device {
	return Device{
		Name: name, Type: virtio.TypeBlk, Transport: transport, Source: path,
		Open: func() (virtio.Device, error) { return blk.Open(blk.Spec{Path: path}) },
	}
}

func diskFile(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// poke writes guest memory before the machine starts.
func poke(t *testing.T, vm *VM, gpa uint64, b []byte) {
	t.Helper()
	to, err := vm.Memory().Slice(gpa, uint64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	copy(to, b)
}

// Where the hand-made drivers keep their queue.
const (
	descGPA   = 0x8000
	availGPA  = 0x9000
	usedGPA   = 0xA000
	bufferGPA = 0xB000
	queueSize = 4
)

// layQueue puts one chain of one writable buffer into a queue.
func layQueue(t *testing.T, vm *VM, length uint32) {
	t.Helper()
	desc := binary.LittleEndian.AppendUint64(nil, bufferGPA)
	desc = binary.LittleEndian.AppendUint32(desc, length)
	desc = binary.LittleEndian.AppendUint16(desc, 2) // VIRTQ_DESC_F_WRITE
	desc = binary.LittleEndian.AppendUint16(desc, 0)
	poke(t, vm, descGPA, desc)
	poke(t, vm, availGPA, []byte{0, 0, 1, 0, 0, 0}) // flags 0, idx 1, ring[0] = 0
}

// Registers of virtio-mmio (virtio 1.2, 4.2.2).
const (
	mmioMagic        = 0x000
	mmioDeviceID     = 0x008
	mmioDriverSel    = 0x024
	mmioDriver       = 0x020
	mmioQueueSel     = 0x030
	mmioQueueNum     = 0x038
	mmioQueueReady   = 0x044
	mmioQueueNotify  = 0x050
	mmioInterrupt    = 0x060
	mmioInterruptAck = 0x064
	mmioStatus       = 0x070
	mmioDesc         = 0x080
	mmioAvail        = 0x090
	mmioUsed         = 0x0A0
)

// sendEAX writes the four bytes of EAX to COM1.
func (a *asm) sendEAX() *asm {
	for range 4 {
		a.send().emit(0xC1, 0xE8, 8) // shr eax, 8
	}
	return a
}

// waitUsed waits until the device has used the chain: mov ax, [used+2]; test; jz.
func (a *asm) waitUsed() *asm {
	return a.emit(0x66, 0xA1).imm(usedGPA+2).emit(0x66, 0x85, 0xC0, 0x74, 0xF5)
}

// A driver in machine code drives the entropy device over virtio-mmio: its four
// random bytes must arrive, with an interrupt.
func TestMMIODevice(t *testing.T) {
	const base = layout.VirtioMMIO
	g := protected32()
	g.load32(base + mmioMagic).sendEAX()
	g.load32(base + mmioDeviceID).sendEAX()
	g.store32(base+mmioStatus, 0)
	g.store32(base+mmioStatus, virtio.StatusAcknowledge|virtio.StatusDriver)
	g.store32(base+mmioDriverSel, 1).store32(base+mmioDriver, 1) // VIRTIO_F_VERSION_1
	g.store32(base+mmioStatus, virtio.StatusAcknowledge|virtio.StatusDriver|virtio.StatusFeaturesOK)
	g.store32(base+mmioQueueSel, 0).store32(base+mmioQueueNum, queueSize)
	g.store32(base+mmioDesc, descGPA).store32(base+mmioAvail, availGPA).store32(base+mmioUsed, usedGPA)
	g.store32(base+mmioQueueReady, 1)
	g.store32(base+mmioStatus, virtio.StatusAcknowledge|virtio.StatusDriver|virtio.StatusFeaturesOK|virtio.StatusDriverOK)
	g.store32(base+mmioQueueNotify, 0)
	g.waitUsed()
	// The interrupt's cause is set after the used index.
	loop := g.Len()
	g.load32(base+mmioInterrupt).emit(0xA8, 1).jz(loop) // test al, 1
	g.sendEAX()
	g.store32(base+mmioInterruptAck, 1)
	g.load32(base + mmioInterrupt).sendEAX()
	g.load32(usedGPA + 8).sendEAX() // the used element's length
	g.powerOff()

	spec := g.spec()
	spec.Devices = []Device{rngDevice("rng0", MMIO)}
	var out safeBuffer
	spec.Serial[0].Out = &out
	vm := newVM(t, spec)
	layQueue(t, vm, 16)
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if o := wait(t, vm); o.Ending != PowerOff {
		t.Fatalf("outcome = %v", o)
	}
	want := []uint32{0x74726976, uint32(virtio.TypeRNG), 1, 0, 16}
	if got := le32(out.String()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the guest saw magic, id, interrupt, after ack, length %#x, want %#x", got, want)
	}
	random, err := vm.Memory().Slice(bufferGPA, 16)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(random), "\x00") == 16 {
		t.Error("the buffer holds no random bytes")
	}
}

// The PCI function as the guest finds it: vendor and device, its BAR where the
// machine placed it, and the registers behind the BAR.
func TestPCIDevice(t *testing.T) {
	g := protected32()
	config := func(reg uint32) *asm {
		return g.outl(layout.PCIAddress, 1<<31|1<<11|reg).inl(layout.PCIData)
	}
	config(0).sendEAX()
	config(0x10).sendEAX()
	g.load32(layout.ECAM + 1<<15).sendEAX()
	g.load32(layout.ECAM + 31<<15).sendEAX()
	g.powerOff()

	spec := g.spec()
	spec.Devices = []Device{diskDevice("disk0", "", diskFile(t, 1<<20))}
	got, o := talk(t, spec)
	words := le32(got)
	if o.Ending != PowerOff || len(words) != 4 {
		t.Fatalf("outcome = %v, %d words", o, len(words))
	}
	const id = 0x1042<<16 | 0x1AF4 // virtio 1.2, 4.1.2
	if words[0] != id || words[2] != id || words[3] != ^uint32(0) {
		t.Errorf("ids %#x by ports, %#x by ECAM, %#x of nobody", words[0], words[2], words[3])
	}
	if bar := words[1]; bar < layout.PCIWindow || bar >= layout.PCIWindow+layout.PCIWindowSize {
		t.Errorf("BAR 0 at %#x, outside of the window", bar)
	}
}

// A message goes the whole way: an eventfd is signalled, KVM sends the message that
// the routing table holds, and the vCPU takes the interrupt.
func TestMSI(t *testing.T) {
	const vector, idt, gdt = 0x40, 0x4000, 0x5000
	g := protected32()
	g.emit(0x0F, 0x01, 0x15).imm(0x5800) // lgdt [0x5800]
	g.emit(0x0F, 0x01, 0x1D).imm(0x4800) // lidt [0x4800]
	g.store32(layout.LAPIC+0xF0, 0x1FF)  // enable the local APIC
	g.outb(layout.COM1, 'R').emit(0xFB)  // ready; sti
	g.jmp(g.emit(0xF4).Len() - 1)        // hlt, again and again
	handler := uint32(codeGPA + g.Len())
	g.print("!").powerOff()

	spec := g.spec()
	out := &notifyWriter{seen: make(chan byte, 16)}
	spec.Serial[0].Out = out
	vm := newVM(t, spec)
	poke(t, vm, gdt, binary.LittleEndian.AppendUint64(make([]byte, 8), uint64(flatCode)))
	poke(t, vm, 0x5800, append([]byte{15, 0}, binary.LittleEndian.AppendUint32(nil, gdt)...))
	gate := uint64(handler&0xFFFF) | 8<<16 | 0x8E<<40 | uint64(handler>>16)<<48
	poke(t, vm, idt+vector*8, binary.LittleEndian.AppendUint64(nil, gate))
	poke(t, vm, 0x4800, append([]byte{0xFF, 7}, binary.LittleEndian.AppendUint32(nil, idt)...))

	m, err := newHost(vm, "test").MSI()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Set(layout.LAPIC, vector); err != nil {
		t.Fatal(err)
	}
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if c := <-out.seen; c != 'R' {
		t.Fatalf("the guest said %q", c)
	}
	// Masked, a signal waits in the eventfd; unmasking delivers it.
	if err := m.Event().Signal(); err != nil {
		t.Fatal(err)
	}
	if !m.Event().Pending() {
		t.Error("a masked message's signal was taken")
	}
	if err := m.Unmask(); err != nil {
		t.Fatal(err)
	}
	if o := wait(t, vm); o.Ending != PowerOff || <-out.seen != '!' {
		t.Errorf("outcome = %v", o)
	}
}

// notifyWriter hands on each byte.
type notifyWriter struct{ seen chan byte }

func (w *notifyWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		w.seen <- c
	}
	return len(p), nil
}

// The numbers for messages run out with an error, and come back.
func TestMSIsRunOut(t *testing.T) {
	vm := newVM(t, real16().powerOff().spec())
	vm.irq.limit = layout.MSIGSI + 3
	h := newHost(vm, "test")
	var list []virtio.MSI
	for range 3 {
		m, err := h.MSI()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	if _, err := h.MSI(); err == nil {
		t.Error("a fourth message of three")
	}
	for _, m := range list {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("second Close = %v", err)
		}
	}
	m, err := h.MSI()
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

// A pin is high while any of its lines is.
func TestLinesShareAPin(t *testing.T) {
	vm := newVM(t, real16().powerOff().spec())
	a, b := vm.irq.line(17), vm.irq.line(17)
	for _, step := range []struct {
		line *line
		high bool
		want int
	}{{a, true, 1}, {a, true, 1}, {b, true, 2}, {a, false, 1}, {a, false, 1}, {b, false, 0}, {b, false, 0}} {
		if err := step.line.Set(step.high); err != nil {
			t.Fatal(err)
		}
		if got := vm.irq.pins[17].high; got != step.want {
			t.Fatalf("%d lines are high, want %d", got, step.want)
		}
	}
}

// Where a guest may put a device's window.
func TestHostMapAreas(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	vm := newVM(t, real16().powerOff().spec())
	h := newHost(vm, "test")
	for _, test := range []struct {
		bus        virtio.Bus
		addr, size uint64
		ok         bool
	}{
		{virtio.MMIO, layout.PCIWindow, 0x1000, true},
		{virtio.MMIO, layout.PCIWindow + layout.PCIWindowSize - 0x1000, 0x1000, true},
		{virtio.MMIO, layout.PCIWindow + layout.PCIWindowSize - 0x1000, 0x2000, false},
		{virtio.MMIO, 0, 0x1000, false},
		{virtio.MMIO, layout.IOAPIC, 0x1000, false},
		{virtio.MMIO, ^uint64(0) - 0xFFF, 0x1000, false},
		{virtio.MMIO, layout.ECAM, 0x1000, false},
		{virtio.PIO, 0x700, 8, false},
	} {
		w := virtio.Window{Bus: test.bus, Addr: test.addr, Size: test.size}
		if err := h.Map(w, post{}); (err == nil) != test.ok {
			t.Errorf("Map(%v %#x, %#x) = %v", test.bus, test.addr, test.size, err)
		} else if err == nil {
			if err := h.Unmap(w); err != nil {
				t.Error(err)
			}
		}
		if err := h.Unmap(w); err == nil {
			t.Errorf("Unmap(%v %#x) of nothing works", test.bus, test.addr)
		}
	}
}
