package vmm

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"tandem/vmm/layout"
	"tandem/vmm/trace"
)

const (
	portTable = 0x6000 // 256 16-bit ports
	addrTable = 0x7000 // 256 32-bit addresses
)

// scribbler is a guest that reads and writes rounds times: a random port of its
// table, and a random offset from a random address of its table, with random
// values, in every width.
func scribbler(seed, rounds uint32) *asm {
	g := protected32()
	g.emit(0xBE).imm(seed)   // mov esi, seed
	g.emit(0xB9).imm(rounds) // mov ecx, rounds
	loop := g.Len()
	for _, shift := range [][]byte{{0xC1, 0xE0, 13}, {0xC1, 0xE8, 17}, {0xC1, 0xE0, 5}} { // xorshift32
		g.emit(0x89, 0xF0).emit(shift...).emit(0x31, 0xC6) // mov eax, esi; shl or shr; xor esi, eax
	}
	g.emit(0x89, 0xF3, 0x81, 0xE3).imm(0xFF)                // mov ebx, esi; and ebx, 0xff
	g.emit(0x0F, 0xB7, 0x14, 0x5D).imm(portTable)           // movzx edx, word [ebx*2+table]
	g.emit(0x89, 0xF0, 0xC1, 0xC8, 9)                       // mov eax, esi; ror eax, 9
	g.emit(0xEE, 0xED, 0xEC, 0x66, 0xED, 0xEF)              // out dx, al; in eax; in al; in ax; out dx, eax
	g.emit(0x89, 0xF3, 0xC1, 0xEB, 8, 0x81, 0xE3).imm(0xFF) // mov ebx, esi; shr ebx, 8; and ebx, 0xff
	g.emit(0x8B, 0x1C, 0x9D).imm(addrTable)                 // mov ebx, [ebx*4+table]
	g.emit(0x89, 0xF0, 0xC1, 0xE8, 16, 0x25).imm(0xFFF)     // mov eax, esi; shr eax, 16; and eax, 0xfff
	g.emit(0x01, 0xC3)                                      // add ebx, eax
	g.emit(0x89, 0x33, 0x8B, 0x03)                          // mov [ebx], esi; mov eax, [ebx]
	g.emit(0x66, 0x89, 0x33, 0x88, 0x03)                    // mov [ebx], si; mov [ebx], al
	g.emit(0x49).jnz(loop)                                  // dec ecx; jnz loop
	return g.powerOff()
}

// hostilePorts are all ports of devices, but those that end the machine at once.
func hostilePorts() []uint16 {
	var ports []uint16
	for _, r := range [][2]uint16{
		{layout.COM1, layout.COM1 + 7},
		{layout.COM2, layout.COM2 + 7},
		{layout.CMOSIndex, layout.CMOSData},
		{layout.PCIAddress, layout.PCIAddress + 7},
		{layout.BootTimer, layout.BootTimer},
		{layout.POST, layout.POST},
	} {
		for p := r[0]; p <= r[1]; p++ {
			ports = append(ports, p)
		}
	}
	return ports
}

// A guest that writes at random to every port, to PCI configuration space and to
// the registers of virtio devices may harm itself only.
func TestScribblingGuest(t *testing.T) {
	const rounds = 2000
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0x7a4de3))
			spec := scribbler(random.Uint32()|1, rounds).spec()
			spec.Devices = []Device{
				rngDevice("pci0", PCI), diskDevice("pci1", PCI, diskFile(t, 1<<20)),
				rngDevice("mmio0", MMIO), diskDevice("mmio1", MMIO, diskFile(t, 1<<20)),
				netDevice("pci2", PCI, newCable(t)), netDevice("mmio2", MMIO, newCable(t)),
			}
			spec.Trace = trace.New(io.Discard, trace.Bus, trace.None)
			vm := newVM(t, spec)
			ports := hostilePorts()
			table := []byte(nil)
			for range 256 {
				table = binary.LittleEndian.AppendUint16(table, ports[random.IntN(len(ports))])
			}
			poke(t, vm, portTable, table)
			targets := []uint32{layout.VirtioMMIO, layout.VirtioMMIO + layout.VirtioMMIOSize, layout.VirtioMMIO + 2*layout.VirtioMMIOSize}
			for device := range uint32(5) {
				targets = append(targets, layout.ECAM+device<<15, layout.PCIWindow+device<<12, layout.PCIWindow+0x8000+device<<12, layout.PCIWindow+0x10000+device<<12)
			}
			table = nil
			for range 256 {
				table = binary.LittleEndian.AppendUint32(table, targets[random.IntN(len(targets))])
			}
			poke(t, vm, addrTable, table)

			if err := vm.Start(); err != nil {
				t.Fatal(err)
			}
			o := wait(t, vm)
			switch o.Ending {
			case PowerOff:
			case TripleFault, InternalError, Reboot, Panic:
				// A device that it let loose wrote over its code.
				t.Logf("the guest brought itself down: %v", o)
			default:
				t.Errorf("outcome = %v", o)
			}
			wantTouched(t, spec.Trace, "pio com1", "pio pci ports", "pio rtc", "mmio pci ecam", "mmio pci0", "mmio pci1", "mmio pci2", "mmio mmio0", "mmio mmio1", "mmio mmio2")
		})
	}
}

// wantTouched holds that the guest read and wrote each of the devices.
func wantTouched(t *testing.T, tracer *trace.Tracer, devices ...string) {
	t.Helper()
	touched := map[string]bool{}
	for _, row := range tracer.Table() {
		touched[row.Name] = true
	}
	for _, d := range devices {
		if !touched[d+" read"] || !touched[d+" write"] {
			t.Errorf("the guest did not read and write %s", d)
		}
	}
}

// Every port, also across the edges of devices: each answers, and none ends the
// machine by being read.
func TestEveryPort(t *testing.T) {
	g := protected32()
	g.emit(0x31, 0xD2, 0x31, 0xC0) // xor edx, edx; xor eax, eax
	loop := g.Len()
	g.emit(0xED)                                    // in eax, dx
	g.emit(0x42, 0x81, 0xFA).imm(0x10000).jnz(loop) // inc edx; cmp edx, 0x10000
	g.powerOff()
	if o := run(t, g.spec()); o.Ending != PowerOff {
		t.Errorf("outcome = %v", o)
	}
}
