package layout

import "testing"

func TestRAM(t *testing.T) {
	const gib = 1 << 30
	for _, test := range []struct {
		size uint64
		want []Range
	}{
		{1 << 20, []Range{{0, 1 << 20}}},
		{3 * gib, []Range{{0, 3 * gib}}},
		{3*gib + PageSize, []Range{{0, 3 * gib}, {4 * gib, PageSize}}},
		{5 * gib, []Range{{0, 3 * gib}, {4 * gib, 2 * gib}}},
	} {
		got := RAM(test.size)
		if len(got) != len(test.want) {
			t.Errorf("RAM(%#x) = %v, want %v", test.size, got, test.want)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("RAM(%#x) = %v, want %v", test.size, got, test.want)
			}
		}
	}
}

// Nothing in the hole overlaps anything else, and all of it is in the hole.
func TestHole(t *testing.T) {
	hole := []struct {
		name string
		Range
	}{
		{"PCI window", Range{PCIWindow, PCIWindowSize}},
		{"ECAM", Range{ECAM, ECAMSize}},
		{"virtio-mmio", Range{VirtioMMIO, VirtioMMIOSize * uint64(VirtioMMIOSlots)}},
		{"IOAPIC", Range{IOAPIC, IOAPICSize}},
		{"LAPIC", Range{LAPIC, LAPICSize}},
		{"identity map", Range{KVMIdentityMap, KVMIdentityMapSize}},
		{"TSS", Range{KVMTSS, KVMTSSSize}},
	}
	for i, r := range hole {
		if r.GPA < HoleStart || r.End() > HoleEnd || r.GPA%PageSize != 0 || r.Size%PageSize != 0 {
			t.Errorf("%s at %#x, %#x long: not whole pages within the hole", r.name, r.GPA, r.Size)
		}
		if i > 0 && r.GPA < hole[i-1].End() {
			t.Errorf("%s overlaps %s", r.name, hole[i-1].name)
		}
	}
}

// Each virtio-mmio slot has a pin of its own, and no platform device's.
func TestInterruptPins(t *testing.T) {
	owner := map[uint32]string{COM1GSI: "com1", COM2GSI: "com2", RTCGSI: "rtc", 0: "timer", 1: "keyboard", 2: "cascade"}
	for n := range VirtioMMIOSlots {
		gsi := VirtioMMIOGSI(n)
		if who, taken := owner[gsi]; taken || gsi >= IOAPICPins {
			t.Errorf("slot %d has GSI %d, %q", n, gsi, who)
		}
		owner[gsi] = "virtio-mmio"
	}
	for device := range 32 {
		for pin := range 4 {
			if gsi := PCIINTxGSI(device, pin); gsi < INTxGSI || gsi >= INTxGSI+INTxLines {
				t.Errorf("PCIINTxGSI(%d, %d) = %d", device, pin, gsi)
			}
		}
	}
	if a, b := PCIINTxGSI(1, 0), PCIINTxGSI(1, 1); b != a+1 {
		t.Errorf("pins of a device are on %d and %d, want neighbours", a, b)
	}
}
