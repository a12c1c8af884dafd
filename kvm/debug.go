package kvm

import (
	"fmt"
	"strings"
)

// DebugControl are the KVM_GUESTDBG_ flags.
type DebugControl uint32

const (
	DebugEnable     DebugControl = 1 << 0
	DebugSingleStep DebugControl = 1 << 1
	DebugUseSWBP    DebugControl = 1 << 16 // INT3 makes a Debug exit, not a #BP in the guest
	DebugUseHWBP    DebugControl = 1 << 17 // DebugReg holds hardware breakpoints
	DebugInjectDB   DebugControl = 1 << 18
	DebugInjectBP   DebugControl = 1 << 19
	DebugBlockIRQ   DebugControl = 1 << 20 // no interrupts while single-stepping
)

func (c DebugControl) String() string {
	names := []struct {
		bit  DebugControl
		name string
	}{
		{DebugEnable, "enable"},
		{DebugSingleStep, "single-step"},
		{DebugUseSWBP, "sw-bp"},
		{DebugUseHWBP, "hw-bp"},
		{DebugInjectDB, "inject-db"},
		{DebugInjectBP, "inject-bp"},
		{DebugBlockIRQ, "block-irq"},
	}
	var set []string
	for _, n := range names {
		if c&n.bit != 0 {
			set = append(set, n.name)
			c &^= n.bit
		}
	}
	if c != 0 {
		set = append(set, fmt.Sprintf("%#x", uint32(c)))
	}
	if len(set) == 0 {
		return "off"
	}
	return strings.Join(set, "|")
}

// GuestDebug is struct kvm_guest_debug. DebugReg is DR0 to DR7.
type GuestDebug struct {
	Control  DebugControl
	_        uint32
	DebugReg [8]uint64
}

func (g GuestDebug) String() string {
	if g.Control&DebugUseHWBP == 0 {
		return g.Control.String()
	}
	return fmt.Sprintf("%v dr0-3 %#x dr7 %#x", g.Control, g.DebugReg[:4], g.DebugReg[7])
}

// SetGuestDebug sets up breakpoints and single-stepping, which then make
// Debug exits; the zero GuestDebug turns them off (CapSetGuestDebug).
func (v *VCPU) SetGuestDebug(g GuestDebug) error {
	_, err := ioctl(v.descriptor, reqSetGuestDebug, &g)
	return v.wrapNeed(opSetGuestDebug, err, CapSetGuestDebug)
}
