package kvm

import gokvm "github.com/bobuhiro11/gokvm/kvm"

// Types of the kernel's ABI, laid out as in linux/kvm.h and asm/kvm.h. They
// come from gokvm where it has them right, which a test of this package
// checks for every size and every field's offset. Nothing else of gokvm is
// used: its ioctls take addresses as uintptr and hide EINTR.
type (
	Regs       = gokvm.Regs       // struct kvm_regs
	Sregs      = gokvm.Sregs      // struct kvm_sregs
	Sregs2     = gokvm.SRegs2     // struct kvm_sregs2
	Segment    = gokvm.Segment    // struct kvm_segment
	Descriptor = gokvm.Descriptor // struct kvm_dtable
	DebugRegs  = gokvm.DebugRegs  // struct kvm_debugregs
	XCR        = gokvm.XRC        // struct kvm_xcr
	XCRS       = gokvm.XCRS       // struct kvm_xcrs
	VCPUEvents = gokvm.VCPUEvents // struct kvm_vcpu_events
	LAPIC      = gokvm.LAPICState // struct kvm_lapic_state
	CPUIDEntry = gokvm.CPUIDEntry2
	MSREntry   = gokvm.MSREntry    // struct kvm_msr_entry
	IRQChip    = gokvm.IRQChip     // struct kvm_irqchip
	PICState   = gokvm.PICState    // struct kvm_pic_state
	PITState   = gokvm.PITState2   // struct kvm_pit_state2
	ClockData  = gokvm.ClockData   // struct kvm_clock_data
	Translated = gokvm.Translation // struct kvm_translation
)

// FPU is struct kvm_fpu: the x87 and SSE state. XSAVE covers it and more;
// this one works on hosts without XSAVE.
type FPU struct {
	FPR        [8][16]uint8
	FCW        uint16
	FSW        uint16
	FTWX       uint8 // the tag word in FXSAVE's short form
	_          uint8
	LastOpcode uint16
	LastIP     uint64
	LastDP     uint64
	XMM        [16][16]uint8
	MXCSR      uint32
	_          uint32
}

// Bits of ClockData.Flags.
const (
	ClockTSCStable = 1 << 1 // the guest's clock is the same on all its vCPUs
	ClockRealtime  = 1 << 2 // Realtime is valid
	ClockHostTSC   = 1 << 3 // HostTSC is valid
)

// Bits of VCPUEvents.Flags: which of the fields that are not always set
// KVM_SET_VCPU_EVENTS shall take.
const (
	EventsNMIPending  = 1 << 0
	EventsSIPIVector  = 1 << 1
	EventsShadow      = 1 << 2
	EventsSMM         = 1 << 3
	EventsPayload     = 1 << 4
	EventsTripleFault = 1 << 5
)

// CPUIDSignificantIndex in CPUIDEntry.Flags says that the leaf has subleaves
// and that Index (ECX) matters.
const CPUIDSignificantIndex = 1 << 0

// The chips of KVM_GET_IRQCHIP and of an irqchip route.
const (
	ChipPICMaster = 0 // GSI 0-7
	ChipPICSlave  = 1 // GSI 8-15
	ChipIOAPIC    = 2 // 24 pins
)

// MPState is KVM_GET_MP_STATE's answer: where a vCPU is in the start-up
// sequence of a multiprocessor system.
type MPState uint32

const (
	MPRunnable      MPState = 0
	MPUninitialized MPState = 1 // an AP that waits for INIT
	MPInitReceived  MPState = 2 // an AP that waits for SIPI
	MPHalted        MPState = 3
	MPSIPIReceived  MPState = 4
)

func (s MPState) String() string {
	switch s {
	case MPRunnable:
		return "runnable"
	case MPUninitialized:
		return "uninitialized"
	case MPInitReceived:
		return "init received"
	case MPHalted:
		return "halted"
	case MPSIPIReceived:
		return "sipi received"
	}
	return "mp state " + itoa(uint64(s))
}
