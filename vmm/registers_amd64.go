package vmm

import (
	"encoding/binary"

	"tandem/boot"
	"tandem/kvm"
)

// Model-specific registers that firmware sets before a system starts.
const (
	msrMiscEnable  = 0x1A0
	msrMTRRDefType = 0x2FF

	miscFastStrings = 1 << 0
	mtrrEnable      = 1 << 11
	mtrrWriteBack   = 6
)

// firmwareMSRs is what a vCPU's MSRs hold that a firmware would have set. With
// MTRRs off, Linux believes that all memory is uncached and gives up on page
// attributes too; the holes in RAM need no entries, as Linux maps devices uncached
// by page tables.
func firmwareMSRs() []kvm.MSREntry {
	return []kvm.MSREntry{
		{Index: msrMiscEnable, Data: miscFastStrings},
		{Index: msrMTRRDefType, Data: mtrrEnable | mtrrWriteBack},
	}
}

// Registers of the local APIC (Intel SDM volume 3, 11.5.1).
const (
	lapicLINT0 = 0x350
	lapicLINT1 = 0x360

	deliverNMI    = 4 << 8
	deliverExtINT = 7 << 8
	lvtMasked     = 1 << 16
)

// wireLAPIC sets the two local interrupt pins as firmware does: "virtual wire
// mode", in which the old interrupt controllers reach the first processor, and
// NMI on all.
func wireLAPIC(l *kvm.LAPIC, id int) {
	lint0 := uint32(deliverExtINT)
	if id != 0 {
		lint0 |= lvtMasked
	}
	binary.LittleEndian.PutUint32(l.Regs[lapicLINT0:], lint0)
	binary.LittleEndian.PutUint32(l.Regs[lapicLINT1:], deliverNMI)
}

// rflagsReserved is the bit that is always 1.
const rflagsReserved = 1 << 1

const cr0ProtectionEnable = 1 << 0

// enter puts an entry into registers. sregs comes from KVM and keeps what the
// entry does not speak of, such as the APIC's base.
func enter(e boot.Entry, sregs *kvm.Sregs) kvm.Regs {
	code, data := segment(e.Code), segment(e.Data)
	sregs.CS = code
	sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
	sregs.TR = segment(e.Task)
	sregs.GDT = kvm.Descriptor{Base: e.GDT, Limit: e.GDTLimit}
	sregs.IDT = kvm.Descriptor{}
	sregs.CR0, sregs.CR3, sregs.CR4, sregs.EFER = e.CR0, e.CR3, e.CR4, e.EFER
	return kvm.Regs{
		RIP: e.RIP, RSP: e.RSP, RSI: e.RSI, RBX: e.RBX,
		RFLAGS: rflagsReserved,
	}
}

// segment is a selector with the descriptor that loading it would have fetched.
func segment(s boot.Selector) kvm.Segment {
	d := s.Descriptor
	return kvm.Segment{
		Base: uint64(d.Base()), Limit: d.Limit(), Selector: s.Index,
		Typ: d.Type(), Present: bit(d.P()), DPL: d.DPL(), DB: bit(d.DB()),
		S: bit(d.S()), L: bit(d.L()), G: bit(d.G()), AVL: bit(d.AVL()),
		Unusable: bit(!d.P()),
	}
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// Descriptors of flat 32-bit segments: base 0, limit 4 GiB.
const (
	flatCode = boot.Descriptor(0x00CF_9B00_0000_FFFF)
	flatData = boot.Descriptor(0x00CF_9300_0000_FFFF)
)

// enterImage is the way into an Image.
func enterImage(im *Image, sregs *kvm.Sregs) kvm.Regs {
	switch im.Mode {
	case ModeProtected:
		code := segment(boot.Selector{Index: 0x8, Descriptor: flatCode})
		data := segment(boot.Selector{Index: 0x10, Descriptor: flatData})
		sregs.CS = code
		sregs.DS, sregs.ES, sregs.FS, sregs.GS, sregs.SS = data, data, data, data, data
		sregs.CR0 |= cr0ProtectionEnable
	default:
		// The reset state, but for CS, which points at the firmware's top.
		sregs.CS.Base, sregs.CS.Selector = 0, 0
	}
	return kvm.Regs{RIP: im.GPA, RSP: im.GPA, RFLAGS: rflagsReserved}
}
