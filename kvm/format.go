package kvm

import (
	"fmt"
	"strconv"
	"strings"
)

// formatArg prints an ioctl's argument for Call.String. Types of this package
// print themselves; those of gokvm are printed here.
func formatArg(arg any) string {
	switch a := arg.(type) {
	case fmt.Stringer:
		return a.String()
	case string:
		return a
	case uint64:
		return fmt.Sprintf("%#x", a)
	case uint32:
		return fmt.Sprintf("%#x", a)
	case Regs:
		return fmt.Sprintf("rip %#x rflags %#x rax %#x rbx %#x rcx %#x rdx %#x rsi %#x rdi %#x rsp %#x rbp %#x",
			a.RIP, a.RFLAGS, a.RAX, a.RBX, a.RCX, a.RDX, a.RSI, a.RDI, a.RSP, a.RBP)
	case Sregs:
		return fmt.Sprintf("cs %#x:%#x cr0 %#x cr3 %#x cr4 %#x efer %#x apic base %#x",
			a.CS.Selector, a.CS.Base, a.CR0, a.CR3, a.CR4, a.EFER, a.ApicBase)
	case Sregs2:
		return fmt.Sprintf("cs %#x:%#x cr0 %#x cr3 %#x cr4 %#x efer %#x apic base %#x",
			a.CS.Selector, a.CS.Base, a.CR0, a.CR3, a.CR4, a.EFER, a.APICBase)
	case FPU:
		return fmt.Sprintf("fcw %#x fsw %#x mxcsr %#x", a.FCW, a.FSW, a.MXCSR)
	case XCRS:
		return formatXCRS(a)
	case DebugRegs:
		return fmt.Sprintf("dr0-3 %#x dr6 %#x dr7 %#x", a.DB, a.DR6, a.DR7)
	case VCPUEvents:
		return fmt.Sprintf("exception %+v interrupt %+v nmi %+v flags %#x", a.E, a.I, a.N, a.Flags)
	case LAPIC:
		return fmt.Sprintf("%d bytes", len(a.Regs))
	case IRQChip:
		return fmt.Sprintf("chip %d", a.ChipID)
	case PITState:
		return fmt.Sprintf("flags %#x counts %d %d %d", a.Flags, a.Channels[0].Count, a.Channels[1].Count, a.Channels[2].Count)
	case ClockData:
		return fmt.Sprintf("clock %d flags %#x", a.Clock, a.Flags)
	case Translated:
		return fmt.Sprintf("linear %#x physical %#x valid %d", a.LinearAddress, a.PhysicalAddress, a.Valid)
	case []Route:
		return join(a, Route.String)
	case []CPUIDEntry:
		return fmt.Sprintf("%d leaves", len(a))
	case []MSREntry:
		return join(a, func(e MSREntry) string { return fmt.Sprintf("%#x=%#x", e.Index, e.Data) })
	case []uint32:
		return fmt.Sprintf("%d msrs", len(a))
	}
	return fmt.Sprintf("%+v", arg)
}

// argValue is the traced form of an argument that is passed as a number; nil
// where the ioctl has none and the kernel insists on 0.
func argValue(req Request, arg uint64) any {
	switch req {
	case reqCheckExtension:
		return Capability(arg)
	case reqCreateVCPU, reqSetTSCKHz, reqSetBootCPUID:
		return itoa(arg)
	case reqSetTSSAddr:
		return arg
	}
	return nil
}

func formatXCRS(x XCRS) string {
	n := min(int(x.NrXRCS), len(x.Registers))
	return join(x.Registers[:n], func(r XCR) string { return fmt.Sprintf("xcr%d=%#x", r.XRC, r.Value) })
}

func join[T any](items []T, text func(T) string) string {
	s := make([]string, len(items))
	for i, item := range items {
		s[i] = text(item)
	}
	return strings.Join(s, ", ")
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// size prints a number of bytes in the largest unit that divides it.
func size(n uint64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n != 0 && n&(1<<u.shift-1) == 0 {
			return fmt.Sprintf("%d %s", n>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
