package kvm

import "fmt"

// ExitReason is the kernel's KVM_EXIT_ number.
type ExitReason uint32

const (
	ReasonUnknown       ExitReason = 0
	ReasonException     ExitReason = 1
	ReasonIO            ExitReason = 2
	ReasonHypercall     ExitReason = 3
	ReasonDebug         ExitReason = 4
	ReasonHLT           ExitReason = 5
	ReasonMMIO          ExitReason = 6
	ReasonIRQWindowOpen ExitReason = 7
	ReasonShutdown      ExitReason = 8
	ReasonFailEntry     ExitReason = 9
	ReasonIntr          ExitReason = 10
	ReasonSetTPR        ExitReason = 11
	ReasonTPRAccess     ExitReason = 12
	ReasonNMI           ExitReason = 16
	ReasonInternalError ExitReason = 17
	ReasonWatchdog      ExitReason = 21
	ReasonSystemEvent   ExitReason = 24
	ReasonIOAPICEOI     ExitReason = 26
	ReasonHyperV        ExitReason = 27
	ReasonX86RDMSR      ExitReason = 29
	ReasonX86WRMSR      ExitReason = 30
	ReasonDirtyRingFull ExitReason = 31
	ReasonX86BusLock    ExitReason = 33
	ReasonXen           ExitReason = 34
	ReasonNotify        ExitReason = 37
	ReasonMemoryFault   ExitReason = 39 // newer than Linux 6.1
)

var reasonNames = map[ExitReason]string{
	ReasonUnknown:       "UNKNOWN",
	ReasonException:     "EXCEPTION",
	ReasonIO:            "IO",
	ReasonHypercall:     "HYPERCALL",
	ReasonDebug:         "DEBUG",
	ReasonHLT:           "HLT",
	ReasonMMIO:          "MMIO",
	ReasonIRQWindowOpen: "IRQ_WINDOW_OPEN",
	ReasonShutdown:      "SHUTDOWN",
	ReasonFailEntry:     "FAIL_ENTRY",
	ReasonIntr:          "INTR",
	ReasonSetTPR:        "SET_TPR",
	ReasonTPRAccess:     "TPR_ACCESS",
	ReasonNMI:           "NMI",
	ReasonInternalError: "INTERNAL_ERROR",
	ReasonWatchdog:      "WATCHDOG",
	ReasonSystemEvent:   "SYSTEM_EVENT",
	ReasonIOAPICEOI:     "IOAPIC_EOI",
	ReasonHyperV:        "HYPERV",
	ReasonX86RDMSR:      "X86_RDMSR",
	ReasonX86WRMSR:      "X86_WRMSR",
	ReasonDirtyRingFull: "DIRTY_RING_FULL",
	ReasonX86BusLock:    "X86_BUS_LOCK",
	ReasonXen:           "XEN",
	ReasonNotify:        "NOTIFY",
	ReasonMemoryFault:   "MEMORY_FAULT",
}

// String is the kernel's name without its prefix, "IO".
func (r ExitReason) String() string {
	if name, ok := reasonNames[r]; ok {
		return name
	}
	return fmt.Sprintf("EXIT(%d)", uint32(r))
}

// Exit is why the guest stopped: one of *IO, *MMIO, *HLT, *Shutdown,
// *FailEntry, *InternalError, *SystemEvent, *Debug, *IRQWindowOpen,
// *IOAPICEOI, *MSRAccess, *Hypercall and *UnknownExit. It belongs to the vCPU
// and is overwritten by its next Run.
type Exit interface {
	Reason() ExitReason
	String() string // one line: "IO out port 0x3f8 size 1 data 41"
}

// exits is room for one exit of each type.
type exits struct {
	io            IO
	mmio          MMIO
	hlt           HLT
	shutdown      Shutdown
	failEntry     FailEntry
	internalError InternalError
	systemEvent   SystemEvent
	debug         Debug
	irqWindow     IRQWindowOpen
	ioapicEOI     IOAPICEOI
	msr           MSRAccess
	hypercall     Hypercall
	unknown       UnknownExit
}

// IO is an access to a port. Several of a string instruction (REP INS) may
// come as one exit, with a Count above 1.
type IO struct {
	Port  uint16
	In    bool   // the guest reads; fill Data before the next Run
	Size  int    // of one access: 1, 2 or 4 bytes
	Count int    // how many accesses, one after the other, to the same port
	Data  []byte // Size*Count bytes, in kvm_run's data page
}

// MMIO is an access to a physical address that no slot covers, or a write to
// one that is read-only. An access that crosses a page or is wider than 8
// bytes comes as several exits.
type MMIO struct {
	GPA   uint64
	Write bool
	Data  []byte // 1 to 8 bytes; for a read, fill it before the next Run
}

// HLT is the HLT instruction, when the local APIC is not in the kernel.
type HLT struct{}

// Shutdown is a triple fault, or what else makes an x86 CPU shut down.
type Shutdown struct{}

// FailEntry says that the hardware refused to enter the guest; the reason is
// its own code (for VMX, the exit reason of a failed VM entry).
type FailEntry struct {
	HardwareReason uint64
	CPU            uint32 // the host's CPU that refused
}

// InternalError says that KVM cannot go on, mostly since it had to emulate an
// instruction that it does not know.
type InternalError struct {
	Suberror Suberror
	NData    int
	Data     [16]uint64 // NData are valid; what they mean depends on Suberror
	// Insn is the bytes at RIP, as far as the kernel could tell them; for
	// SuberrorEmulation only.
	Insn []byte
	insn [15]byte
}

// SystemEvent is a request for the whole machine.
type SystemEvent struct {
	Type  SystemEventType
	NData int
	Data  [16]uint64
}

// Debug is a breakpoint or single step that SetGuestDebug asked for.
type Debug struct {
	Exception uint32 // 1 is #DB, 3 is #BP
	PC        uint64
	DR6, DR7  uint64
}

// IRQWindowOpen says that the guest can take an interrupt now, as
// VCPU.RequestInterruptWindow asked.
type IRQWindowOpen struct{}

// IOAPICEOI is the end of a level-triggered interrupt, to the monitor's
// IOAPIC of a split irqchip.
type IOAPICEOI struct{ Vector uint8 }

// MSRAccess is a RDMSR or WRMSR that user space asked to see
// (CapX86UserSpaceMSR). For a read set Data, or Error for a #GP, with the
// vCPU's CompleteMSR.
type MSRAccess struct {
	Write bool
	Index uint32
	Why   uint32 // KVM_MSR_EXIT_REASON_: 1 invalid, 2 unknown, 4 filtered
	Data  uint64
}

// Hypercall is a hypercall that KVM passes on (CapExitHypercall).
type Hypercall struct {
	Nr   uint64
	Args [6]uint64
}

// UnknownExit is any other exit. HardwareReason is set for KVM_EXIT_UNKNOWN.
type UnknownExit struct {
	Number         ExitReason
	HardwareReason uint64
}

// Suberror is a KVM_INTERNAL_ERROR_ number.
type Suberror uint32

const (
	SuberrorEmulation            Suberror = 1
	SuberrorSimulEx              Suberror = 2
	SuberrorDeliveryEv           Suberror = 3
	SuberrorUnexpectedExitReason Suberror = 4
)

func (s Suberror) String() string {
	switch s {
	case SuberrorEmulation:
		return "emulation failure"
	case SuberrorSimulEx:
		return "simultaneous exceptions"
	case SuberrorDeliveryEv:
		return "exit while delivering an event"
	case SuberrorUnexpectedExitReason:
		return "unexpected exit reason"
	}
	return fmt.Sprintf("suberror %d", uint32(s))
}

// SystemEventType is a KVM_SYSTEM_EVENT_ number.
type SystemEventType uint32

const (
	SystemEventShutdown SystemEventType = 1
	SystemEventReset    SystemEventType = 2
	SystemEventCrash    SystemEventType = 3
	SystemEventWakeup   SystemEventType = 4
	SystemEventSuspend  SystemEventType = 5
	SystemEventSEVTerm  SystemEventType = 6
)

func (t SystemEventType) String() string {
	switch t {
	case SystemEventShutdown:
		return "shutdown"
	case SystemEventReset:
		return "reset"
	case SystemEventCrash:
		return "crash"
	case SystemEventWakeup:
		return "wakeup"
	case SystemEventSuspend:
		return "suspend"
	case SystemEventSEVTerm:
		return "sev termination"
	}
	return fmt.Sprintf("type %d", uint32(t))
}
