package kvm

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"unsafe"

	"tandem/internal/testenv"
)

// runOf makes a vCPU whose kvm_run holds an exit, as the kernel would leave it.
func runOf(reason ExitReason, union any) *VCPU {
	mem := make([]byte, 3*4096)
	v := &VCPU{descriptor: &descriptor{object: "vcpu 0"}, mem: mem, run: runPageOf(mem)}
	v.run.ExitReason = reason
	if union != nil {
		_, _ = binary.Encode(v.run.Exit[:], binary.NativeEndian, union)
	}
	return v
}

func TestExitsPrint(t *testing.T) {
	out := runOf(ReasonIO, runIO{Direction: ioOut, Size: 2, Port: 0x3f8, Count: 3, DataOffset: 4096})
	copy(out.mem[4096:], "abcdef")
	for _, test := range []struct {
		v    *VCPU
		want string
	}{
		{out, "IO out port 0x3f8 size 2 count 3 data 61 62 63 64 65 66"},
		{runOf(ReasonIO, runIO{Size: 4, Port: 0xcfc, Count: 1, DataOffset: 4096}), "IO in port 0xcfc size 4"},
		{runOf(ReasonMMIO, runMMIO{PhysAddr: 0xfee0_0000, Data: [8]uint8{1, 2}, Len: 2, IsWrite: 1}), "MMIO write gpa 0xfee00000 size 2 data 01 02"},
		{runOf(ReasonMMIO, runMMIO{PhysAddr: 0x1000, Len: 8}), "MMIO read gpa 0x1000 size 8"},
		{runOf(ReasonHLT, nil), "HLT"},
		{runOf(ReasonShutdown, nil), "SHUTDOWN"},
		{runOf(ReasonFailEntry, runFailEntry{HardwareReason: 0x8000_0021, CPU: 3}), "FAIL_ENTRY hardware reason 0x80000021 cpu 3"},
		{
			runOf(ReasonInternalError, runEmulationFailure{Suberror: 1, NData: 4, Flags: insnBytesValid, InsnSize: 3, InsnBytes: [15]uint8{0x0f, 0xae, 0x20, 0xff}}),
			"INTERNAL_ERROR suberror 1 (emulation failure) instruction 0f ae 20",
		},
		{
			runOf(ReasonInternalError, runInternal{Suberror: 3, NData: 2, Data: [16]uint64{7, 8}}),
			"INTERNAL_ERROR suberror 3 (exit while delivering an event) data [0x7 0x8]",
		},
		{runOf(ReasonInternalError, runInternal{Suberror: 9}), "INTERNAL_ERROR suberror 9 (suberror 9)"},
		{runOf(ReasonSystemEvent, runSystemEvent{Type: 2}), "SYSTEM_EVENT reset"},
		{runOf(ReasonSystemEvent, runSystemEvent{Type: 3, NData: 1, Data: [16]uint64{5}}), "SYSTEM_EVENT crash data [0x5]"},
		{runOf(ReasonDebug, runDebug{Exception: 1, PC: 0x1000, DR6: 0x4000, DR7: 0x400}), "DEBUG exception 1 pc 0x1000 dr6 0x4000 dr7 0x400"},
		{runOf(ReasonIRQWindowOpen, nil), "IRQ_WINDOW_OPEN"},
		{runOf(ReasonIOAPICEOI, runEOI{Vector: 0x31}), "IOAPIC_EOI vector 0x31"},
		{runOf(ReasonX86RDMSR, runMSR{Index: 0x10}), "X86_RDMSR msr 0x10"},
		{runOf(ReasonX86WRMSR, runMSR{Index: 0x10, Data: 0x20}), "X86_WRMSR msr 0x10 value 0x20"},
		{runOf(ReasonHypercall, runHypercall{Nr: 12, Args: [6]uint64{1, 2}}), "HYPERCALL 12 args [0x1 0x2 0x0 0x0 0x0 0x0]"},
		{runOf(ReasonUnknown, runHW{HardwareReason: 0x1f}), "UNKNOWN hardware reason 0x1f"},
		{runOf(ReasonNotify, nil), "NOTIFY (not decoded)"},
		{runOf(ReasonDirtyRingFull, nil), "DIRTY_RING_FULL"},
		{runOf(77, nil), "EXIT(77)"},
	} {
		got := test.v.decode()
		if got.String() != test.want || got.Reason() != test.v.run.ExitReason {
			t.Errorf("%v prints %q, want %q", test.v.run.ExitReason, got, test.want)
		}
	}
}

func TestLongStringIOPrintsItsStart(t *testing.T) {
	e := &IO{Port: 1, Size: 1, Count: 100, Data: bytes.Repeat([]byte{0xab}, 100)}
	if s := e.String(); len(s) > 150 || s[len(s)-4:] != " ..." {
		t.Errorf("prints %q", s)
	}
}

// FuzzDecode: whatever is in kvm_run, what decode hands out lies within it.
func FuzzDecode(f *testing.F) {
	f.Add(uint32(ReasonIO), []byte{1, 1, 0xf8, 3, 1, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0})
	f.Add(uint32(ReasonIO), []byte{0, 255, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Add(uint32(ReasonMMIO), []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 200, 0, 0, 0, 1})
	f.Add(uint32(ReasonInternalError), []byte{1, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 255})
	f.Add(uint32(ReasonSystemEvent), []byte{2, 0, 0, 0, 255, 0, 0, 0})
	f.Fuzz(func(t *testing.T, reason uint32, union []byte) {
		v := runOf(ExitReason(reason), nil)
		copy(v.run.Exit[:], union)
		exit := v.decode()
		if exit == nil {
			if ExitReason(reason) != ReasonIO {
				t.Errorf("exit %d is not decoded", reason)
			}
			return
		}
		if exit.String() == "" || exit.Reason() != ExitReason(reason) {
			t.Errorf("exit %d prints %q and gives reason %v", reason, exit, exit.Reason())
		}
		switch e := exit.(type) {
		case *IO:
			checkWithin(t, v.mem, e.Data)
		case *MMIO:
			checkWithin(t, v.mem, e.Data)
		}
	})
}

func checkWithin(t *testing.T, mem, part []byte) {
	t.Helper()
	if len(part) == 0 {
		return
	}
	start := uintptr(unsafe.Pointer(&mem[0]))
	first := uintptr(unsafe.Pointer(&part[0]))
	if first < start || first-start+uintptr(cap(part)) > uintptr(len(mem)) {
		t.Errorf("%d bytes at %#x are not within the %d at %#x", cap(part), first, len(mem), start)
	}
}

// TestCPUIDGrows starts with room for one leaf.
func TestCPUIDGrows(t *testing.T) {
	testenv.Need(t, testenv.KVM)
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want, err := s.SupportedCPUID()
	if err != nil {
		t.Fatal(err)
	}
	got, err := getCPUID(s.descriptor, reqGetSupportedCPUID, opGetSupportedCPUID, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Leaf 1 and others hold the APIC ID of the CPU that the call ran on.
	if !slices.EqualFunc(got, want, func(a, b CPUIDEntry) bool { return a.Function == b.Function && a.Index == b.Index }) {
		t.Errorf("%d leaves from a small start, %d from a large one", len(got), len(want))
	}
}

func TestImmediateExitLeavesItsNeighbour(t *testing.T) {
	v := runOf(ReasonHLT, nil)
	v.run.setRequestInterruptWindow(true)
	v.run.setImmediateExit(true)
	if v.run.RequestInterruptWindow != 1 || v.run.ImmediateExit != 1 {
		t.Errorf("window %d, immediate exit %d, want 1 and 1", v.run.RequestInterruptWindow, v.run.ImmediateExit)
	}
	v.run.setRequestInterruptWindow(false)
	if v.run.RequestInterruptWindow != 0 || v.run.ImmediateExit != 1 {
		t.Errorf("window %d, immediate exit %d, want 0 and 1", v.run.RequestInterruptWindow, v.run.ImmediateExit)
	}
	v.run.setImmediateExit(false)
	if v.run.ImmediateExit != 0 || v.run.ExitReason != ReasonHLT {
		t.Errorf("immediate exit %d, reason %v, want 0 and HLT", v.run.ImmediateExit, v.run.ExitReason)
	}
}
