package vmm

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"tandem/internal/plan"
	"tandem/internal/testenv"
	"tandem/kvm"
	"tandem/virtio"
	"tandem/vmm/layout"
)

func TestValidateNamesEveryBadValue(t *testing.T) {
	spec := Spec{
		CPUs: layout.MaxCPUs + 1, Memory: 4097, HugePages: 3,
		Image:   &Image{Code: []byte{1, 2}, GPA: 1 << 20, Mode: "long"},
		Kernel:  &Kernel{Entry: "uefi", Initrd: []Part{{}, {Path: "x", Bytes: []byte{1}}}},
		Devices: []Device{{Name: "a", Open: noDevice}, {Name: "a", Transport: "ccw"}},
	}
	err := spec.Validate()
	if !errors.Is(err, ErrSpec) {
		t.Fatalf("Validate = %v, want ErrSpec", err)
	}
	want := []string{
		"CPUs", "HugePages", "Memory", "Memory", "Kernel, Image", "Kernel.Path", "Kernel.Entry",
		"Kernel.Initrd[0]", "Kernel.Initrd[1]", "Image.GPA", "Image.Mode",
		"Devices[1].Name", "Devices[1].Open", "Devices[1].Transport",
	}
	var got []string
	for _, e := range errors.Unwrap(err).(interface{ Unwrap() []error }).Unwrap() {
		var field *FieldError
		if !errors.As(e, &field) {
			t.Fatalf("%v is no FieldError", e)
		}
		got = append(got, field.Field)
	}
	if !slices.Equal(got, want) {
		t.Errorf("bad fields %q, want %q", got, want)
	}
}

func noDevice() (virtio.Device, error) { return nil, errors.ErrUnsupported }

func TestValidate(t *testing.T) {
	image := func(gpa uint64, mode Mode) *Image { return &Image{Code: []byte{0xF4}, GPA: gpa, Mode: mode} }
	many := func(n int, transport Transport) []Device {
		list := make([]Device, n)
		for i := range list {
			list[i] = Device{Name: string(rune('a' + i)), Transport: transport, Open: noDevice}
		}
		return list
	}
	for _, test := range []struct {
		name string
		spec Spec
		ok   bool
	}{
		{"small", Spec{CPUs: 1, Memory: 1 << 20, Image: image(0, ModeReal)}, true},
		{"large", Spec{CPUs: 32, Memory: 1 << 44, Image: image(0, ModeReal)}, true},
		{"no vCPU", Spec{CPUs: 0, Memory: 1 << 20, Image: image(0, ModeReal)}, false},
		{"negative", Spec{CPUs: -1, Memory: 1 << 20, Image: image(0, ModeReal)}, false},
		{"too little memory", Spec{CPUs: 1, Memory: 1<<20 - 4096, Image: image(0, ModeReal)}, false},
		{"too much memory", Spec{CPUs: 1, Memory: 1<<44 + 4096, Image: image(0, ModeReal)}, false},
		{"nothing to run", Spec{CPUs: 1, Memory: 1 << 20}, false},
		{"huge pages", Spec{CPUs: 1, Memory: 4 << 20, HugePages: HugePage2M, Image: image(0, ModeReal)}, true},
		{"part of a huge page", Spec{CPUs: 1, Memory: 3 << 20, HugePages: HugePage2M, Image: image(0, ModeReal)}, false},
		{"image at the end", Spec{CPUs: 1, Memory: 1 << 20, Image: image(1<<20-1, ModeProtected)}, true},
		{"image behind the end", Spec{CPUs: 1, Memory: 1 << 20, Image: image(1<<20, ModeProtected)}, false},
		{"image address that wraps", Spec{CPUs: 1, Memory: 1 << 20, Image: image(^uint64(0), ModeProtected)}, false},
		{"image above the hole", Spec{CPUs: 1, Memory: 5 << 30, Image: image(1<<32, ModeProtected)}, false},
		{"real mode above 64 KiB", Spec{CPUs: 1, Memory: 1 << 20, Image: image(1<<16, ModeReal)}, false},
		{"a full PCI bus", Spec{CPUs: 1, Memory: 1 << 20, Image: image(0, ModeReal), Devices: many(31, PCI)}, true},
		{"too many PCI devices", Spec{CPUs: 1, Memory: 1 << 20, Image: image(0, ModeReal), Devices: many(32, PCI)}, false},
		{"too many MMIO devices", Spec{CPUs: 1, Memory: 1 << 20, Image: image(0, ModeReal), Devices: many(layout.VirtioMMIOSlots+1, MMIO)}, false},
	} {
		if err := test.spec.Validate(); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// A plan is made and printed without KVM, and opens no device.
func TestPlanIsForPrinting(t *testing.T) {
	spec := real16().powerOff().spec()
	spec.CPUs = 2
	spec.Memory = 5 << 30
	spec.Devices = []Device{
		{Name: "disk0", Type: virtio.TypeBlk, Source: "a.img", Open: func() (virtio.Device, error) {
			t.Error("a printed plan opens a device")
			return nil, errors.ErrUnsupported
		}},
		{Name: "rng0", Type: virtio.TypeRNG, Transport: MMIO, Open: noDevice},
	}
	p, err := Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"mmap RAM 0  gpa=0x0 size=3221225472 pages=4K", "mmap RAM 1  gpa=0x100000000 size=2147483648",
		"KVM_CREATE_VM /dev/kvm", "KVM_SET_USER_MEMORY_REGION vm  slot=1 gpa=0x100000000",
		"KVM_CREATE_IRQCHIP vm", "attach com1  port=0x3f8 gsi=4",
		"open disk0  type=blk source=a.img", "plug disk0  transport=pci device=00:01.0",
		"plug rng0  transport=mmio gpa=0xfeb00000 gsi=5",
		"KVM_CREATE_VCPU vm  id=1", "KVM_SET_MP_STATE vcpu 1  state=uninitialized",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the plan does not say %q", want)
		}
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
	if _, err := p.Run(t.Context()); !errors.Is(err, errPrinted) {
		t.Errorf("Run of a printed plan = %v", err)
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

// What was done before a step that fails is undone: TestMain sees to what is left.
func TestFailedSetUp(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	broken := errors.New("broken")
	spec := real16().powerOff().spec()
	spec.Devices = []Device{
		rngDevice("rng0", PCI),
		{Name: "disk0", Open: func() (virtio.Device, error) { return nil, broken }},
	}
	vm, err := New(t.Context(), spec)
	var step *plan.StepError
	if vm != nil || !errors.Is(err, broken) || !errors.As(err, &step) || step.Op != "open" || step.Object != "disk0" {
		t.Errorf("New = %v, %v, want the failed step", vm, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(ctx, real16().powerOff().spec()); !errors.Is(err, context.Canceled) {
		t.Errorf("New = %v, want context.Canceled", err)
	}
}

func TestMissingFiles(t *testing.T) {
	spec := Spec{CPUs: 1, Memory: 64 << 20, Kernel: &Kernel{Path: "/nonexistent/vmlinuz"}}
	if _, err := New(t.Context(), spec); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/vmlinuz") {
		t.Errorf("New = %v, want a missing kernel", err)
	}
	if _, err := Plan(spec); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Plan = %v, want a missing kernel", err)
	}
}

func TestHugePages(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	// More than any host's pool: the error tells how many are free.
	spec := real16().powerOff().spec()
	spec.HugePages, spec.Memory = HugePage2M, 1<<40
	_, err := New(t.Context(), spec)
	var huge *HugePageError
	if !errors.Is(err, ErrHugePages) || !errors.As(err, &huge) {
		t.Fatalf("New = %v, want ErrHugePages", err)
	}
	if huge.Want != layout.HoleStart/HugePage2M && huge.Want != (1<<40-layout.HoleStart)/HugePage2M {
		t.Errorf("want %d pages", huge.Want)
	}
	if huge.Free != freeHugePages(HugePage2M) || !strings.Contains(err.Error(), "are free") {
		t.Errorf("%v does not tell how many are free", err)
	}
}

func TestHugePagesWork(t *testing.T) {
	testenv.Need(t, testenv.KVM, testenv.HugePages)
	for _, shared := range []bool{false, true} {
		before := freeHugePages(HugePage2M)
		spec := real16().print("ok").powerOff().spec()
		spec.HugePages, spec.SharedMemory, spec.Memory = HugePage2M, shared, 4<<20
		if got, o := talk(t, spec); got != "ok" || o.Ending != PowerOff {
			t.Errorf("shared %v: the guest said %q, %v", shared, got, o)
		}
		if before < 2 {
			t.Errorf("%d huge pages are free", before)
		}
	}
}

func TestSharedMemory(t *testing.T) {
	spec := protected32().store32(0x3000, 0x12345678).powerOff().spec()
	spec.SharedMemory = true
	vm := newVM(t, spec)
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	wait(t, vm)
	r := vm.Memory().Regions()[0]
	b := make([]byte, 4)
	if _, err := r.File.ReadAt(b, r.Offset+0x3000); err != nil || string(b) != "\x78\x56\x34\x12" {
		t.Errorf("another process would read % x, %v", b, err)
	}
}

func TestEndingsPrint(t *testing.T) {
	seen := map[int]Ending{}
	for e := PowerOff; e <= Stopped; e++ {
		if strings.HasPrefix(e.String(), "Ending(") {
			t.Errorf("%v has no name", e)
		}
		if other, ok := seen[e.ExitStatus()]; ok {
			t.Errorf("%v and %v have exit status %d", e, other, e.ExitStatus())
		}
		seen[e.ExitStatus()] = e
	}
	if got := Ending(99); got.String() != "Ending(99)" || got.ExitStatus() != 125 {
		t.Errorf("unknown ending = %v, %d", got, got.ExitStatus())
	}
	o := Outcome{Ending: Panic, CPU: 2, Run: 1234567890, Detail: "reset register"}
	if want := "panic on vcpu 2 after 1.235s: reset register"; o.String() != want {
		t.Errorf("outcome = %q, want %q", o, want)
	}
	if b, err := json.Marshal(o); err != nil || !strings.Contains(string(b), `"ending":"panic","cpu":2`) {
		t.Errorf("json = %s, %v", b, err)
	}
}

// entry is a CPUID leaf for tests.
func entry(function, index, eax, ebx, ecx, edx uint32) kvm.CPUIDEntry {
	e := kvm.CPUIDEntry{Function: function, Index: index, Eax: eax, Ebx: ebx, Ecx: ecx, Edx: edx}
	if function == leafCaches || function == leafAMDCaches || function == leafTopology {
		e.Flags = kvm.CPUIDSignificantIndex
	}
	return e
}

func TestCPUID(t *testing.T) {
	const all = ^uint32(0)
	host := []kvm.CPUIDEntry{
		entry(0, 0, 0x1F, 0, 0, 0),
		entry(leafFeatures, 0, 0x806F1, 0xAA100800, all, all),
		entry(leafCaches, 0, 0xFC004121, 1, 2, 3), // L1 data
		entry(leafCaches, 3, 0xFFFFC163, 1, 2, 3), // L3
		entry(leafCaches, 4, 0, 0, 0, 0),
		entry(leafPerfMon, 0, 1, 2, 3, 4),
		entry(leafTopology, 0, 1, 2, 0x100, 99),
		entry(leafTopologyV2, 0, 1, 2, 0x100, 99),
		entry(leafExtFeatures, 0, 0, 0, all, all),
		entry(leafExtSizes, 0, 0x3030, 7, all, 9),
		entry(leafSVM, 0, 1, 2, 3, 4),
		entry(leafAMDTopology, 0, 77, 77, 77, 77),
	}
	original := slices.Clone(host)
	got := topology{cpus: 6, tscDeadline: true}.cpuid(host, 5)
	if !slices.Equal(host, original) {
		t.Fatal("the host's leaves were changed")
	}
	find := func(leaf, index uint32) kvm.CPUIDEntry {
		e := kvm.FindCPUID(got, leaf, index)
		if e == nil {
			t.Fatalf("no leaf %#x.%d", leaf, index)
		}
		return *e
	}
	for _, test := range []struct {
		what      string
		got, want uint32
	}{
		{"APIC id, processors", find(leafFeatures, 0).Ebx, 5<<24 | 8<<16 | 0x0800},
		{"features", find(leafFeatures, 0).Ecx, all &^ featVMX},
		{"L1 is one core's, in 8", find(leafCaches, 0).Eax, 7<<26 | 0x0121},
		{"L3 is everybody's, in 8", find(leafCaches, 3).Eax, 7<<26 | 7<<14 | 0x0163},
		{"the list of caches ends", find(leafCaches, 4).Eax, 0},
		{"no counters", find(leafPerfMon, 0).Eax, 0},
		{"threads of a core", find(leafTopology, 0).Ebx, 1},
		{"bits for cores", find(leafTopology, 1).Eax, 3},
		{"cores", find(leafTopology, 1).Ebx, 6},
		{"level is core", find(leafTopology, 1).Ecx, 1 | topologyCore},
		{"x2APIC id", find(leafTopology, 1).Edx, 5},
		{"the levels end", find(leafTopology, 2).Ebx, 0},
		{"cores, the newer way", find(leafTopologyV2, 1).Ebx, 6},
		{"AMD features", find(leafExtFeatures, 0).Ecx, all &^ (featSVM | featPerfCore | featPerfNB)},
		{"AMD cores, bits", find(leafExtSizes, 0).Ecx & 0xF0FF, 3<<12 | 5},
		{"no SVM", find(leafSVM, 0).Edx, 0},
		{"AMD APIC id", find(leafAMDTopology, 0).Eax, 5},
	} {
		if test.got != test.want {
			t.Errorf("%s: %#x, want %#x", test.what, test.got, test.want)
		}
	}

	got = topology{cpus: 1, nested: true}.cpuid(host, 0)
	if e := find(leafFeatures, 0); e.Ecx != all&^featTSCDeadline || e.Edx != all&^featHTT || e.Ebx != 1<<16|0x0800 {
		t.Errorf("one nested vCPU: leaf 1 = %#x %#x %#x", e.Ebx, e.Ecx, e.Edx)
	}
	if e := find(leafExtFeatures, 0); e.Ecx&featSVM == 0 || e.Ecx&featCmpLegacy != 0 {
		t.Errorf("one nested vCPU: leaf 0x80000001 ECX = %#x", e.Ecx)
	}
}
