package kvm

import "fmt"

func (*IO) Reason() ExitReason            { return ReasonIO }
func (*MMIO) Reason() ExitReason          { return ReasonMMIO }
func (*HLT) Reason() ExitReason           { return ReasonHLT }
func (*Shutdown) Reason() ExitReason      { return ReasonShutdown }
func (*FailEntry) Reason() ExitReason     { return ReasonFailEntry }
func (*InternalError) Reason() ExitReason { return ReasonInternalError }
func (*SystemEvent) Reason() ExitReason   { return ReasonSystemEvent }
func (*Debug) Reason() ExitReason         { return ReasonDebug }
func (*IRQWindowOpen) Reason() ExitReason { return ReasonIRQWindowOpen }
func (*IOAPICEOI) Reason() ExitReason     { return ReasonIOAPICEOI }
func (*Hypercall) Reason() ExitReason     { return ReasonHypercall }
func (e *UnknownExit) Reason() ExitReason { return e.Number }

func (e *MSRAccess) Reason() ExitReason {
	if e.Write {
		return ReasonX86WRMSR
	}
	return ReasonX86RDMSR
}

func (e *IO) String() string {
	s := fmt.Sprintf("IO out port %#x size %d", e.Port, e.Size)
	if e.In {
		s = fmt.Sprintf("IO in port %#x size %d", e.Port, e.Size)
	}
	if e.Count != 1 {
		s += fmt.Sprintf(" count %d", e.Count)
	}
	if !e.In {
		s += " data " + hexData(e.Data)
	}
	return s
}

func (e *MMIO) String() string {
	if e.Write {
		return fmt.Sprintf("MMIO write gpa %#x size %d data %s", e.GPA, len(e.Data), hexData(e.Data))
	}
	return fmt.Sprintf("MMIO read gpa %#x size %d", e.GPA, len(e.Data))
}

// hexData prints memory order, and not all of a long string access.
func hexData(data []byte) string {
	const most = 32
	if len(data) > most {
		return fmt.Sprintf("% x ...", data[:most])
	}
	return fmt.Sprintf("% x", data)
}

func (*HLT) String() string           { return "HLT" }
func (*Shutdown) String() string      { return "SHUTDOWN" }
func (*IRQWindowOpen) String() string { return "IRQ_WINDOW_OPEN" }

func (e *FailEntry) String() string {
	return fmt.Sprintf("FAIL_ENTRY hardware reason %#x cpu %d", e.HardwareReason, e.CPU)
}

func (e *InternalError) String() string {
	s := fmt.Sprintf("INTERNAL_ERROR suberror %d (%v)", uint32(e.Suberror), e.Suberror)
	if len(e.Insn) > 0 {
		return s + fmt.Sprintf(" instruction % x", e.Insn)
	}
	if e.NData > 0 {
		s += fmt.Sprintf(" data %#x", e.Data[:e.NData])
	}
	return s
}

func (e *SystemEvent) String() string {
	s := fmt.Sprintf("SYSTEM_EVENT %v", e.Type)
	if e.NData > 0 {
		s += fmt.Sprintf(" data %#x", e.Data[:e.NData])
	}
	return s
}

func (e *Debug) String() string {
	return fmt.Sprintf("DEBUG exception %d pc %#x dr6 %#x dr7 %#x", e.Exception, e.PC, e.DR6, e.DR7)
}

func (e *IOAPICEOI) String() string { return fmt.Sprintf("IOAPIC_EOI vector %#x", e.Vector) }

func (e *MSRAccess) String() string {
	if e.Write {
		return fmt.Sprintf("X86_WRMSR msr %#x value %#x", e.Index, e.Data)
	}
	return fmt.Sprintf("X86_RDMSR msr %#x", e.Index)
}

func (e *Hypercall) String() string { return fmt.Sprintf("HYPERCALL %d args %#x", e.Nr, e.Args) }

func (e *UnknownExit) String() string {
	if e.Number == ReasonUnknown {
		return fmt.Sprintf("UNKNOWN hardware reason %#x", e.HardwareReason)
	}
	switch e.Number {
	case ReasonNMI, ReasonDirtyRingFull, ReasonX86BusLock, ReasonIntr, ReasonSetTPR, ReasonWatchdog:
		return e.Number.String() // there is nothing more to them
	}
	if _, ok := reasonNames[e.Number]; ok {
		return fmt.Sprintf("%v (not decoded)", e.Number)
	}
	return e.Number.String()
}
